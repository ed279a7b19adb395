import type { CompiledStream } from '../generators/stream.ts'
import type { SendRecord, SentReport } from '../generators/transmit/engine.ts'
import type { ProgramEvent, RunningProgram } from './programs-run.ts'

/** A host of the test: in this process or behind a command prefix; nothing above can tell which. */
export interface Endpoint {
  readonly pod: string
  join(membership: Membership): Promise<void>
  leave(membership: Pick<Membership, 'group' | 'hosts'>): Promise<void>
  /** What the kernel took goes into `record`. */
  send(streams: readonly CompiledStream[], record: SendRecord, stop: AbortSignal): Promise<SentReport[]>
  /** Runs a program in the pod; `input` is all of its standard input. */
  run(
    argv: readonly string[],
    input: string | undefined,
    listener: (event: ProgramEvent) => void,
  ): Promise<RunningProgram>
  close(): Promise<void>
}

export interface Membership {
  group: number
  igmpVersion: 1 | 2 | 3
  filter?: { mode: 'include' | 'exclude'; sources: readonly number[] }
  /** Addresses of hosts behind the pod's veth; empty: the pod itself. */
  hosts: readonly number[]
  robustness: number
  via: 'emulator' | 'socket'
  answers: boolean
}
