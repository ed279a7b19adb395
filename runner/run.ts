import { randomInt } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { hostname, release, type } from 'node:os'
import { join } from 'node:path'
import type { EspKey } from '../captures/esp-opener.ts'
import { realtimeNs } from '../generators/linux/libc.ts'
import { openSentLog } from '../generators/sent.ts'
import type { Progress } from '../reports/progress.ts'
import type { RunResult } from '../reports/result.ts'
import { writeWhole } from '../reports/write.ts'
import { caseKey } from './case-key.ts'
import { faultsOfTarget } from './faults.ts'
import { judgeRun } from './judge.ts'
import { PATIENT, type Patience } from './patience.ts'
import { bugText, fileSha256, LAYOUT, type RunRecord, type StageRecord } from './run-directory.ts'
import type { Sandbox } from './sandbox/sandbox.ts'
import type { Counts, Listener, StageJob } from './stage-record.ts'
import type { Plan, PlannedCase, Stage } from './suite/plan-types.ts'
import { topologyOf } from './target/requirements.ts'
import type { Target } from './target/target.ts'
import { castproofVersion } from './version.ts'
import type { Waiver } from './waivers.ts'

/** Attempts of a case that could not be judged; one that failed is never repeated. */
const MAX_ATTEMPTS = 3

export interface RunWanted {
  plan: Plan
  directory: string
  targets: ReadonlyMap<string, Target>
  faults: readonly string[]
  waivers: Waiver[]
  /** Cases this machine cannot run, by caseKey, with the reason. */
  skipped: Record<string, string>
  jobs: number
  /** Repeats inconclusive cases; off where the first word is wanted, as in the fault matrix. */
  retry: boolean
  patience?: Patience
  /** False: failures point into the captures, and no excerpts are written. */
  evidence?: boolean
  /** Opens a target's ESP; they are not kept in the run directory. */
  keys?: readonly EspKey[]
  /** Where each stage is recorded. */
  sandboxOf: (stage: Stage) => Sandbox
}

/** The pipeline of ARCHITECTURE section 2: record every stage, then judge the directory as `castproof judge` would. */
export async function run(wanted: RunWanted, progress: Progress, stop: AbortSignal): Promise<RunResult> {
  const recording = new RunRecording(wanted, progress, stop)
  const startMs = performance.now()
  for (const stage of wanted.plan.stages.filter(stage => runnable(stage, wanted))) await recording.stage(stage, 1)
  let result = recording.judge(startMs)
  for (let attempt = 2; wanted.retry && attempt <= MAX_ATTEMPTS; attempt++) {
    const again = stagesAgain(wanted.plan, result)
    if (again.length === 0) break
    for (const stage of again) await recording.stage(stage, attempt)
    result = recording.judge(startMs)
  }
  for (const decided of result.cases) progress.caseFinished(decided)
  progress.runFinished(result)
  return result
}

/** A stage with nothing but skips is not brought up. */
function runnable(stage: Stage, { skipped }: RunWanted): boolean {
  return stage.cases.some(item => skipped[caseKey(stage.target, item.id)] === undefined)
}

/** Stages with just the cases that were inconclusive there. */
export function stagesAgain(plan: Plan, result: RunResult): Stage[] {
  const undecided = new Set(
    result.cases.filter(item => item.status === 'inconclusive').map(item => caseKey(item.target, item.id)),
  )
  return plan.stages
    .map(stage => ({ ...stage, cases: stage.cases.filter(item => undecided.has(caseKey(stage.target, item.id))) }))
    .filter(stage => stage.cases.length > 0)
}

class RunRecording {
  private readonly wanted: RunWanted
  private readonly progress: Progress
  private readonly stop: AbortSignal
  private readonly record: RunRecord
  private counts: Counts = { streamNumber: 0, sentStreams: 0 }
  private readonly startNs = realtimeNs()

  constructor(wanted: RunWanted, progress: Progress, stop: AbortSignal) {
    this.wanted = wanted
    this.progress = progress
    this.stop = stop
    mkdirSync(join(wanted.directory, LAYOUT.taps), { recursive: true })
    this.record = this.newRecord()
    this.write(LAYOUT.plan, wanted.plan)
    this.write(LAYOUT.run, this.record)
    writeFileSync(join(wanted.directory, LAYOUT.observations), '')
    openSentLog(join(wanted.directory, LAYOUT.sent), this.startNs).close()
    progress.runStarted({
      runId: String(this.record.runId),
      directory: wanted.directory,
      seed: wanted.plan.seed,
      cases: wanted.plan.stages.reduce((sum, stage) => sum + stage.cases.length, 0),
      stages: wanted.plan.stages.length,
      faults: [...wanted.faults],
    })
  }

