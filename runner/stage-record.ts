import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { pinThread } from '../generators/linux/libc.ts'
import { appendSentLog } from '../generators/sent.ts'
import type { Progress } from '../reports/progress.ts'
import type { SiteMap } from './check/check.ts'
import type { Patience } from './patience.ts'
import { StreamNumbers, type TapFile } from './recorder.ts'
import { type ClockRecord, LAYOUT, type RoundTrip } from './run-directory.ts'
import { runStage } from './stage-run.ts'
import type { Stage } from './suite/plan-types.ts'
import type { Site } from './target/target.ts'

/** All that recording a stage has to know, as plain data: it may be done under another kernel. */
export interface StageJob {
  stage: Stage
  attempt: number
  /** The run directory, with its `sent.bin` closed and its observations. */
  directory: string
  runId: number
  /** CLOCK_REALTIME, decimal. */
  runStartNs: string
  faults: readonly string[]
  jobs: number
  patience: Patience
  counts: Counts
}

/** What goes on from stage to stage of a run. */
export interface Counts {
  /** The last stream number that was given away. */
  streamNumber: number
  /** Streams in `sent.bin`. */
  sentStreams: number
}

export interface StageOutcome {
  site: SiteMap
  /** Of the SUT, if it has one. */
  version?: string
  taps: TapFile[]
  clocks?: ClockRecord[]
  health?: RoundTrip[]
  /** File of the throw-away keys, relative to the run directory. */
  keys?: string
  counts: Counts
}

/** Something a person should know goes to `warn` and into the run record; the rest is told as it happens. */
export interface Listener {
  progress: Pick<Progress, 'stageReady' | 'caseStarted' | 'caseStep' | 'caseRan'>
  warn(text: string): void
  /** An error that is our own and ended this case early, with its stack. */
  bug(id: string, stack: string): void
}

/** Runs a stage on a site that is up and leaves in the run directory what it saw. */
export async function recordStage(
  job: StageJob,
  site: Site,
  listener: Listener,
  stop: AbortSignal,
): Promise<StageOutcome> {
  const { stage, directory, jobs, patience, faults, attempt, counts } = job
  const run = { runId: job.runId, runStartNs: BigInt(job.runStartNs) }
  const sent = appendSentLog(join(directory, LAYOUT.sent), run.runStartNs, counts.sentStreams)
  const streams = new StreamNumbers(counts.streamNumber)
  const silent = (site.health ?? []).filter(({ ms }) => ms === null)
  if (silent.length > 0) listener.warn(silentText(stage.name, silent))
  try {
    const bug = (id: string, error: unknown): void => listener.bug(id, inspect(error))
    const context = { directory, jobs, patience, faults, attempt, run, sent, streams, stop, ...listener, bug }
    const taps = await runStage(stage, site, context)
    const version = site.version === undefined ? {} : { version: site.version }
    const clocks = (await site.clocks?.()) ?? []
    const others = clocks.length === 0 ? {} : { clocks }
    const health = site.health === undefined ? {} : { health: [...site.health] }
    const keys = site.encryption ? { keys: leaveKeys(directory, stage.name, attempt, site.encryption.keysFile()) } : {}
    return {
      site: site.map,
      ...version,
      taps,
      ...others,
      ...health,
      ...keys,
      counts: { streamNumber: streams.last, sentStreams: sent.streams },
    }
  } finally {
    sent.close()
  }
}

function silentText(stage: string, silent: readonly RoundTrip[]): string {
  const [first] = silent
  const more = silent.length > 1 ? ` and ${silent.length - 1} other ways` : ''
  return `${stage}: unicast does not get from ${first?.from} to ${first?.to} and back${more}`
}

/** What they opened is in the captures, so that they have to be there too: for their owner alone, and never used again. */
function leaveKeys(directory: string, stage: string, attempt: number, text: string): string {
  const file = join(LAYOUT.keys, attempt > 1 ? `${stage}-${attempt}.yaml` : `${stage}.yaml`)
  mkdirSync(join(directory, LAYOUT.keys), { recursive: true, mode: 0o700 })
  writeFileSync(join(directory, file), text, { mode: 0o600 })
  return file
}

/** Senders keep to one CPU, so that a fence cannot overtake what it guards; the control plane has a thread of its own. */
export function keepSenderOnOneCpu(): void {
  pinThread(0)
}
