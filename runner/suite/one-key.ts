import { z } from 'zod'
import { bool, type Leaf, mapping } from './leaf.ts'

/** A mapping with exactly one of these keys; `when: false` (of a matrix row) leaves the item out. */
export function oneKey<T>(schemas: Record<string, () => z.ZodType<T>>, what: string): Leaf<T | undefined> {
  const keys = Object.keys(schemas)
  const shape = Object.fromEntries(keys.map(key => [key, z.lazy(schemas[key]!).exactOptional()]))
  return mapping({ ...shape, when: bool().exactOptional() }, `a mapping with one key, the kind of ${what}`)
    .transform((item, context) => {
      const given = keys.filter(key => key in item)
      // An unknown key has been reported, and says more than the absence of a known one.
      if (given.length === 0 && context.issues.length > 0) return undefined
      if (given.length === 1) return item['when'] === false ? undefined : (item as Record<string, T>)[given[0]!]
      context.issues.push({
        code: 'custom',
        message: given.length === 0 ? `no kind of ${what} is named` : `${given.join(' and ')} in one ${what}`,
        input: item,
        params: {
          code: `one-${what}`,
          hint: given.length === 0 ? `known: ${keys.join(', ')}` : 'begin each with a `-` of its own',
        },
      })
      return undefined
    })
    .meta({ minProperties: 1, maxProperties: 2 }) as unknown as Leaf<T | undefined>
}
