import { PIM_TYPES } from '../pim-match.ts'
import { type Leaf, leaf, oneOf } from './leaf.ts'
import type { References } from './names.ts'

/** As the router names it. */
export const interfaceName = leaf<string>({ type: 'string' }, (value, problem) =>
  typeof value === 'string' && /^[a-zA-Z][\w.-]{0,14}$/.test(value)
    ? value
    : problem('bad-name', `not the name of an interface: ${String(value)}`, 'gi2-0, eth0'),
)

/** Which PIM messages are meant: the same for a `pim` expectation and for waiting for one. */
export function pimShape(refs: References) {
  const source = leaf<number | '*'>({ type: 'string' }, (value, problem) => {
    if (value === '*') return '*'
    const address = refs.address.safeParse(value)
    return address.success ? address.data : problem('bad-address', "expected a source or '*'", "source: '@tx'")
  }) as Leaf<number | '*'>
  return {
    type: oneOf(Object.keys(PIM_TYPES) as (keyof typeof PIM_TYPES)[]),
    group: refs.group.exactOptional(),
    source: source.exactOptional(),
    list: oneOf(['join', 'prune']).exactOptional(),
  }
}
