import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { EspKey } from '../captures/esp-opener.ts'
import { readSent, type SentFile } from '../generators/sent-read.ts'
import type { CaseResult, RunResult, Status } from '../reports/result.ts'
import { caseKey } from './case-key.ts'
import { writeEvidence } from './evidence-file.ts'
import { EXIT, exitOfTotals, strongestExit } from './exit.ts'
import { readKeysFile } from './ipsec/keys-file.ts'
import { emptyResult, type JudgedCase, judgeCase } from './judge-case.ts'
import { bugText, LAYOUT, type RunFiles, readRunDirectory, type StageRecord } from './run-directory.ts'
import { StageEvidence } from './stage-evidence.ts'
import { UserError } from './suite/errors.ts'
import type { PlannedCase, Stage } from './suite/plan-types.ts'
import { applyWaivers } from './waivers.ts'

export interface JudgeOptions {
  /** Writes `evidence/<case>.pcapng` and points the results there; otherwise they point into the captures. */
  evidence?: boolean
  /** Opens ESP instead of the keys that the run left. */
  keys?: readonly EspKey[]
}

/**
 * Recomputes every verdict of a run directory from packets, plan and observations, never from `result.json`; needs no root.
 * A run and `castproof judge` both end here, so that they cannot differ.
 */
export function judgeRun(directory: string, options: JudgeOptions = {}): RunResult {
  const files = readRunDirectory(directory)
  const sentFile = openSent(files)
  const judging = new Judging(files, sentFile, options)
  for (const record of files.run.stages) judging.stage(record)
  return judging.result()
}

function openSent(files: RunFiles): SentFile {
  const path = join(files.directory, LAYOUT.sent)
  if (!existsSync(path))
    throw new UserError('run-directory', `${files.directory} has no ${LAYOUT.sent}: what was sent is not known`)
  try {
    return readSent(path, BigInt(files.run.startedAtNs))
  } catch (error) {
    if (error instanceof RangeError || error instanceof SyntaxError)
      throw new UserError('run-directory', `${path}: ${error.message}`)
    throw error
  }
}

class Judging {
  private readonly files: RunFiles
  private readonly sentFile: SentFile
  private readonly options: JudgeOptions
  /** Attempts by stage and case, in the order of the bring-ups. */
  private readonly attempts = new Map<string, CaseResult[]>()
  private readonly background: Record<string, number> = {}
  private readonly warnings: string[]

  constructor(files: RunFiles, sentFile: SentFile, options: JudgeOptions) {
    this.files = files
    this.sentFile = sentFile
    this.options = options
    const early = files.run.durationMs === undefined ? ['the run did not come to its end'] : []
    const bugs = (files.run.bugs ?? []).map(bug => bugText(bug.case, bug.stack))
    this.warnings = [
      ...early,
      ...files.warnings,
      ...bugs,
      ...sentFile.problems.map(problem => `${LAYOUT.sent}: ${problem}`),
    ]
  }

  /** One recording at a time is open: a run may span many. */
  stage(record: StageRecord): void {
    const planned = this.files.plan.stages.find(stage => stage.name === record.name)
    if (!planned) {
      this.warnings.push(`stage ${record.name} is in ${LAYOUT.run} but not in ${LAYOUT.plan}: not judged`)
      return
    }
    const evidence = new StageEvidence(this.files, record, this.sentFile, this.keysOf(record))
    try {
      this.warnings.push(...evidence.recording.problems)
      for (const [name, count] of Object.entries(evidence.ledger.background)) {
        this.background[name] = (this.background[name] ?? 0) + count
      }
      for (const item of planned.cases) if (evidence.attempted(item)) this.case(planned, item, evidence)
    } finally {
      evidence.close()
    }
  }

  /** Those of `--keys`, or the throw-away keys that a bundled target left; undefined: ESP stays closed. */
  private keysOf({ keys }: StageRecord): readonly EspKey[] | undefined {
    if (this.options.keys || keys === undefined) return this.options.keys
    const path = join(this.files.directory, keys)
    if (existsSync(path)) return readKeysFile(path, keys)
    this.warnings.push(`${keys} is missing: ESP stays closed`)
    return undefined
  }

  private case(stage: Stage, item: PlannedCase, evidence: StageEvidence): void {
    const [problem] = this.sentFile.problems
    const judged = judgeCase(stage, item, evidence, problem && `${LAYOUT.sent}: ${problem}`)
    const result = this.options.evidence ? this.withEvidence(judged, stage, evidence) : judged.result
    const key = keyOf(stage, item)
    this.attempts.set(key, [...(this.attempts.get(key) ?? []), result])
  }

  private withEvidence({ result, frames }: JudgedCase, stage: Stage, evidence: StageEvidence): CaseResult {
    const several = this.files.plan.stages.filter(other => other.cases.some(item => item.id === result.id)).length > 1
    const name = several ? `${stage.target}-${result.id}` : result.id
    return writeEvidence(this.files.directory, name, result, frames, evidence.recording)
  }

  result(): RunResult {
    const { run, plan, altered, directory } = this.files
    const judged = [
      ...plan.stages.flatMap(stage => stage.cases.map(item => this.decided(stage, item))),
      ...plan.skipped.map(item => skipped('', item, item.skipReason ?? 'skipped by the plan')),
    ]
    const context = { waivers: run.waivers ?? [], day: run.startedAt.slice(0, 10), versions: run.targetVersions ?? {} }
    const { cases, warnings } = applyWaivers(judged.map(this.dated), context)
    const totals = totalsOf(cases)
    return {
      schema: 'castproof-result/1',
      runId: String(run.runId),
      version: run.version,
      startedAt: run.startedAt,
      durationMs: run.durationMs ?? 0,
      seed: run.seed,
      host: run.host,
      targets: run.targets,
      faults: run.faults,
      profiles: run.profiles,
      cases,
      totals,
      background: this.background,
      altered,
      warnings: [...this.warnings, ...warnings],
      exitCode: strongestExit(exitOfTotals(totals), ...((run.bugs ?? []).length > 0 ? [EXIT.bug] : [])),
      directory: resolve(directory),
    }
  }

  /** What never started is as old as its run. */
  private readonly dated = (one: CaseResult): CaseResult => ({
    ...one,
    startedAt: one.startedAt || this.files.run.startedAt,
  })

  /** The last attempt counts; the earlier ones are told. */
  private decided(stage: Stage, item: PlannedCase): CaseResult {
    const reason = this.files.run.skipped?.[caseKey(stage.target, item.id)] ?? item.skipReason
    const attempts = this.attempts.get(keyOf(stage, item)) ?? []
    const last = attempts.at(-1)
    if (!last) return reason === undefined ? emptyResult(stage.target, item) : skipped(stage.target, item, reason)
    return { ...last, attempts: attempts.slice(0, -1).map(({ status, message }) => ({ status, message })) }
  }
}

function keyOf(stage: Stage, item: PlannedCase): string {
  return `${stage.name} ${item.id}`
}

function skipped(target: string, item: PlannedCase, reason: string): CaseResult {
  return { ...emptyResult(target, item), status: 'skip', message: reason }
}

function totalsOf(cases: readonly CaseResult[]): Record<Status, number> {
  const totals: Record<Status, number> = { pass: 0, fail: 0, inconclusive: 0, skip: 0, waived: 0 }
  for (const { status } of cases) totals[status]++
  return totals
}
