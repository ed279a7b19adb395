import type { Bound } from '../expectations.ts'
import { found, leaf, mapping } from '../leaf.ts'
import { mistakes } from '../mistakes.ts'
import type { References } from '../names.ts'
import type { Draft, StepFacts } from './read-expectation.ts'
import { checkFrom, SENDS, type Shapes } from './stream.ts'

export function delaySchemas(refs: References, { stream }: Shapes, facts: StepFacts) {
  const maxMs = leaf<number>({ type: 'number', exclusiveMinimum: 0 }, (value, problem) =>
    typeof value === 'number' && value > 0 && value <= 3_600_000
      ? value
      : problem('out-of-range', `expected milliseconds above 0, ${found(value)}`, 'maxMs: 0.5'),
  ).exactOptional()
  const bound = (given: number | undefined, byProfile: number | undefined): Bound => {
    const limit = given ?? byProfile
    return { ...(limit === undefined ? {} : { maxMs: limit }), enforced: facts.settings.timing.enforced }
  }
  const delay = (kinds: readonly string[]) =>
    mapping({
      stream: refs.step(SENDS),
      from: refs.endpoints.exactOptional(),
      to: refs.endpoints,
      step: refs.step(kinds),
      maxMs,
    })
  return {
    latency: () =>
      mapping({ ...stream, to: refs.endpoints, maxMs }).transform((given, context): Draft<'latency'> => {
        checkFrom(given, facts, mistakes(context, given))
        return { ...given, ...bound(given.maxMs, facts.settings.timing.latencyMs) }
      }),
    'join-delay': () =>
      delay(['join', 'igmp', 'run', 'group', 'link']).transform((given, context): Draft<'join-delay'> => {
        checkFrom(given, facts, mistakes(context, given))
        return { ...given, ...bound(given.maxMs, facts.settings.timing.joinDelayMs) }
      }),
    'leave-delay': () =>
      delay(['leave', 'igmp', 'stop', 'kill', 'group', 'link']).transform((given, context): Draft<'leave-delay'> => {
        checkFrom(given, facts, mistakes(context, given))
        return { ...given, ...bound(given.maxMs, facts.settings.timing.leaveDelayMs) }
      }),
  }
}
