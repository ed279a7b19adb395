import { readU16 } from '../generators/wire/field.ts'
import { isStamp } from '../generators/wire/stamp.ts'
import { type Dissection, dissect, PROTOCOL } from './dissect.ts'

/** Ethernet 14, IPv4 without options 20, UDP 8. */
const STAMP_AT = 42
const STAMP_BYTES = 18
const STAMP_MAGIC_HIGH = 0xca
/** Those 42 and VXLAN's 8. */
const INNER_AT = 50

/** Where the stamp of the frame last located is. */
export interface StampPlace {
  stampAt: number
  /** Of the innermost Ethernet header. */
  innerAt: number
  levels: number
}

/**
 * The stamp of an ordinary frame: untagged Ethernet, IPv4 without options and fragments, UDP, any number of VXLAN
 * levels. False says only "not ordinary": what `dissect` finds then decides. A property test holds the two together.
 * Offsets are written out here because this runs for every frame of a capture, and is a third of what judging it costs.
 */
export function locateStamp(
  bytes: Uint8Array,
  at: number,
  end: number,
  vxlanPorts: Uint8Array,
  into: StampPlace,
): boolean {
  let inner = at
  let limit = end
  let levels = 0
  while (inner + STAMP_AT + STAMP_BYTES <= limit && isPlainUdp(bytes, inner)) {
    const totalLength = readU16(bytes, inner + 16)
    const udpLength = readU16(bytes, inner + 38)
    if (inner + 14 + totalLength > limit || 20 + udpLength > totalLength || udpLength < 8) return false
    limit = inner + 34 + udpLength
    const payload = inner + STAMP_AT
    if (bytes[payload] === STAMP_MAGIC_HIGH && isStamp(bytes, payload, limit)) {
      into.stampAt = payload
      into.innerAt = inner
      into.levels = levels
      return true
    }
    if (vxlanPorts[readU16(bytes, inner + 36)] !== 1) return false
    inner += INNER_AT
    levels++
  }
  return false
}

/** EtherType IPv4, version 4 and IHL 5, protocol UDP, neither MF nor an offset. */
function isPlainUdp(bytes: Uint8Array, at: number): boolean {
  return (
    bytes[at + 12] === 0x08 &&
    bytes[at + 13] === 0x00 &&
    bytes[at + 14] === 0x45 &&
    bytes[at + 23] === 17 &&
    (((bytes[at + 20] as number) & 0x3f) | (bytes[at + 21] as number)) === 0
  )
}

/** The stamp of any frame, ordinary or not; `layers` is overwritten when it is not. */
export function findStamp(
  bytes: Uint8Array,
  at: number,
  length: number,
  originalLength: number,
  vxlanPorts: Uint8Array,
  layers: Dissection,
  into: StampPlace,
): boolean {
  if (locateStamp(bytes, at, at + length, vxlanPorts, into)) return true
  dissect(bytes, at, at + length, layers, originalLength, vxlanPorts)
  const last = layers.count - 1
  if (layers.protocol(last) !== PROTOCOL.stamp) return false
  into.stampAt = layers.at(last)
  into.innerAt = layers.innerAt
  into.levels = layers.levels
  return true
}
