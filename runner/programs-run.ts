import { writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { execa } from 'execa'
import { close, memoryFile } from '../generators/linux/libc.ts'
import { inNetns, type Netns } from '../generators/linux/netns.ts'

/** A line a program printed, or how it ended. */
export interface ProgramEvent {
  event: 'stdout' | 'stderr' | 'exit'
  text: string
}

export interface RunningProgram {
  /** Undefined when it could not be started. */
  readonly pid: number | undefined
  /** Soft signal, then SIGKILL after half a second or the time given; resolves when it is gone. */
  stop(signal?: 'SIGTERM' | 'SIGINT', withinMs?: number): Promise<void>
}

const SOFT_SIGNAL_MS = 500

/**
 * An ordinary program inside a namespace. It dies with us, also by SIGKILL (`setpriv --pdeathsig`). Resolves when the
 * child exists; its lines and its end arrive as events.
 */
export async function startProgram(
  ns: Netns,
  argv: readonly string[],
  input: string | undefined,
  listener: (event: ProgramEvent) => void,
): Promise<RunningProgram> {
  const stdin = input === undefined ? ('ignore' as const) : fileOf(input)
  const child = inNetns(ns, () =>
    execa('setpriv', ['--pdeathsig', 'KILL', '--', ...argv], {
      buffer: false,
      reject: false,
      forceKillAfterDelay: false,
      // Its types know no descriptor beyond 2.
      stdin: stdin as 0 | 'ignore',
    }),
  )
  if (stdin !== 'ignore') close(stdin)
  for (const stream of ['stdout', 'stderr'] as const) {
    const readable = child[stream]
    if (readable) createInterface({ input: readable }).on('line', text => listener({ event: stream, text }))
  }
  const ended = child.then(result => {
    listener({
      event: 'exit',
      text: result.signal ?? String(result.exitCode ?? result.originalMessage ?? 'not started'),
    })
  })
  return {
    pid: child.pid,
    async stop(signal = 'SIGTERM', withinMs = SOFT_SIGNAL_MS) {
      child.kill(signal)
      const timer = setTimeout(() => child.kill('SIGKILL'), withinMs)
      await ended
      clearTimeout(timer)
    },
  }
}

/** Of a file each read gives as much as it asks for; of a pipe, what happens to have been written. */
function fileOf(input: string): number {
  const fd = memoryFile('castproof-input')
  writeSync(fd, input, 0)
  return fd
}
