import { ETHER_TYPE, ethernet, isVlanType, vlan } from '../../generators/wire/ethernet.ts'
import { ipv4HeaderLength } from '../../generators/wire/ipv4.ts'
import { udp } from '../../generators/wire/udp.ts'
import { vxlan } from '../../generators/wire/vxlan.ts'
import type { SentStream } from './check.ts'

/** Offset of the IPv4 header behind the Ethernet header at `at` and its VLAN tags; -1 when there is none. */
export function innerIpAt(frame: Uint8Array, at: number): number {
  let type = ethernet.fields.etherType.get(frame, at)
  let next = at + ethernet.length
  while (isVlanType(type) && next + vlan.length <= frame.length) {
    type = vlan.fields.etherType.get(frame, next)
    next += vlan.length
  }
  return type === ETHER_TYPE.IPV4 && next + 20 <= frame.length && ipv4HeaderLength(frame, next) >= 20 ? next : -1
}

/** Offset of the innermost IPv4 header of a frame as its stream built it, behind the tunnels that the stream itself adds. */
export function sentIpAt(stream: SentStream, frame: Uint8Array): number {
  let at = innerIpAt(frame, 0)
  for (let level = stream.spec.frame.inner; level && at >= 0; level = level.inner) {
    at = innerIpAt(frame, at + ipv4HeaderLength(frame, at) + udp.length + vxlan.length)
  }
  return at
}
