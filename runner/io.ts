import type { Readable, Writable } from 'node:stream'

/** All that a command may touch of the process it runs in, so that tests call commands in process. */
export interface Io {
  /** Left out: nothing comes in. */
  stdin?: Readable
  stdout: Writable & { isTTY?: boolean; columns?: number; rows?: number }
  stderr: Writable & { isTTY?: boolean }
  env: Record<string, string | undefined>
  cwd: string
  /** Aborted on SIGINT and SIGTERM with an Interrupted as reason; every await of a command listens to it. */
  signal: AbortSignal
}

/** A signal asked us to stop; the exit code is 128 plus its number, after teardown. */
export class Interrupted extends Error {
  readonly exitCode: number

  constructor(name: 'SIGINT' | 'SIGTERM') {
    super(`stopped by ${name}`)
    this.name = 'Interrupted'
    this.exitCode = name === 'SIGINT' ? 130 : 143
  }
}

/** Goes beside the error that ended a run: where to look at what there is of it. */
export class EndedEarly extends Error {
  constructor(directory: string) {
    super(`the run did not come to its end; what it recorded until then is in ${directory}`)
    this.name = 'EndedEarly'
  }
}

/** What every file of runner/commands/ exports as `<name>Command`: the work of one command, returning its exit code. */
export type Command<Options> = (options: Options, io: Io) => Promise<number>

export function printLine(io: Io, line = ''): void {
  io.stdout.write(`${line}\n`)
}
