import { z } from 'zod'
import type { FrameSpec, GroupRecordFields, IgmpFields } from '../../generators/frame-spec.ts'
import { RECORD_TYPE } from '../../generators/wire/igmp.ts'
import { found, hexText, int, type Leaf, leaf, list, mapping } from './leaf.ts'
import { mistakes } from './mistakes.ts'
import type { References } from './names.ts'
import { didYouMean } from './suggest.ts'

/** Record Types by their short names of RFC 3376 §5.1 and §6.4 and by their whole names of §4.2.12; a number is sent as given. */
export const RECORD_TYPES: Readonly<Record<string, number>> = {
  IS_IN: RECORD_TYPE.MODE_IS_INCLUDE,
  IS_EX: RECORD_TYPE.MODE_IS_EXCLUDE,
  TO_IN: RECORD_TYPE.CHANGE_TO_INCLUDE_MODE,
  TO_EX: RECORD_TYPE.CHANGE_TO_EXCLUDE_MODE,
  ALLOW: RECORD_TYPE.ALLOW_NEW_SOURCES,
  BLOCK: RECORD_TYPE.BLOCK_OLD_SOURCES,
  ...RECORD_TYPE,
}

/** Hex digits of at most one MTU's worth, or `{ text: … }` for characters. */
const payload: Leaf<string> = leaf(
  { anyOf: [{ type: 'string' }, { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] }] },
  (value, problem) => {
    const words = typeof value === 'object' && value !== null && 'text' in value ? value.text : undefined
    if (typeof words === 'string') return Buffer.from(words, 'utf8').toString('hex')
    if (typeof value === 'string' && /^([0-9a-f]{2})*$/i.test(value)) return value.toLowerCase()
    return problem(
      'bad-hex',
      `expected an even number of hex digits, ${found(value)}`,
      "payload: '68656c6c6f' or payload: { text: hello }",
    )
  },
)

const recordType: Leaf<number> = leaf(
  { anyOf: [{ enum: Object.keys(RECORD_TYPES) }, { type: 'integer', minimum: 0, maximum: 255 }] },
  (value, problem) => {
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 255) return value
    const known = typeof value === 'string' ? RECORD_TYPES[value] : undefined
    if (known !== undefined) return known
    return problem(
      'not-one-of',
      `expected a Record Type, ${found(value)}`,
      `${didYouMean(String(value), Object.keys(RECORD_TYPES))}; or a number 0 to 255`,
    )
  },
)

/** `groupMac` is not a number: it is kept apart, see `takeGroupMac`. */
function etherDst(refs: References): Leaf<number> {
  return leaf({ type: 'string' }, (value, problem) => {
    if (value === 'groupMac') return GROUP_MAC
    const result = refs.mac.safeParse(value)
    if (result.success) return result.data
    for (const issue of result.error.issues) {
      const params = (issue as { params?: { code?: string; hint?: string } }).params
      problem(params?.code ?? 'bad-address', issue.message, `${params?.hint ?? ''}; or groupMac`)
    }
    return undefined
  })
}

/** No MAC address: what `dst: groupMac` reads as until `takeGroupMac`. */
const GROUP_MAC = -1

/** Removes `dst: groupMac` from the outermost Ethernet header and says whether it was there. */
export function takeGroupMac(spec: FrameSpec): { fields?: FrameSpec; groupMac?: true } {
  if (spec.ethernet?.dst !== GROUP_MAC) return Object.keys(spec).length > 0 ? { fields: spec } : {}
  const { dst: _, ...ethernet } = spec.ethernet
  const { ethernet: __, ...rest } = spec
  const fields = Object.keys(ethernet).length > 0 ? { ...rest, ethernet } : rest
  return { ...(Object.keys(fields).length > 0 ? { fields } : {}), groupMac: true }
}

/** Whether `groupMac` is left somewhere that nobody takes it from: there it would be compared as a number, or sent. */
export function hasGroupMac(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { ethernet } = value as FrameSpec
  return ethernet?.dst === GROUP_MAC || Object.values(value).some(hasGroupMac)
}

const u4 = () => int(0, 15)
const u8 = () => int(0, 255)
const u16 = () => int(0, 0xffff)

type FrameShape = ReturnType<typeof makeFrameShape>
const shapes = new WeakMap<References, FrameShape>()

/** Layers as in frame-spec.ts, addresses as text; the same for `send` and for what is expected. Made once, for it holds itself. */
export function frameShape(refs: References): FrameShape {
  const shape = shapes.get(refs) ?? makeFrameShape(refs)
  shapes.set(refs, shape)
  return shape
}