  private newRecord(): RunRecord {
    const { plan, faults, targets, waivers } = this.wanted
    const described = [...targets.values()].map(({ name, description }) => ({
      name,
      description,
      sandbox: this.sandboxes(name),
    }))
    return {
      schema: 'castproof-run/1',
      runId: randomInt(1, 0x1000000),
      version: castproofVersion(),
      startedAt: new Date(Number(this.startNs / 1_000_000n)).toISOString(),
      startedAtNs: String(this.startNs),
      seed: plan.seed,
      host: { hostname: hostname(), kernel: release(), node: process.version, os: type() },
      targets: described,
      faults: [...faults],
      profiles: plan.profiles,
      stages: [],
      timingBounds: plan.settings.timing.enforced,
      waivers,
      skipped: this.wanted.skipped,
      warnings: [],
    }
  }

  /** Where the target's stages run. */
  private sandboxes(target: string): string {
    const stages = this.wanted.plan.stages.filter(stage => stage.target === target)
    return [...new Set(stages.map(stage => this.wanted.sandboxOf(stage).description))].sort().join('; ')
  }

  private write(name: string, value: unknown): void {
    writeWhole(join(this.wanted.directory, name), `${JSON.stringify(value, null, 1)}\n`)
  }

  /** Brings the stage up, runs its cases, takes it down; what it recorded is in the run record from then on. */
  async stage(stage: Stage, attempt: number): Promise<void> {
    const startMs = performance.now()
    const { nodes, pods } = stage.topology
    const sandbox = this.wanted.sandboxOf(stage)
    this.progress.stageStarted({
      stage: stage.name,
      target: stage.target,
      description: this.description(stage.target, sandbox),
      cases: stage.cases.length,
      nodes: nodes.length,
      pods: pods.length,
    })
    const { site, version, taps, clocks, health, keys, counts } = await sandbox.record(
      this.job(stage, attempt),
      this.listener(attempt),
      this.stop,
    )
    this.counts = counts
    if (version !== undefined) this.record.targetVersions = { ...this.record.targetVersions, [stage.target]: version }
    this.record.stages.push({
      name: stage.name,
      target: stage.target,
      attempt,
      sandbox: { kind: sandbox.kind, kernel: sandbox.kernel },
      site,
      ...(clocks === undefined ? {} : { clocks }),
      ...(health === undefined ? {} : { health }),
      taps: taps.map(item => ({ ...item, sha256: fileSha256(join(this.wanted.directory, item.file)) })),
      ...(keys === undefined ? {} : { keys }),
    })
    // A stage that has ended can be judged, whatever becomes of the run.
    this.write(LAYOUT.run, this.record)
    this.progress.stageFinished({ stage: stage.name, tookMs: performance.now() - startMs })
  }

  private job(stage: Stage, attempt: number): StageJob {
    const { directory, jobs, faults, patience = PATIENT } = this.wanted
    const cases = stage.cases.filter(item => this.wanted.skipped[caseKey(stage.target, item.id)] === undefined)
    return {
      stage: { ...stage, cases, topology: topologyOf(stage, cases) },
      attempt,
      directory,
      runId: this.record.runId,
      runStartNs: String(this.startNs),
      faults: faultsOfTarget(faults, stage.target),
      jobs,
      patience,
      counts: this.counts,
    }
  }

  private listener(attempt: number): Listener {
    const warn = (text: string): void => {
      this.record.warnings?.push(text)
      this.progress.warning(text)
    }
    const bug = (id: string, stack: string): void => {
      this.record.bugs = [...(this.record.bugs ?? []), { case: id, attempt, stack }]
      this.progress.warning(bugText(id, stack))
    }
    return { progress: this.progress, warn, bug }
  }

  private description(target: string, sandbox: Sandbox): string {
    const found = this.wanted.targets.get(target)
    if (!found) throw new RangeError(`a stage needs target ${target}`)
    return sandbox.kind === 'host' ? found.description : `${found.description}, in ${sandbox.description}`
  }

  /** Writes the record and judges the directory from its files: the same path as `castproof judge`. */
  judge(startMs: number): RunResult {
    this.record.durationMs = Math.round(performance.now() - startMs)
    this.write(LAYOUT.run, this.record)
    for (const stage of this.record.stages)
      this.progress.stageJudging({ stage: stage.name, cases: this.cases(stage).length })
    const { directory, evidence = true, keys } = this.wanted
    return judgeRun(directory, { evidence, ...(keys && { keys }) })
  }

  private cases(stage: StageRecord): PlannedCase[] {
    return this.wanted.plan.stages.find(item => item.name === stage.name)?.cases ?? []
  }
}
