import { sum16 } from './checksum.ts'
import { bitsOfU8, header, type Malformed, readU8, readU16, readU32, u8, u16, u32 } from './field.ts'

/** RFC 7761 §4.9. */
export const pim = header('pim', 4, {
  version: bitsOfU8(0, 4, 4),
  type: bitsOfU8(0, 0, 4),
  reserved: u8(1),
  checksum: u16(2),
})

/** RFC 7761 §4.9 and RFC 5059 §4. */
export const PIM_TYPE = {
  HELLO: 0,
  REGISTER: 1,
  REGISTER_STOP: 2,
  JOIN_PRUNE: 3,
  BOOTSTRAP: 4,
  ASSERT: 5,
  CANDIDATE_RP_ADVERTISEMENT: 8,
} as const

/** Join/Prune behind the PIM header and the upstream neighbour's six octets (RFC 7761 §4.9.5). */
const joinPrune = header('joinPrune', 4, { reserved: u8(0), numberOfGroups: u8(1), holdtimeS: u16(2) })
const joinPruneGroup = header('joinPruneGroup', 12, {
  maskLength: u8(3),
  group: u32(4),
  numberOfJoins: u16(8),
  numberOfPrunes: u16(10),
})
/** Encoded-Source (RFC 7761 §4.9.1). */
const source = header('source', 8, {
  sparse: bitsOfU8(2, 2, 1),
  wildcard: bitsOfU8(2, 1, 1),
  rpt: bitsOfU8(2, 0, 1),
  maskLength: u8(3),
  address: u32(4),
})
/** Bootstrap behind the PIM header (RFC 5059 §4.1). */
const bootstrap = header('bootstrap', 10, {
  fragmentTag: u16(0),
  hashMaskLength: u8(2),
  priority: u8(3),
  bsr: u32(6),
})
const bootstrapGroup = header('bootstrapGroup', 12, {
  maskLength: u8(3),
  group: u32(4),
  rpCount: u8(8),
  fragmentRpCount: u8(9),
})
const bootstrapRp = header('bootstrapRp', 10, { address: u32(2), holdtimeS: u16(6), priority: u8(8) })
/** Behind the PIM header: flags, then the whole IP packet (RFC 7761 §4.9.3). */
const REGISTER_HEADER_BYTES = 8
const ENCODED_UNICAST_BYTES = 6
const OPTION_HOLDTIME = 1
const IPV4_FAMILY = 1

/** A source of a Join/Prune message; (*,G) has the RP as address and the wildcard bit. */
export interface PimSource {
  address: number
  wildcard: boolean
  rpt: boolean
}

export interface PimGroup {
  group: number
  maskLength: number
  joins: PimSource[]
  prunes: PimSource[]
}

/** What a message says; `malformed` ends the walk, what was read before it stays. */
export interface PimMessage {
  version: number
  type: number
  checksumOk: boolean
  malformed?: Malformed
  /** Hello option 1, Join/Prune. */
  holdtimeS?: number
  /** Of Join/Prune. */
  upstream?: number
  groups?: PimGroup[]
  /** Register: addresses of the packet inside; a Null-Register has only a header. Register-Stop: what to stop. */
  source?: number
  group?: number
  nullRegister?: boolean
  /** Bootstrap. */
  bsr?: number
  hashMaskLength?: number
  rps?: { group: number; maskLength: number; address: number; holdtimeS: number }[]
}

/** The message in `frame[at] … frame[end - 1]`; undefined when there is not even a PIM header. Never throws. */
export function readPim(frame: Uint8Array, at: number, end: number): PimMessage | undefined {
  if (at + pim.length > end) return undefined
  const type = pim.fields.type.get(frame, at)
  const message: PimMessage = {
    version: pim.fields.version.get(frame, at),
    type,
    checksumOk: pimChecksumOk(frame, at, end),
  }
  const malformed = READERS[type]?.({ frame, at: at + pim.length, end, message })
  return malformed === undefined ? message : { ...message, malformed }
}

/** A Register's checksum covers its first eight octets; one over the whole packet is accepted too (RFC 7761 §4.9). */
export function pimChecksumOk(frame: Uint8Array, at: number, end: number): boolean {
  const whole = sum16(frame, at, end) === 0xffff
  const isRegister = pim.fields.type.get(frame, at) === PIM_TYPE.REGISTER
  return whole || (isRegister && sum16(frame, at, Math.min(end, at + REGISTER_HEADER_BYTES)) === 0xffff)
}

interface Walk {
  frame: Uint8Array
  at: number
  end: number
  message: PimMessage
}

