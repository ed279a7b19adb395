import { amount } from '../amount-schema.ts'
import type { Amount } from '../expectations.ts'
import { found, leaf, list, mapping } from '../leaf.ts'
import { mistakes, report } from '../mistakes.ts'
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
      const names = typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : []
      if (names.length === 0)
        return problem(
          'wrong-type',
          `expected drop reasons and amounts, ${found(value)}`,
          'reasons: { bad-checksum: 1 }',
        )
      const reasons: Record<string, Amount> = {}
      for (const [name, inner] of names) {
        const result = amount.safeParse(inner)
        if (result.success) reasons[name] = result.data
        else report(result.error, problem, [name])
      }
      return reasons
    }),
  }).transform(
    ({ between, ...want }, context): Draft<'drops'> => ({
      ...want,
      between: pairOf(between, mistakes(context, between)),
    }),
  )
}
