import { z } from 'zod'
import type { FrameSpec } from '../../../generators/frame-spec.ts'
import { frameShape, takeGroupMac } from '../frame-schema.ts'
import { bool, int, type Leaf, leaf, mapping, oneOf } from '../leaf.ts'
import { exclusiveKeys, mistakes } from '../mistakes.ts'
import { LateAddress, type Names, type References } from '../names.ts'
import { durationMs, type ReadStep, stepId } from './read-step.ts'
import { destinations, lengthShape, lengthsOf, rateOf, rateShape } from './stream.ts'

type Steps = Leaf<(ReadStep | undefined)[]>

/** `steps` are those of `while`. */
export function sendSchema(names: Names, refs: References, steps: () => Steps) {
  return mapping({
    id: stepId(),
    from: refs.endpoints,
    to: refs.endpoint.exactOptional(),
    count: int(1, 100_000_000).exactOptional(),
    durationMs: durationMs().exactOptional(),
    ...rateShape(),
    ...lengthShape(),
    ...frameShape(refs),
    destinations: destinations(names, refs).exactOptional(),
    stamped: bool().exactOptional(),
    firstSequence: int(0, 0xffff_0000).exactOptional(),
    fragmentBytes: int(28, 65_535).exactOptional(),
    fragmentOrder: oneOf(['forward', 'reverse']).exactOptional(),
    prime: leaf<false | string[]>(
      { anyOf: [{ const: false }, { const: 'auto' }, { type: 'array', items: { type: 'string' } }] },
      (value, problem) => {
        if (value === false) return false
        const pods = refs.endpoints.safeParse(value)
        return pods.success
          ? pods.data
          : problem(
              'bad-prime',
              'expected false or a list of endpoints',
              'left out, the pods of `delivered` are primed',
            )
      },
    ).exactOptional(),
    get while(): z.ZodOptional<Steps> {
      return z.lazy(steps).optional() as unknown as z.ZodOptional<Steps>
    },
  }).transform((send, context): ReadStep => {
    const mistake = mistakes(context, send)
    exclusiveKeys(send, ['ratePps', 'bitsPerSecond', 'rate'], 'bad-send', mistake)
    exclusiveKeys(send, ['lengthBytes', 'sweepBytes', 'mix'], 'bad-send', mistake)
    exclusiveKeys(send, ['igmp', 'esp', 'vxlan'], 'bad-send', mistake)
    exclusiveKeys(send, ['to', 'destinations'], 'bad-send', mistake)
    if (send.count === undefined && send.durationMs === undefined)
      mistake('bad-send', 'neither count nor durationMs', 'count: 100')
    const frame = frameOf(send as unknown as FrameSpec & { to?: string }, names)
    if (takeGroupMac(frame).groupMac)
      mistake(
        'bad-send',
        'groupMac is what is expected, not what is sent',
        'leave ethernet.dst out: it is filled in right',
        ['ethernet'],
      )
    if (frame.ipv4?.dst === undefined && send.destinations === undefined && frame.igmp === undefined)
      mistake('bad-send', 'nothing says where it goes', 'ipv4: { dst: $g }, to: rx, or destinations', ['id'])
    const lengths = lengthsOf(send)
    const inner = (send.while ?? []).filter(step => step !== undefined)
    return {
      kind: 'send',
      id: send.id,
      inner,
      ...(send.prime === undefined ? {} : { prime: send.prime }),
      action: {
        action: 'send',
        pods: send.from,
        stream: {
          frame,
          stamped: send.stamped ?? isStampable(frame),
          ...(send.count === undefined ? {} : { count: send.count }),
          ...(send.durationMs === undefined ? {} : { durationMs: send.durationMs }),
          rate: rateOf(send),
          ...(send.burst ? { burst: send.burst } : {}),
          ...(lengths ? { lengths } : {}),
          ...(send.destinations ? { destinations: send.destinations } : {}),
          ...(send.firstSequence === undefined ? {} : { firstSequence: send.firstSequence }),
          ...(send.fragmentBytes === undefined ? {} : { fragmentBytes: send.fragmentBytes }),
          ...(send.fragmentOrder === undefined ? {} : { fragmentOrder: send.fragmentOrder }),
        },
        prime: [],
        meanwhile: [],
      },
    }
  })
}

const LAYERS = ['ethernet', 'vlan', 'ipv4', 'udp', 'igmp', 'esp', 'vxlan', 'inner', 'payload'] as const

/** The layers of the step; UDP with the case's own port unless something else is carried. */
function frameOf(send: FrameSpec & { to?: string }, names: Names): FrameSpec {
  const frame: Record<string, unknown> = {}
  for (const layer of LAYERS) if (send[layer] !== undefined) frame[layer] = send[layer]
  if (send.to !== undefined) frame['ipv4'] = { dst: new LateAddress({ pod: send.to }, 'ip'), ...send.ipv4 }
  if ([send.igmp, send.esp, send.payload, send.vxlan].every(layer => layer === undefined))
    frame['udp'] = { dstPort: names.port, ...send.udp }
  return frame as FrameSpec
}

/** The stamp is the UDP payload of the innermost frame, where the suite put nothing else. */
function isStampable(frame: FrameSpec): boolean {
  if (frame.inner) return isStampable(frame.inner)
  return [frame.igmp, frame.arp, frame.esp, frame.payload, frame.vxlan].every(layer => layer === undefined)
}
