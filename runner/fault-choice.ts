import type { Fault } from '../bpf/faults.ts'
import { caseKey } from './case-key.ts'
import { bears } from './fault-matrix.ts'
import type { Plan } from './suite/plan-types.ts'

export interface FaultChoice {
  faults: readonly Fault[]
  leftOut: { fault: string; why: string }[]
}

/**
 * Faults that some case is for which can run here. Of all suites, a fault that no case is for is a hole, and stays; of `some`, it is
 * another suite's.
 */
export function faultsFor(
  plan: Plan,
  faults: readonly Fault[],
  skipped: Readonly<Record<string, string>>,
  some: boolean,
): FaultChoice {
  const leftOut = faults.flatMap(fault => {
    const why = whyNot(fault, plan, skipped, some)
    return why === undefined ? [] : [{ fault: fault.name, why }]
  })
  return { faults: faults.filter(({ name }) => !leftOut.some(one => one.fault === name)), leftOut }
}

function whyNot(fault: Fault, plan: Plan, skipped: Readonly<Record<string, string>>, some: boolean) {
  const reasons = plan.stages.flatMap(({ target, cases }) =>
    cases.filter(item => bears(item, [fault])).map(({ id }) => skipped[caseKey(target, id)]),
  )
  if (reasons.length === 0) return some ? 'no case of these suites is for it' : undefined
  return reasons.every(reason => reason !== undefined) ? reasons[0] : undefined
}

/** How many were left out, reason by reason. */
export function leftOutLines(leftOut: FaultChoice['leftOut']): string[] {
  const counts = new Map<string, number>()
  for (const { why } of leftOut) counts.set(why, (counts.get(why) ?? 0) + 1)
  return [...counts].map(([why, n]) => `${n} ${n === 1 ? 'fault' : 'faults'} left out: ${why}`)
}
