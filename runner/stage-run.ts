import type { SentLog } from '../generators/sent.ts'
import type { Progress } from '../reports/progress.ts'
import { askAnalysers } from './analysers-run.ts'
import { bindCase } from './bind.ts'
import { CaseRun } from './case-run.ts'
import { isBug } from './exit.ts'
import { Fences } from './fence.ts'
import { elsewhere, type Patience } from './patience.ts'
import { Recorder, type StreamNumbers, type TapFile } from './recorder.ts'
import { StageSite } from './stage-site.ts'
import type { PlannedCase, Stage } from './suite/plan-types.ts'
import type { Site } from './target/target.ts'

/** Longer than the latest leak among the faults (20 ms): what a broken SUT still holds back shows in the taps. */
const TAIL_MS = 60

export interface StageContext {
  directory: string
  sent: SentLog
  streams: StreamNumbers
  run: { runId: number; runStartNs: bigint }
  jobs: number
  patience: Patience
  /** What is broken on purpose. */
  faults: readonly string[]
  attempt: number
  progress: Pick<Progress, 'caseStarted' | 'caseStep' | 'caseRan'>
  /** Something a person should know: shown, and kept in the run record. */
  warn(text: string): void
  /** An error that is our own and ended this case early. */
  bug(id: string, error: unknown): void
  stop: AbortSignal
}

/** Runs a stage's cases on a site that is up: independent ones side by side, exclusive ones alone. Judges nothing. */
export async function runStage(stage: Stage, site: Site, context: StageContext): Promise<TapFile[]> {
  const { directory, sent, streams, stop } = context
  const patience = site.stretch === undefined ? context.patience : elsewhere(context.patience)
  await using recorder = new Recorder(directory, stage.name, sent, streams)
  const prefix = context.attempt > 1 ? `${stage.name}-${context.attempt}` : stage.name
  recorder.start(await site.openTaps({ directory, prefix, runId: context.run.runId }))
  const stageSite = new StageSite(site, recorder, context.run)
  await site.prepareGroups?.(groupsOf(stage))
  const fences = new Fences(stageSite, recorder, patience)
  const unguarded = await fences.raise(stop)
  if (unguarded.length > 0) context.warn(unguardedText(stage.name, unguarded))
  const runOne = (planned: PlannedCase) =>
    runCase(planned, stage, context, { site: stageSite, recorder, fences, stop, patience })
  await inParallel(
    stage.cases.filter(planned => !planned.exclusive),
    context.jobs,
    runOne,
  )
  for (const planned of stage.cases.filter(planned => planned.exclusive)) await runOne(planned)
  await recorder.linger(TAIL_MS, stop)
  const taps = await recorder.stop()
  await askAnalysers(stage, {
    directory,
    attempt: context.attempt,
    recorder,
    faults: context.faults,
    site: site.map,
    taps,
  })
  return taps
}

/** Those that are enabled for every case that speaks of them. */
function groupsOf({ cases }: Stage): number[] {
  const groups = cases.flatMap(item => item.groups)
  const disabled = new Set(groups.filter(({ enabled }) => !enabled).map(({ address }) => address))
  return [...new Set(groups.map(({ address }) => address))].filter(address => !disabled.has(address))
}

async function runCase(
  planned: PlannedCase,
  stage: Stage,
  { attempt, progress, warn, bug, stop }: StageContext,
  parts: ConstructorParameters<typeof CaseRun>[2],
): Promise<void> {
  const about = { stage: stage.name, id: planned.id }
  progress.caseStarted({ ...about, attempt })
  const onStep = (step: { step: string; action: string }) => progress.caseStep({ ...about, ...step })
  try {
    await new CaseRun(bindCase(planned, parts.site.map), attempt, parts, onStep).run()
  } catch (error) {
    stop.throwIfAborted()
    // The case has no end and is inconclusive; the others have nothing to do with it and go on.
    if (isBug(error)) bug(planned.id, error)
    else warn(`${planned.id}: ended early: ${error instanceof Error ? error.message : String(error)}`)
  }
  progress.caseRan(about)
}

/** Runs at most `jobs` at once; the first failure ends the start of new ones and is thrown once all have ended. */
async function inParallel<Item>(
  items: readonly Item[],
  jobs: number,
  run: (item: Item) => Promise<void>,
): Promise<void> {
  const queue = items.values()
  const failures: unknown[] = []
  const worker = async () => {
    for (const item of queue) {
      if (failures.length > 0) return
      await run(item).catch((error: unknown) => failures.push(error))
    }
  }
  await Promise.all(Array.from({ length: Math.min(jobs, items.length) }, worker))
  if (failures.length > 0) throw failures[0]
}

function unguardedText(stage: string, pods: readonly string[]): string {
  const shown = pods.slice(0, 4).join(', ')
  const more = pods.length > 4 ? ` and ${pods.length - 4} more` : ''
  return `${stage}: no guard datagram gets to ${shown}${more}: what is absent there cannot be proved absent`
}
