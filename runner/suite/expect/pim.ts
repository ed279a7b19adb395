import { amount } from '../amount-schema.ts'
import { frameShape, ipv4Schema } from '../frame-schema.ts'
import { mapping, oneOf } from '../leaf.ts'
import type { References } from '../names.ts'
import { interfaceName, pimShape } from '../pim-schema.ts'
import type { Draft } from './read-expectation.ts'
import type { Shapes } from './stream.ts'

export function pimSchema(refs: References, { window }: Shapes) {
  const { ethernet } = frameShape(refs)
  return mapping({
    ...window,
    node: refs.node,
    interface: interfaceName,
    direction: oneOf(['in', 'out']),
    ...pimShape(refs),
    count: amount.exactOptional(),
    ipv4: ipv4Schema(refs).exactOptional(),
    ethernet,
    holdtimeS: amount.exactOptional(),
    upstream: refs.address.exactOptional(),
    rp: refs.address.exactOptional(),
  }).transform(({ count, ...given }) => ({ ...given, count: count ?? { atLeast: 1 } }) as Draft<'pim'>)
}
