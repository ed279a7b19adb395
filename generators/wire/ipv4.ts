import { checksum16, fold16, sum16 } from './checksum.ts'
import { bitsOfU8, bitsOfU16, header, type Malformed, readU8, readU16, u8, u16, u32 } from './field.ts'

/** IPv4 header without options (RFC 791 §3.1). `flags` is reserved, DF, MF from high to low. */
export const ipv4 = header('ipv4', 20, {
  version: bitsOfU8(0, 4, 4),
  ihl: bitsOfU8(0, 0, 4),
  tos: u8(1),
  totalLength: u16(2),
  id: u16(4),
  flags: bitsOfU16(6, 13, 3),
  fragmentOffset: bitsOfU16(6, 0, 13),
  ttl: u8(8),
  protocol: u8(9),
  checksum: u16(10),
  src: u32(12),
  dst: u32(16),
})

export const IP_PROTOCOL = { ICMP: 1, IGMP: 2, TCP: 6, UDP: 17, ESP: 50, PIM: 103 } as const
export const IPV4_FLAG = { MF: 1, DF: 2, RESERVED: 4 } as const

/** Router Alert with value 0: every router shall examine the packet (RFC 2113 §2.1). */
export const ROUTER_ALERT = '94040000'

/** IHL in bytes; below 20 the header is malformed. */
export function ipv4HeaderLength(frame: Uint8Array, at: number): number {
  return (readU8(frame, at) & 15) * 4
}

/** Where this packet's payload ends by Total Length, never past `end`: Ethernet padding lies behind it. */
export function ipv4End(frame: Uint8Array, at: number, end: number): number {
  return Math.min(end, at + ipv4.fields.totalLength.get(frame, at))
}

/** Whether the header checksum is right (RFC 791 §3.1). */
export function ipv4ChecksumOk(frame: Uint8Array, at: number): boolean {
  return sum16(frame, at, at + ipv4HeaderLength(frame, at)) === 0xffff
}

export function fillIpv4Checksum(frame: Uint8Array, at: number, headerBytes: number): void {
  ipv4.fields.checksum.set(frame, at, 0)
  ipv4.fields.checksum.set(frame, at, checksum16(frame, at, at + headerBytes))
}

/** Part of a fragmented datagram: More Fragments is set or the offset is not 0. */
export function isFragment(frame: Uint8Array, at: number): boolean {
  return (readU16(frame, at + 6) & 0x3fff) !== 0
}

/** Sum of the pseudo header that UDP checksums include (RFC 768); `length` is the UDP length. */
export function pseudoHeaderSum(frame: Uint8Array, at: number, protocol: number, length: number): number {
  return fold16(sum16(frame, at + 12, at + 20) + protocol + length)
}

/** Walks options one by one; `at` is the current one's type octet, `length` counts it whole. */
export interface Ipv4OptionWalk {
  at: number
  length: number
  malformed: Malformed | undefined
  next(): boolean
}

const END_OF_OPTIONS = 0
const NO_OPERATION = 1

/** Options of the header at `at`; End of Options ends the walk, No Operation is one octet long (RFC 791 §3.1). */
export function ipv4Options(frame: Uint8Array, at: number, end: number): Ipv4OptionWalk {
  const stop = Math.min(end, frame.length, at + ipv4HeaderLength(frame, at))
  let nextAt = at + ipv4.length
  const walk: Ipv4OptionWalk = {
    at: nextAt,
    length: 0,
    malformed: undefined,
    next() {
      if (nextAt >= stop || readU8(frame, nextAt) === END_OF_OPTIONS || walk.malformed) return false
      const length = optionLength(frame, nextAt, stop)
      if (length === 0) {
        walk.malformed = { at: nextAt, why: 'IPv4 option longer than the header, or shorter than 2' }
        return false
      }
      walk.at = nextAt
      walk.length = length
      nextAt += length
      return true
    },
  }
  return walk
}

/** 0 when the length octet cannot be right. */
function optionLength(frame: Uint8Array, at: number, stop: number): number {
  if (readU8(frame, at) === NO_OPERATION) return 1
  if (at + 2 > stop) return 0
  const length = readU8(frame, at + 1)
  return length < 2 || at + length > stop ? 0 : length
}

const ROUTER_ALERT_TYPE = 148

/** RFC 2113: option 148 of four octets. */
export function hasRouterAlert(frame: Uint8Array, at: number, end: number): boolean {
  const options = ipv4Options(frame, at, end)
  while (options.next()) if (readU8(frame, options.at) === ROUTER_ALERT_TYPE && options.length === 4) return true
  return false
}
