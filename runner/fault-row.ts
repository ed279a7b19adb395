import type { Fault } from '../bpf/faults.ts'
import type { CaseResult, RunResult } from '../reports/result.ts'

/** What one fault did to the suites. */
export interface FaultRow {
  fault: string
  requirements: string[]
  /** Cases that failed and cover a requirement of the fault: they noticed it. */
  killedBy: string[]
  /** Cases that failed without covering one of its requirements. */
  alsoFailed: string[]
  inconclusive: string[]
  passed: number
  /** How many ran. */
  cases: number
  tookMs: number
}

export function rowOf(fault: Fault, result: RunResult, tookMs: number): FaultRow {
  const failed = result.cases.filter(item => item.status === 'fail')
  const notices = (item: CaseResult): boolean => item.covers.some(covered => fault.requirements.includes(covered.id))
  return {
    fault: fault.name,
    requirements: [...fault.requirements],
    killedBy: failed.filter(notices).map(item => item.id),
    alsoFailed: failed.filter(item => !notices(item)).map(item => item.id),
    inconclusive: result.cases.filter(item => item.status === 'inconclusive').map(item => item.id),
    passed: result.totals.pass,
    cases: result.totals.pass + result.totals.fail + result.totals.inconclusive,
    tookMs: Math.round(tookMs),
  }
}

/** Those of the cases that no fault turns red while at least half of the others stay green. */
export function idleCases(cases: readonly string[], rows: readonly FaultRow[]): string[] {
  return cases.filter(id => !rows.some(row => row.killedBy.includes(id) && leavesHalfGreen(row)))
}

/** A fault that breaks everything shows of no case that it can tell one thing from another. */
function leavesHalfGreen(row: FaultRow): boolean {
  return row.passed * 2 >= row.cases - 1
}
