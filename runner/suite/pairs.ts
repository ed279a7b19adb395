import type { z } from 'zod'
import { found, isMapping, type Problem } from './leaf.ts'
import { parsed } from './mistakes.ts'

/** How a mapping whose keys the author chooses is read, each pair on its own. */
export interface PairReader<K, V> {
  what: string
  hint?: string
  /** What a key stands for; undefined after it has reported a problem, which lands at the key. */
  key(name: string, problem: Problem): K | undefined
  item: z.ZodType<V>
}

export function pairsIn<K, V>(value: unknown, problem: Problem, reader: PairReader<K, V>): [K, V][] | undefined {
  if (!isMapping(value)) return problem('wrong-type', `expected ${reader.what}, ${found(value)}`, reader.hint)
  return Object.entries(value).flatMap(([name, inner]): [K, V][] => {
    const here: Problem = (code, message, hint, path = []) => problem(code, message, hint, [name, ...path])
    const key = reader.key(name, here)
    const read = parsed(reader.item, inner, here)
    return key === undefined || read === undefined ? [] : [[key, read]]
  })
}