function makeFrameShape(refs: References) {
  const inner: z.ZodType<FrameSpec> = z.lazy(
    () => (innerSchema ??= mapping(frameShape(refs), 'the layers of the inner frame') as z.ZodType<FrameSpec>),
  )
  let innerSchema: z.ZodType<FrameSpec> | undefined
  return {
    ethernet: mapping({
      dst: etherDst(refs).exactOptional(),
      src: refs.mac.exactOptional(),
      etherType: u16().exactOptional(),
    }).exactOptional(),
    vlan: list(vlanTag(), 'VLAN tags, the outer one first').exactOptional(),
    ipv4: ipv4Schema(refs).exactOptional(),
    udp: mapping({
      srcPort: u16().exactOptional(),
      dstPort: int(0, 0xffff, 'a UDP port').exactOptional(),
      length: u16().exactOptional(),
      checksum: u16().exactOptional(),
      checksumXor: u16().exactOptional(),
    }).exactOptional(),
    igmp: igmpSchema(refs).exactOptional(),
    esp: mapping({
      spi: int(0, 0xffff_ffff, 'an SPI').exactOptional(),
      sequence: int(0, 0xffff_ffff, 'a sequence number').exactOptional(),
    }).exactOptional(),
    vxlan: mapping({
      flags: u8().exactOptional(),
      reserved1: int(0, 0xffffff).exactOptional(),
      vni: int(0, 0xffffff).exactOptional(),
      reserved2: u8().exactOptional(),
    }).exactOptional(),
    inner: inner.exactOptional(),
    payload: payload.exactOptional(),
  }
}

function vlanTag() {
  return mapping({
    pcp: int(0, 7).exactOptional(),
    dei: int(0, 1).exactOptional(),
    vid: int(0, 4095).exactOptional(),
    etherType: u16().exactOptional(),
  }) as unknown as Leaf<NonNullable<FrameSpec['vlan']>[number]>
}

export function ipv4Schema(refs: References) {
  return mapping({
    version: u4().exactOptional(),
    ihl: u4().exactOptional(),
    tos: u8().exactOptional(),
    totalLength: u16().exactOptional(),
    id: u16().exactOptional(),
    flags: int(0, 7).exactOptional(),
    fragmentOffset: int(0, 8191).exactOptional(),
    ttl: u8().exactOptional(),
    protocol: u8().exactOptional(),
    checksum: u16().exactOptional(),
    src: refs.address.exactOptional(),
    dst: refs.address.exactOptional(),
    options: hexText({ maxBytes: 40 }).exactOptional(),
  })
}

export function igmpShape(refs: References) {
  return {
    type: u8().exactOptional(),
    maxRespCode: u8().exactOptional(),
    checksum: u16().exactOptional(),
    group: refs.address.exactOptional(),
    resv: u4().exactOptional(),
    sFlag: int(0, 1).exactOptional(),
    qrv: int(0, 7).exactOptional(),
    qqic: u8().exactOptional(),
    numberOfSources: u16().exactOptional(),
    sources: refs.addresses.exactOptional(),
    reserved1: u8().exactOptional(),
    reserved2: u16().exactOptional(),
    numberOfGroupRecords: u16().exactOptional(),
    records: records(refs).exactOptional(),
    trailing: hexText({ maxBytes: 1400 }).exactOptional(),
    checksumLengthBytes: int(0, 1500).exactOptional(),
    checksumXor: u16().exactOptional(),
  }
}

export function igmpSchema(refs: References): z.ZodType<IgmpFields> {
  return mapping(igmpShape(refs)) as unknown as z.ZodType<IgmpFields>
}

/** RFC 3376 §4.2.4. `groups: $many` makes one record for each of them. */
function records(refs: References): Leaf<GroupRecordFields[]> {
  const record = mapping({
    type: recordType,
    group: refs.address.exactOptional(),
    groups: refs.groups.exactOptional(),
    sources: refs.addresses.exactOptional(),
    /** `count: 364` adds so many sources, from 192.0.2.0 on upwards. */
    sourceCount: int(1, 500).exactOptional(),
    auxDataLen: u8().exactOptional(),
    numberOfSources: u16().exactOptional(),
    auxData: hexText({ maxBytes: 1020 }).exactOptional(),
  }).transform((given, context): GroupRecordFields[] => {
    const { type, group, groups, sources, sourceCount, ...lies } = given
    if ((group === undefined) === (groups === undefined)) {
      mistakes(context, given)('missing-key', 'a record needs `group` or `groups`, and not both', 'group: $g')
      return []
    }
    const all = [...(sources ?? []), ...Array.from({ length: sourceCount ?? 0 }, (_, i) => MANY_SOURCES + i)]
    const common = { recordType: type, ...lies, ...(all.length > 0 ? { sources: all } : {}) }
    return (groups ?? [group as number]).map(each => ({ ...common, multicastAddress: each }))
  }) as unknown as Leaf<GroupRecordFields[]>
  return list(record, 'Group Records').transform(all => all.flat()) as unknown as Leaf<GroupRecordFields[]>
}

/** 198.18.0.1 of the benchmarking range (RFC 2544): the first source that `sourceCount` makes. */
const MANY_SOURCES = 0xc612_0001
