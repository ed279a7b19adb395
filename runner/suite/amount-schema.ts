import type { Amount } from './expectations.ts'
import { found, int, type Leaf, leaf, mapping, type Problem } from './leaf.ts'
import { type PairReader, pairsIn } from './pairs.ts'

/** `3`, or `{ atLeast: 1, atMost: 3 }`. */
export const amount: Leaf<Amount> = leaf<Amount>(
  {
    anyOf: [
      { type: 'integer', minimum: 0 },
      {
        type: 'object',
        properties: { atLeast: { type: 'integer' }, atMost: { type: 'integer' } },
        minProperties: 1,
        additionalProperties: false,
      },
    ],
  },
  (value, problem) => {
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return value
    const bounds = mapping({ atLeast: int(0, 1e12).exactOptional(), atMost: int(0, 1e12).exactOptional() }).safeParse(
      value,
    )
    const good = bounds.success && Object.keys(bounds.data).length > 0
    if (good && (bounds.data.atLeast ?? 0) <= (bounds.data.atMost ?? Infinity)) return bounds.data
    return problem(
      'bad-amount',
      `expected a number or bounds, ${found(value)}`,
      '3, { atLeast: 1 }, { atMost: 3 } or both',
    )
  },
)

/** Amounts of things that are called by name; what may be named, `key` says. */
export function amountsOf<K extends string>(
  value: unknown,
  problem: Problem,
  reader: Omit<PairReader<K, Amount>, 'item'>,
): Record<K, Amount> | undefined {
  const pairs = pairsIn(value, problem, { ...reader, item: amount })
  return pairs && (Object.fromEntries(pairs) as Record<K, Amount>)
}
