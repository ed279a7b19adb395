import { ETHER_TYPE, ethernet, isVlanType, MIN_FRAME_BYTES, vlan } from './wire/ethernet.ts'
import { readU16 } from './wire/field.ts'
import { fillIpv4Checksum, IPV4_FLAG, ipv4, ipv4End, ipv4HeaderLength, ipv4Options } from './wire/ipv4.ts'

/**
 * The frame's IP packet split so that no fragment's packet is longer than `maxIpBytes` (RFC 791 §3.2). DF is cleared, the ID stays,
 * options with the copied flag go into every fragment. One frame when it fits; padded to `minBytes` each.
 */
export function fragment(frame: Uint8Array, maxIpBytes: number, minBytes = MIN_FRAME_BYTES): Uint8Array[] {
  const ipAt = findIpv4(frame)
  const headerBytes = ipv4HeaderLength(frame, ipAt)
  const end = ipv4End(frame, ipAt, frame.length)
  if (end - ipAt <= maxIpBytes) return [frame.slice()]
  const head = frame.subarray(0, ipAt + headerBytes)
  const tail = headOfLaterFragments(frame, ipAt, headerBytes)
  const fragments: Uint8Array[] = []
  for (let from = ipAt + headerBytes; from < end; ) {
    const header = fragments.length === 0 ? head : tail
    const room = (maxIpBytes - (header.length - ipAt)) & ~7
    if (room < 8) throw new RangeError(`no fragment fits ${maxIpBytes} bytes: the header takes ${header.length - ipAt}`)
    const to = Math.min(from + room, end)
    fragments.push(oneFragment(frame, ipAt, header, { from, to, start: ipAt + headerBytes, end }, minBytes))
    from = to
  }
  return fragments
}

/** Offset of the IPv4 header behind any VLAN tags. */
function findIpv4(frame: Uint8Array): number {
  let at = ethernet.length
  while (isVlanType(readU16(frame, at - 2))) at += vlan.length
  if (readU16(frame, at - 2) !== ETHER_TYPE.IPV4 || at + ipv4.length > frame.length)
    throw new RangeError('the frame holds no IPv4 packet to fragment')
  return at
}

interface Part {
  from: number
  to: number
  start: number
  end: number
}

function oneFragment(frame: Uint8Array, ipAt: number, header: Uint8Array, part: Part, minBytes: number): Uint8Array {
  const length = header.length + part.to - part.from
  const bytes = new Uint8Array(Math.max(length, minBytes))
  bytes.set(header)
  bytes.set(frame.subarray(part.from, part.to), header.length)
  const headerBytes = header.length - ipAt
  const more = part.to < part.end ? IPV4_FLAG.MF : ipv4.fields.flags.get(frame, ipAt) & IPV4_FLAG.MF
  ipv4.fields.ihl.set(bytes, ipAt, headerBytes / 4)
  ipv4.fields.totalLength.set(bytes, ipAt, length - ipAt)
  ipv4.fields.flags.set(bytes, ipAt, (ipv4.fields.flags.get(frame, ipAt) & IPV4_FLAG.RESERVED) | more)
  const offset = ipv4.fields.fragmentOffset.get(frame, ipAt) + (part.from - part.start) / 8
  ipv4.fields.fragmentOffset.set(bytes, ipAt, offset)
  fillIpv4Checksum(bytes, ipAt, headerBytes)
  return bytes
}

const COPIED_FLAG = 0x80

function headOfLaterFragments(frame: Uint8Array, ipAt: number, headerBytes: number): Uint8Array {
  const options: number[] = []
  const walk = ipv4Options(frame, ipAt, ipAt + headerBytes)
  while (walk.next()) {
    const option = frame.subarray(walk.at, walk.at + walk.length)
    if ((option[0] ?? 0) & COPIED_FLAG) options.push(...option)
  }
  while (options.length % 4 !== 0) options.push(0)
  return Uint8Array.from([...frame.subarray(0, ipAt + ipv4.length), ...options])
}
