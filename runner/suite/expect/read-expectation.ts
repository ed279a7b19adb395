import type { Amount, CheckName, Control, ExpectationWants } from '../expectations.ts'
import type { Settings } from '../plan-types.ts'

/** What expectations need to know of the steps before them. */
export interface StepFacts {
  /** Senders of a `send` step; undefined when there is no such step or it was not readable. */
  senders(stream: string): readonly string[] | undefined
  /** Pods that have joined the stream's groups when it starts, or why that cannot be told. */
  members(stream: string): { pods: readonly string[] } | { unclear: string }
  settings: Settings
}

/** An expectation as read: what is left to do is the control of an absence, see `controls.ts`. */
export type ReadExpectation = { [Name in CheckName]: { check: Name; want: Draft<Name> } }[CheckName]

/** `control` may still be missing: another expectation of the case will serve. */
export type Draft<Name extends CheckName> = Name extends 'not-delivered'
  ? Omit<ExpectationWants['not-delivered'], 'control'> & { control?: Control }
  : ExpectationWants[Name]

/** Whether this expectation is (also) about something that must not have been seen, and so needs a control. */
export function needsControl(expectation: ReadExpectation): boolean {
  if (expectation.check === 'not-delivered') return true
  return expectation.check === 'igmp' && allowsNone(expectation.want.count)
}

function allowsNone(count: Amount): boolean {
  return typeof count === 'number' ? count === 0 : (count.atLeast ?? 0) === 0
}
