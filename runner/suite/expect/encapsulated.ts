import type { FrameSpec } from '../../../generators/frame-spec.ts'
import { frameShape } from '../frame-schema.ts'
import { int, mapping, oneOf } from '../leaf.ts'
import { mistakes } from '../mistakes.ts'
import type { Names, References } from '../names.ts'
import type { Draft, StepFacts } from './read-expectation.ts'
import { checkFrom, type Shapes } from './stream.ts'

export function encapsulatedSchema(names: Names, refs: References, { stream }: Shapes, facts: StepFacts) {
  const { ethernet, vlan, ipv4, udp, vxlan } = frameShape(refs)
  return mapping({
    ...stream,
    fromNodes: refs.nodes.exactOptional(),
    toNodes: refs.nodes.exactOptional(),
    vni: int(0, 0xffffff).exactOptional(),
    udpPort: int(1, 65_535, 'a UDP port').exactOptional(),
    levels: int(1, 4).exactOptional(),
    outer: mapping({ ethernet, vlan, ipv4, udp, vxlan }).exactOptional(),
    innerDst: oneOf(['groupMac']).exactOptional(),
  }).transform((given, context): Draft<'encapsulated'> => {
    const mistake = mistakes(context, given)
    checkFrom(given, facts, mistake)
    const { outer, innerDst, levels, ...want } = given
    const senders = want.from ?? facts.senders(want.stream) ?? []
    const fromNodes = want.fromNodes ?? [...new Set(senders.map(pod => names.nodeOf(pod)))]
    const members = want.toNodes ? { pods: [] } : facts.members(want.stream)
    if ('unclear' in members)
      mistake('unclear-members', `to which nodes? ${members.unclear}`, 'toNodes: [n2, n3]', ['stream'])
    const pods = 'unclear' in members ? [] : members.pods
    const toNodes = want.toNodes ?? [...new Set(pods.map(pod => names.nodeOf(pod)))]
    const alone = fromNodes.every(from => toNodes.every(node => node === from))
    if (alone && !('unclear' in members))
      mistake(
        'no-remote-member',
        'no other node has a member of this stream',
        'toNodes: [n2], or a member on another node',
        ['stream'],
      )
    return {
      ...want,
      fromNodes,
      toNodes,
      levels: levels ?? 1,
      ...(outer ? { outer: outer as FrameSpec } : {}),
      ...(innerDst ? { groupMac: true as const } : {}),
    }
  })
}
