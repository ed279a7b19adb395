import { type FrameLayout, hasUdp, layoutFrame, mergeSpecs, optionBytes } from './frame-layout.ts'
import type { FrameSpec, IgmpFields } from './frame-spec.ts'
import { hexBytes } from './hex.ts'
import { buildIgmp } from './igmp-message.ts'
import { BROADCAST_MAC, groupMac, isMulticast, parseIpv4 } from './wire/address.ts'
import { ARP_IPV4_OVER_ETHERNET, ARP_OPERATION, arp } from './wire/arp.ts'
import { esp } from './wire/esp.ts'
import { ETHER_TYPE, ethernet, MIN_FRAME_BYTES, vlan } from './wire/ethernet.ts'
import { writeFields } from './wire/field.ts'
import { ALL_IGMPV3_ROUTERS, ALL_ROUTERS, ALL_SYSTEMS, IGMP_TYPE, igmp } from './wire/igmp.ts'
import { fillIpv4Checksum, IP_PROTOCOL, IPV4_FLAG, ipv4 } from './wire/ipv4.ts'
import { fillUdpChecksum, udp } from './wire/udp.ts'
import { VXLAN_FLAG_VNI, VXLAN_PORT, vxlan } from './wire/vxlan.ts'

export { fragment } from './fragment.ts'
export { matchFrame } from './frame-match.ts'

/**
 * The frame's final bytes. `defaults` (a sender's own addresses) lie under `spec`; what neither gives gets the right
 * value. Padded with zeros to `minBytes`, 60 unless told otherwise; inner frames of a tunnel are not padded.
 */
export function buildFrame(spec: FrameSpec, defaults: FrameSpec = {}, minBytes = MIN_FRAME_BYTES): Uint8Array {
  const whole = mergeSpecs(defaults, spec)
  const layout = layoutFrame(whole)
  const frame = new Uint8Array(Math.max(layout.end, minBytes))
  writeLevel(frame, whole, layout)
  return frame
}

/** From the inside out: checksums cover what lies behind them. */
function writeLevel(frame: Uint8Array, spec: FrameSpec, layout: FrameLayout): void {
  if (spec.inner && layout.inner) writeLevel(frame, spec.inner, layout.inner)
  frame.set(hexBytes(spec.payload ?? '', 'payload'), layout.payloadAt)
  if (layout.vxlanAt >= 0) writeVxlan(frame, spec, layout)
  if (spec.igmp) frame.set(buildIgmp(spec.igmp), layout.igmpAt)
  if (spec.esp) writeFields(esp, frame, layout.espAt, { spi: FIRST_FREE_SPI, sequence: 1, ...spec.esp })
  if (layout.ipv4At >= 0) writeIpv4(frame, spec, layout)
  if (layout.udpAt >= 0) writeUdp(frame, spec, layout)
  if (spec.arp) writeArp(frame, spec, layout)
  writeEthernet(frame, spec, layout)
}

/** Values up to 255 are IANA's (RFC 4303 §2.1). */
const FIRST_FREE_SPI = 256

function writeVxlan(frame: Uint8Array, { vxlan: given }: FrameSpec, layout: FrameLayout): void {
  writeFields(vxlan, frame, layout.vxlanAt, { flags: VXLAN_FLAG_VNI, vni: 1, ...given })
}

/** The sender of frames that name none: 192.0.2.1 of TEST-NET-1 (RFC 5737). */
const DEFAULT_SOURCE = parseIpv4('192.0.2.1')

function writeIpv4(frame: Uint8Array, spec: FrameSpec, layout: FrameLayout): void {
  const { options: _, ...given } = spec.ipv4 ?? {}
  writeFields(ipv4, frame, layout.ipv4At, {
    version: 4,
    ihl: layout.ipv4HeaderBytes / 4,
    tos: spec.igmp ? 0xc0 : 0,
    totalLength: layout.end - layout.ipv4At,
    flags: given.fragmentOffset ? 0 : IPV4_FLAG.DF,
    ttl: spec.igmp ? 1 : 64,
    protocol: protocolOf(spec),
    src: DEFAULT_SOURCE,
    dst: destinationOf(spec),
    ...given,
  })
  frame.set(optionBytes(spec), layout.ipv4At + ipv4.length)
  if (given.checksum === undefined) fillIpv4Checksum(frame, layout.ipv4At, checksummedBytes(given.ihl, layout))
}

/** A receiver sums as many words as IHL says, so a lying IHL still gets the checksum that fits it. */
function checksummedBytes(ihl: number | undefined, layout: FrameLayout): number {
  return ihl === undefined ? layout.ipv4HeaderBytes : Math.max(ipv4.length, ihl * 4)
}

