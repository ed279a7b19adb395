import type { FrameSpec, IgmpFields } from '../../../generators/frame-spec.ts'
import { IGMP_TYPE } from '../../../generators/wire/igmp.ts'
import { frameShape, igmpShape, ipv4Schema } from '../frame-schema.ts'
import { hexText, int, mapping, oneOf } from '../leaf.ts'
import { mistakes, oneOfKeys } from '../mistakes.ts'
import type { References } from '../names.ts'
import { type ReadStep, readStep, stepId } from './read-step.ts'
import { rateOf, rateShape } from './stream.ts'

const IGMP_MESSAGES = {
  'v1-report': { type: IGMP_TYPE.V1_MEMBERSHIP_REPORT },
  'v2-report': { type: IGMP_TYPE.V2_MEMBERSHIP_REPORT },
  'v2-leave': { type: IGMP_TYPE.V2_LEAVE_GROUP },
  'v3-report': { type: IGMP_TYPE.V3_MEMBERSHIP_REPORT },
  'v1-query': { type: IGMP_TYPE.MEMBERSHIP_QUERY, maxRespCode: 0 },
  'v2-query': { type: IGMP_TYPE.MEMBERSHIP_QUERY },
  'v3-query': { type: IGMP_TYPE.MEMBERSHIP_QUERY, qrv: 2 },
} as const satisfies Record<string, IgmpFields>

const MESSAGE_NAMES = Object.keys(IGMP_MESSAGES) as (keyof typeof IGMP_MESSAGES)[]

/** Raw IGMP: a message by name with fields to lie about, or its octets as hex. */
export function igmpSchema(refs: References) {
  const { ethernet, vlan } = frameShape(refs)
  return mapping({
    id: stepId().exactOptional(),
    from: refs.endpoints,
    message: oneOf(MESSAGE_NAMES).exactOptional(),
    hex: hexText({ minBytes: 1, maxBytes: 1476 }).exactOptional(),
    ...igmpShape(refs),
    ethernet,
    vlan,
    ipv4: ipv4Schema(refs).exactOptional(),
    count: int(1, 100_000).exactOptional(),
    ...rateShape(),
  }).transform((given, context): ReadStep => {
    const { id, from, message, hex, count, ethernet, vlan, ipv4, ratePps, bitsPerSecond, rate, burst, ...fields } =
      given
    const mistake = mistakes(context, given)
    oneOfKeys(given, ['message', 'hex', 'type'], 'bad-igmp', mistake)
    if (hex !== undefined && Object.keys(fields).length > 0)
      mistake('bad-igmp', `hex and ${Object.keys(fields).join(', ')} exclude each other`, 'hex is the whole message', [
        'hex',
      ])
    const layers = { ...(ethernet ? { ethernet } : {}), ...(vlan ? { vlan } : {}) }
    const frame: FrameSpec =
      hex === undefined
        ? {
            ...layers,
            ...(ipv4 ? { ipv4 } : {}),
            igmp: { ...(message ? IGMP_MESSAGES[message] : {}), ...fields } as IgmpFields,
          }
        : { ...layers, ipv4: { ...hexHeader(hex), ...ipv4 }, payload: hex }
    return readStep('igmp', id, {
      action: 'send',
      pods: from,
      stream: {
        frame,
        stamped: false,
        count: count ?? 1,
        rate: rateOf({
          ...(ratePps === undefined ? {} : { ratePps }),
          ...(bitsPerSecond === undefined ? {} : { bitsPerSecond }),
          ...(rate === undefined ? {} : { rate }),
        }),
        ...(burst ? { burst } : {}),
      },
      prime: [],
      meanwhile: [],
    })
  })
}

/** The IPv4 header of a message given as octets: RFC 3376 §4, destinations of §4.2.14, RFC 2236 §9 and RFC 1112 appendix I. */
function hexHeader(hex: string): NonNullable<FrameSpec['ipv4']> {
  const group = hex.length >= 16 ? Number.parseInt(hex.slice(8, 16), 16) : 0
  const type = Number.parseInt(hex.slice(0, 2), 16)
  const dst = HEX_DESTINATIONS[type] ?? (group >>> 28 === 0xe ? group : ALL_SYSTEMS_GROUP)
  return { tos: 0xc0, ttl: 1, protocol: 2, options: '94040000', dst }
}

const ALL_SYSTEMS_GROUP = 0xe000_0001
const HEX_DESTINATIONS: Readonly<Record<number, number>> = { 34: 0xe000_0016, 23: 0xe000_0002 }
