import type { FrameSpec } from '../../../generators/frame-spec.ts'
import { frameShape, takeGroupMac } from '../frame-schema.ts'
import { bool, int, mapping } from '../leaf.ts'
import { mistakes } from '../mistakes.ts'
import type { References } from '../names.ts'
import type { Draft, StepFacts } from './read-expectation.ts'
import { checkFrom, SENDS, type Shapes } from './stream.ts'

function split<T extends Partial<FrameSpec>>(given: T) {
  const { ethernet, vlan, ipv4, udp, igmp, esp, vxlan, inner, payload, ...rest } = given
  const layers = { ethernet, vlan, ipv4, udp, igmp, esp, vxlan, inner, payload }
  const spec = Object.fromEntries(Object.entries(layers).filter(([, value]) => value !== undefined)) as FrameSpec
  return { rest, fields: takeGroupMac(spec) }
}

export function deliverySchemas(refs: References, { stream }: Shapes, facts: StepFacts) {
  const control = () => mapping({ stream: refs.step(SENDS), to: refs.endpoints })
  return {
    delivered: () =>
      mapping({
        ...stream,
        to: refs.endpoints,
        frames: int(1, 100_000_000).exactOptional(),
        ...frameShape(refs),
      }).transform((given, context): Draft<'delivered'> => {
        checkFrom(given, facts, mistakes(context, given))
        const { rest, fields } = split(given)
        return { ...rest, ...fields }
      }),
    'not-delivered': () =>
      mapping({
        ...stream,
        to: refs.endpoints,
        control: control().exactOptional(),
        allowWeaker: bool().exactOptional(),
      }).transform((given, context): Draft<'not-delivered'> => {
        checkFrom(given, facts, mistakes(context, given))
        return { ...given, allowWeaker: (given.allowWeaker ?? true) && facts.settings.allowWeakerFence }
      }),
    duplicates: () =>
      mapping({ ...stream, at: refs.endpoints }).transform((given, context): Draft<'duplicates'> => {
        checkFrom(given, facts, mistakes(context, given))
        return given
      }),
    order: () =>
      mapping({ ...stream, at: refs.endpoints }).transform((given, context): Draft<'order'> => {
        checkFrom(given, facts, mistakes(context, given))
        return given
      }),
    content: () =>
      mapping({ ...stream, at: refs.endpoints, ...frameShape(refs) }).transform((given, context): Draft<'content'> => {
        checkFrom(given, facts, mistakes(context, given))
        const { rest, fields } = split(given)
        return { ...rest, ...fields }
      }),
  }
}
