import { amountsOf } from '../amount-schema.ts'
import type { Amount } from '../expectations.ts'
import { isMapping, leaf, list, mapping } from '../leaf.ts'
import { mistakes } from '../mistakes.ts'
import type { References } from '../names.ts'
import type { Draft } from './read-expectation.ts'
import { pairOf } from './snapshots.ts'

export function dropsSchema(refs: References) {
  const snapshot = refs.step(['snapshot'])
  const pair = list(snapshot, 'two snapshots')
  return mapping({
    between: pair,
    node: refs.node,
    reasons: leaf<Record<string, Amount>>({ type: 'object', minProperties: 1 }, (value, problem) => {
      const what = 'drop reasons and amounts'
      const hint = 'reasons: { bad-checksum: 1 }'
      if (isMapping(value) && Object.keys(value).length === 0)
        return problem('wrong-type', `expected ${what}, found none`, hint)
      return amountsOf(value, problem, { what, hint, key: name => name })
    }),
  }).transform(
    ({ between, ...want }, context): Draft<'drops'> => ({
      ...want,
      between: pairOf(between, mistakes(context, between)),
    }),
  )
}
