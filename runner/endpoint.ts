import type { CompiledStream } from '../generators/stream.ts'
import type { SendRecord, SentReport } from '../generators/transmit/engine.ts'
import type { ProgramEvent, RunningProgram } from './programs-run.ts'
import type { ProgramParams } from './suite/programs.ts'

/** A host of the test: in this process or behind a command prefix; nothing above can tell which. */
export interface Endpoint {
  readonly pod: string
  join(membership: Membership): Promise<void>
  leave(membership: Pick<Membership, 'group' | 'hosts'>): Promise<void>
  /** What the kernel took goes into `record`. */
  send(streams: readonly CompiledStream[], record: SendRecord, stop: AbortSignal): Promise<SentReport[]>
  /** Runs a program of the closed table in the pod. */
  run(program: ProgramWanted, listener: (event: ProgramEvent) => void): Promise<RunningProgram>
  close(): Promise<void>
}

/** A program by its name in `suite/programs.ts`: no command line crosses this interface. */
export interface ProgramWanted {
  program: string
  params: ProgramParams
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
