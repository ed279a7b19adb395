import { LateAddress } from './names.ts'
import type { Binding } from './plan-types.ts'

/** A copy in which every address that only the site knows is 0 or '', and where each of them belongs. */
export function takeLate<T>(value: T): { value: T; bind: Binding[] } {
  const bind: Binding[] = []
  const copy = (item: unknown, path: (string | number)[]): unknown => {
    if (item instanceof LateAddress) {
      bind.push({ path, of: item.of, what: item.what })
      return item.what === 'text' ? '' : 0
    }
    if (Array.isArray(item)) return item.map((inner, i) => copy(inner, [...path, i]))
    if (typeof item !== 'object' || item === null) return item
    const entries = Object.entries(item).filter(([, inner]) => inner !== undefined)
    return Object.fromEntries(entries.map(([key, inner]) => [key, copy(inner, [...path, key])]))
  }
  return { value: copy(value, []) as T, bind }
}
