import { amount } from '../amount-schema.ts'
import { frameShape, igmpShape, ipv4Schema, takeGroupMac } from '../frame-schema.ts'
import { mapping, oneOf } from '../leaf.ts'
import type { References } from '../names.ts'
import type { Draft } from './read-expectation.ts'
import { SENDS, type Shapes } from './stream.ts'

export function igmpSchema(refs: References, { window }: Shapes) {
  const { ethernet } = frameShape(refs)
  return mapping({
    ...window,
    endpoint: refs.endpoints,
    direction: oneOf(['in', 'out']),
    version: oneOf([1, 2, 3]).exactOptional(),
    ...igmpShape(refs),
    ipv4: ipv4Schema(refs).exactOptional(),
    ethernet,
    count: amount.exactOptional(),
    control: mapping({ stream: refs.step(SENDS), to: refs.endpoints }).exactOptional(),
  }).transform((given): Draft<'igmp'> => {
    const { endpoint, direction, version, ipv4, ethernet, count, control, after, before, ...igmp } = given
    const optional = { after, before, version, control }
    const taken = takeGroupMac(ethernet ? { ethernet } : {})
    return {
      ...(Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)) as object),
      pods: endpoint,
      direction,
      igmp: igmp as Draft<'igmp'>['igmp'],
      ...(ipv4 ? { ipv4 } : {}),
      ...(taken.fields?.ethernet ? { ethernet: taken.fields.ethernet } : {}),
      ...(taken.groupMac ? { groupMac: true as const } : {}),
      count: count ?? { atLeast: 1 },
    }
  })
}
