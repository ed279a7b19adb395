import type { Listener, StageJob, StageOutcome } from '../stage-record.ts'

/** Where stages are brought up and recorded: on this kernel or in a machine of its own. Verdicts are given elsewhere. */
export interface Sandbox {
  readonly kind: 'host' | 'vm'
  /** As `uname -r` says. */
  readonly kernel: string
  /** For reports: `host`, or what kind of machine with which kernel. */
  readonly description: string
  record(job: StageJob, listener: Listener, stop: AbortSignal): Promise<StageOutcome>
  close(): Promise<void>
}
