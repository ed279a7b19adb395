import type { Recording } from '../captures/record.ts'
import type { CaseResult, CheckResult, Evidence, Status } from '../reports/result.ts'
import { bindCase } from './bind.ts'
import type { FrameNote, Seen, Sent, Verdict } from './check/check.ts'
import { oneLine, worse } from './check/findings.ts'
import { replicationEfficiency, rowsOf } from './check/ledger-rows.ts'
import { allSteps } from './check/proof.ts'
import { judgeExpectation } from './check/registry.ts'
import type { Observation } from './observation.ts'
import type { StageEvidence } from './stage-evidence.ts'
import type { PlannedCase, PlannedStep, Stage } from './suite/plan-types.ts'

/** One attempt of a case, and the frames its checks point at, for the evidence file. */
export interface JudgedCase {
  result: CaseResult
  /** In the order in which `result`'s evidence lists them. */
  frames: FrameNote[]
}

/** Judges one attempt from what it left; `doubt` says why no verdict of the run can be relied on, if so. */
export function judgeCase(
  stage: Stage,
  planned: PlannedCase,
  evidence: StageEvidence,
  doubt: string | undefined,
): JudgedCase {
  const bound = bindCase(planned, evidence.record.site)
  const seen = evidence.seen(bound)
  const sent = evidence.sent(bound)
  const verdicts = bound.expect.map(({ check, want, line }, index) => {
    const verdict = doubted(judgeExpectation(check, want, sent, seen), doubt)
    return { check, index, line, verdict }
  })
  const frames = verdicts.flatMap(({ verdict }) => verdict.frames ?? [])
  const checks = [
    ...verdicts.map(({ check, index, line, verdict }) => checkResult({ check, index, line }, verdict, seen.recording)),
    ...stepResults(bound.steps, seen.observations, bound.expect.length),
  ]
  const status = checks.reduce<Status>(
    (worst, check) => worse(worst, check.status),
    checks.length > 0 ? 'pass' : 'inconclusive',
  )
  const result: CaseResult = {
    ...emptyResult(stage.target, planned),
    ...spanOf(seen.observations.filter(o => o.case === planned.id)),
    status,
    message: messageOf(status, checks),
    checks,
    ledger: ledgerRows(
      sent,
      seen,
      verdicts.map(({ verdict }) => verdict),
    ),
    ...efficiency(sent, seen),
  }
  return { result, frames }
}

/** What a report shows of a case before anything is known of it. */
export function emptyResult(target: string, planned: PlannedCase): CaseResult {
  const { id, file, line, title, covers, level, params } = planned
  return {
    id,
    file,
    line,
    title,
    target,
    status: 'inconclusive',
    message: 'the case was not run',
    covers,
    level,
    params,
    startedAt: '',
    durationMs: 0,
    checks: [],
    ledger: [],
    attempts: [],
    attachments: [],
  }
}

/** A log of what was sent that is cut cannot tell a foreign frame from one it lost: no fail and no pass rests on it. */
function doubted(verdict: Verdict, doubt: string | undefined): Verdict {
  if (doubt === undefined) return verdict
  return { ...verdict, status: 'inconclusive', message: oneLine(`${doubt}; ${verdict.message}`) }
}

function checkResult(
  place: { check: string; index: number; line: number },
  verdict: Verdict,
  recording: Recording,
): CheckResult {
  return {
    ...place,
    status: verdict.status,
    message: oneLine(verdict.message),
    details: verdict.details ?? [],
    differences: verdict.differences ?? [],
    evidence: (verdict.frames ?? []).map(note => inCapture(note, recording)),
    ...(verdict.method && { method: verdict.method }),
    measurements: verdict.measurements ?? {},
  }
}

/** The frame where it was captured; the evidence file, if one is written, takes its place. */
function inCapture({ frame, note }: FrameNote, recording: Recording): Evidence {
  const tap = recording.taps[recording.tap(frame)]
  return { tap: tap?.name ?? '', file: tap?.file ?? '', frame: recording.frameNumber(frame), note }
}

/**
 * Steps that did not come to pass. A limit that the SUT did not keep (`group` with `refused`) is its failure; anything else
 * only means that the case did not go as planned.
 */
function stepResults(steps: readonly PlannedStep[], observations: readonly Observation[], from: number): CheckResult[] {
  const found = allSteps(steps).flatMap(step => {
    const end = observations.find(o => o.kind === 'step' && o.step === step.id && o.phase === 'end')
    if (end?.kind === 'step' && end.ok) return []
    const answered = end?.kind === 'step' && !end.threw
    const status: Status = answered && step.action === 'group' ? 'fail' : 'inconclusive'
    const why = end === undefined ? 'did not end' : (end.kind === 'step' && end.detail) || 'did not come to pass'
    return [{ step, status, message: oneLine(`step ${step.id} (${step.action}): ${why}`) }]
  })
  return found.map(({ step, status, message }, i) => ({
    check: 'step',
    index: from + i,
    line: step.line,
    status,
    message,
    details: [],
    differences: [],
    evidence: [],
    measurements: {},
  }))
}

function messageOf(status: Status, checks: readonly CheckResult[]): string {
  if (checks.length === 0) return 'nothing to judge'
  if (status !== 'pass') {
    const own = checks.filter(check => check.status === status)
    // A step that did not come to pass is why the checks after it had nothing to judge.
    const cause = status === 'inconclusive' ? own.find(({ check }) => check === 'step') : undefined
    return (cause ?? own[0])?.message ?? ''
  }
  return checks.length === 1 ? (checks[0]?.message ?? '') : `${checks.length} checks passed`
}

/** Rows of each test stream once, whether or not a check looked at them. */
function ledgerRows(sent: Sent, seen: Seen, verdicts: readonly Verdict[]) {
  const judged = verdicts.flatMap(verdict => verdict.rows ?? [])
  const others = sent.streams.filter(s => s.role === 'test' && !judged.some(row => row.stream === s.name))
  const rows = [...judged, ...others.flatMap(stream => rowsOf(seen, stream))]
  const keyOf = (row: (typeof rows)[number]) => `${row.stream} ${row.tap} ${row.direction}`
  return [...new Map(rows.map(row => [keyOf(row), row])).values()]
}

function efficiency(sent: Sent, seen: Seen): { replicationEfficiency?: number } {
  const share = replicationEfficiency(sent, seen)
  return share === undefined ? {} : { replicationEfficiency: Math.round(share * 10_000) / 10_000 }
}

function spanOf(observations: readonly Observation[]): { startedAt: string; durationMs: number } {
  const times = observations.map(o => BigInt(o.tNs)).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  const [first, last] = [times[0], times.at(-1)]
  if (first === undefined || last === undefined) return { startedAt: '', durationMs: 0 }
  return {
    startedAt: new Date(Number(first / 1_000_000n)).toISOString(),
    durationMs: Number((last - first) / 1000n) / 1000,
  }
}