type Reader = (walk: Walk) => Malformed | undefined

const READERS: Readonly<Record<number, Reader>> = {
  [PIM_TYPE.HELLO]: readHello,
  [PIM_TYPE.REGISTER]: readRegister,
  [PIM_TYPE.REGISTER_STOP]: readRegisterStop,
  [PIM_TYPE.JOIN_PRUNE]: readJoinPrune,
  [PIM_TYPE.BOOTSTRAP]: readBootstrap,
}

function readHello({ frame, at, end, message }: Walk): Malformed | undefined {
  for (let option = at; option < end; ) {
    if (option + 4 > end) return { at: option, why: 'a Hello option cut short' }
    const length = readU16(frame, option + 2)
    if (option + 4 + length > end) return { at: option, why: 'a Hello option longer than the message' }
    if (readU16(frame, option) === OPTION_HOLDTIME && length === 2) message.holdtimeS = readU16(frame, option + 4)
    option += 4 + length
  }
  return undefined
}

function readRegister({ frame, at, end, message }: Walk): Malformed | undefined {
  const inner = at + REGISTER_HEADER_BYTES - pim.length
  if (inner + 20 > end) return { at, why: 'a Register without an IP header inside' }
  message.nullRegister = ((readU8(frame, at) >> 6) & 1) === 1
  message.source = readU32(frame, inner + 12)
  message.group = readU32(frame, inner + 16)
  return undefined
}

function readRegisterStop({ frame, at, end, message }: Walk): Malformed | undefined {
  if (at + 8 + ENCODED_UNICAST_BYTES > end) return { at, why: 'a Register-Stop cut short' }
  message.group = readU32(frame, at + 4)
  message.source = readU32(frame, at + 10)
  return undefined
}

function readJoinPrune({ frame, at, end, message }: Walk): Malformed | undefined {
  const body = at + ENCODED_UNICAST_BYTES
  if (body + joinPrune.length > end) return { at, why: 'a Join/Prune cut short' }
  if (readU8(frame, at) !== IPV4_FAMILY) return { at, why: `address family ${readU8(frame, at)}` }
  message.upstream = readU32(frame, at + 2)
  message.holdtimeS = joinPrune.fields.holdtimeS.get(frame, body)
  message.groups = []
  let next = body + joinPrune.length
  for (let i = joinPrune.fields.numberOfGroups.get(frame, body); i > 0; i--) {
    const joins = joinPruneGroup.fields.numberOfJoins.get(frame, next)
    const prunes = joinPruneGroup.fields.numberOfPrunes.get(frame, next)
    const sources = next + joinPruneGroup.length
    if (sources + (joins + prunes) * source.length > end)
      return { at: next, why: 'a group set longer than the message' }
    message.groups.push({
      group: joinPruneGroup.fields.group.get(frame, next),
      maskLength: joinPruneGroup.fields.maskLength.get(frame, next),
      joins: readSources(frame, sources, joins),
      prunes: readSources(frame, sources + joins * source.length, prunes),
    })
    next = sources + (joins + prunes) * source.length
  }
  return undefined
}

function readSources(frame: Uint8Array, at: number, count: number): PimSource[] {
  return Array.from({ length: count }, (_, i) => ({
    address: source.fields.address.get(frame, at + i * source.length),
    wildcard: source.fields.wildcard.get(frame, at + i * source.length) === 1,
    rpt: source.fields.rpt.get(frame, at + i * source.length) === 1,
  }))
}

function readBootstrap({ frame, at, end, message }: Walk): Malformed | undefined {
  if (at + bootstrap.length > end) return { at, why: 'a Bootstrap cut short' }
  message.bsr = bootstrap.fields.bsr.get(frame, at)
  message.hashMaskLength = bootstrap.fields.hashMaskLength.get(frame, at)
  message.rps = []
  for (let next = at + bootstrap.length; next < end; ) {
    if (next + bootstrapGroup.length > end) return { at: next, why: 'a group set cut short' }
    const group = bootstrapGroup.fields.group.get(frame, next)
    const maskLength = bootstrapGroup.fields.maskLength.get(frame, next)
    const count = bootstrapGroup.fields.fragmentRpCount.get(frame, next)
    next += bootstrapGroup.length
    if (next + count * bootstrapRp.length > end) return { at: next, why: 'more RPs than the message holds' }
    for (let i = 0; i < count; i++, next += bootstrapRp.length)
      message.rps.push({
        group,
        maskLength,
        address: bootstrapRp.fields.address.get(frame, next),
        holdtimeS: bootstrapRp.fields.holdtimeS.get(frame, next),
      })
  }
  return undefined
}