/** For experiments (RFC 3692 §1.1), when a frame says nothing about what it carries. */
const EXPERIMENTAL_PROTOCOL = 253
const EXPERIMENTAL_ETHER_TYPE = 0x88b5

function protocolOf(spec: FrameSpec): number {
  if (spec.igmp) return IP_PROTOCOL.IGMP
  if (spec.esp) return IP_PROTOCOL.ESP
  return hasUdp(spec) ? IP_PROTOCOL.UDP : EXPERIMENTAL_PROTOCOL
}

function destinationOf(spec: FrameSpec): number {
  if (spec.ipv4?.dst !== undefined) return spec.ipv4.dst
  if (spec.igmp) return igmpDestination(spec.igmp)
  throw new RangeError('ipv4.dst is missing, and nothing else in the frame says where it goes')
}

/** RFC 1112 appendix I, RFC 2236 §3 and §9, RFC 3376 §4.1.12 and §4.2.14. */
function igmpDestination(fields: IgmpFields): number {
  const message = buildIgmp(fields)
  const group = igmp.fields.group.get(message, 0)
  switch (igmp.fields.type.get(message, 0)) {
    case IGMP_TYPE.V3_MEMBERSHIP_REPORT:
      return ALL_IGMPV3_ROUTERS
    case IGMP_TYPE.V2_LEAVE_GROUP:
      return ALL_ROUTERS
    case IGMP_TYPE.MEMBERSHIP_QUERY:
      return group === 0 ? ALL_SYSTEMS : group
    default:
      return group
  }
}

function writeUdp(frame: Uint8Array, spec: FrameSpec, layout: FrameLayout): void {
  const tunnel = layout.vxlanAt >= 0
  writeFields(udp, frame, layout.udpAt, {
    srcPort: 49152,
    dstPort: tunnel ? VXLAN_PORT : 5001,
    length: layout.end - layout.udpAt,
    ...spec.udp,
  })
  const { checksum, checksumXor } = spec.udp ?? {}
  // A VXLAN sender should leave the outer checksum 0 (RFC 7348 §5).
  if (checksum !== undefined || (tunnel && checksumXor === undefined)) return
  fillUdpChecksum(frame, layout.ipv4At, layout.udpAt, layout.end)
  const right = udp.fields.checksum.get(frame, layout.udpAt)
  udp.fields.checksum.set(frame, layout.udpAt, right ^ (checksumXor ?? 0))
}

function writeArp(frame: Uint8Array, spec: FrameSpec, layout: FrameLayout): void {
  const senderMac = spec.ethernet?.src ?? macOf(spec.arp?.senderIp ?? DEFAULT_SOURCE)
  writeFields(arp, frame, layout.arpAt, {
    ...ARP_IPV4_OVER_ETHERNET,
    operation: ARP_OPERATION.REQUEST,
    senderMac,
    senderIp: DEFAULT_SOURCE,
    ...spec.arp,
  })
}

function writeEthernet(frame: Uint8Array, spec: FrameSpec, layout: FrameLayout): void {
  const types = [...(spec.vlan ?? []).map(() => ETHER_TYPE.VLAN), etherTypeOf(layout)]
  writeFields(ethernet, frame, layout.at, {
    dst: destinationMac(frame, layout),
    src: sourceMac(frame, layout),
    etherType: types[0],
    ...spec.ethernet,
  })
  spec.vlan?.forEach((tag, i) => {
    const at = layout.vlanAt + i * vlan.length
    writeFields(vlan, frame, at, { pcp: 0, dei: 0, vid: 1, etherType: types[i + 1], ...tag })
  })
}

function etherTypeOf(layout: FrameLayout): number {
  if (layout.arpAt >= 0) return ETHER_TYPE.ARP
  return layout.ipv4At >= 0 ? ETHER_TYPE.IPV4 : EXPERIMENTAL_ETHER_TYPE
}

/** Group MAC, broadcast, or `macOf` the next hop; the SUT's own addresses must be given. */
function destinationMac(frame: Uint8Array, layout: FrameLayout): number {
  if (layout.ipv4At < 0) return BROADCAST_MAC
  const dst = ipv4.fields.dst.get(frame, layout.ipv4At)
  if (isMulticast(dst)) return groupMac(dst)
  return dst === 0xffff_ffff ? BROADCAST_MAC : macOf(dst)
}

function sourceMac(frame: Uint8Array, layout: FrameLayout): number {
  if (layout.arpAt >= 0) return arp.fields.senderMac.get(frame, layout.arpAt)
  return macOf(layout.ipv4At < 0 ? DEFAULT_SOURCE : ipv4.fields.src.get(frame, layout.ipv4At))
}

/** The MAC that goes with an address when nobody gave one: 02:00 (locally administered) and the address. */
export function macOf(address: number): number {
  return 0x0200_0000_0000 + address
}
