import { checksum16, sum16 } from './checksum.ts'
import { header, u16 } from './field.ts'
import { IP_PROTOCOL, pseudoHeaderSum } from './ipv4.ts'

/** UDP header (RFC 768). */
export const udp = header('udp', 8, { srcPort: u16(0), dstPort: u16(2), length: u16(4), checksum: u16(6) })

/** The checksum to send: a computed 0 becomes 0xffff, since 0 on the wire means "none" (RFC 768). */
export function udpChecksum(frame: Uint8Array, ipAt: number, at: number, end: number): number {
  const pseudo = pseudoHeaderSum(frame, ipAt, IP_PROTOCOL.UDP, end - at)
  const carried = udp.fields.checksum.get(frame, at)
  udp.fields.checksum.set(frame, at, 0)
  const checksum = checksum16(frame, at, end, pseudo)
  udp.fields.checksum.set(frame, at, carried)
  return checksum === 0 ? 0xffff : checksum
}

export function fillUdpChecksum(frame: Uint8Array, ipAt: number, at: number, end: number): void {
  udp.fields.checksum.set(frame, at, udpChecksum(frame, ipAt, at, end))
}

/** `absent` is legal on IPv4; `partial` holds the pseudo header's sum alone, as Linux leaves it to the device. */
export type UdpChecksumState = 'right' | 'wrong' | 'absent' | 'partial'

/** What the checksum field of a whole, unfragmented datagram says (RFC 768). */
export function udpChecksumState(frame: Uint8Array, ipAt: number, at: number, end: number): UdpChecksumState {
  const carried = udp.fields.checksum.get(frame, at)
  if (carried === 0) return 'absent'
  const pseudo = pseudoHeaderSum(frame, ipAt, IP_PROTOCOL.UDP, udp.fields.length.get(frame, at))
  if (sum16(frame, at, end, pseudo) === 0xffff) return 'right'
  return carried === pseudo ? 'partial' : 'wrong'
}
