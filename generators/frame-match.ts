import { hasIpv4, hasUdp } from './frame-layout.ts'
import type { FrameSpec } from './frame-spec.ts'
import { hexBytes } from './hex.ts'
import { hexDifference, matchIgmp } from './igmp-message.ts'
import { arp } from './wire/arp.ts'
import { esp } from './wire/esp.ts'
import { ETHER_TYPE, ethernet, isVlanType, vlan } from './wire/ethernet.ts'
import { type Difference, mismatches, readU16 } from './wire/field.ts'
import { IP_PROTOCOL, ipv4, ipv4End, ipv4HeaderLength } from './wire/ipv4.ts'
import { isStamp, stamp } from './wire/stamp.ts'
import { udp } from './wire/udp.ts'
import { vxlan } from './wire/vxlan.ts'

/**
 * How the frame that starts at `at` differs from what `spec` gives; empty = it matches. Layers are found by the frame's own
 * lengths, and the walk stops at the first layer that is not the one wanted. Never throws on any bytes.
 */
export function matchFrame(spec: FrameSpec, bytes: Uint8Array, at = 0, end = bytes.length): Difference[] {
  const stop = Math.min(end, bytes.length)
  if (at + ethernet.length > stop) return [tooShort('ethernet', at, stop)]
  const found = spec.ethernet ? mismatches(ethernet, bytes, at, spec.ethernet) : []
  const network = matchVlans(spec, bytes, at + ethernet.length, stop, found)
  if (network.trouble) return found
  if (spec.arp) matchArp(spec, bytes, network, stop, found)
  else if (hasIpv4(spec)) matchIpv4(spec, bytes, network, stop, found)
  else matchPayload(spec, bytes, network.at, stop, found)
  return found
}

interface NetworkPlace {
  at: number
  etherType: number
  etherTypeAt: number
  trouble: boolean
}

function tooShort(layer: string, at: number, end: number): Difference {
  return { field: layer, at, expected: 'present', actual: `only ${Math.max(0, end - at)} bytes left` }
}

/** Tags in the spec are matched in their order; tags the spec does not mention are passed over. */
function matchVlans(spec: FrameSpec, bytes: Uint8Array, from: number, end: number, found: Difference[]): NetworkPlace {
  let at = from
  let index = 0
  while (isVlanType(readU16(bytes, at - 2)) && at + vlan.length <= end) {
    const want = spec.vlan?.[index++]
    if (want) found.push(...mismatches(vlan, bytes, at, want))
    at += vlan.length
  }
  const trouble = index < (spec.vlan?.length ?? 0)
  if (trouble) found.push({ field: `vlan[${index}]`, at, expected: 'present', actual: 'missing' })
  return { at, etherType: readU16(bytes, at - 2), etherTypeAt: at - 2, trouble }
}

function wrongType(expected: number, place: NetworkPlace): Difference {
  return { field: 'ethernet.etherType', at: place.etherTypeAt, expected, actual: place.etherType }
}

function matchArp(spec: FrameSpec, bytes: Uint8Array, place: NetworkPlace, end: number, found: Difference[]): void {
  if (place.etherType !== ETHER_TYPE.ARP) found.push(wrongType(ETHER_TYPE.ARP, place))
  else if (place.at + arp.length > end) found.push(tooShort('arp', place.at, end))
  else found.push(...mismatches(arp, bytes, place.at, spec.arp ?? {}))
}

function matchIpv4(spec: FrameSpec, bytes: Uint8Array, place: NetworkPlace, end: number, found: Difference[]): void {
  const { at } = place
  const { options, ...want } = spec.ipv4 ?? {}
  if (place.etherType !== ETHER_TYPE.IPV4) return void found.push(wrongType(ETHER_TYPE.IPV4, place))
  if (at + ipv4.length > end) return void found.push(tooShort('ipv4', at, end))
  found.push(...mismatches(ipv4, bytes, at, want))
  const headerBytes = ipv4HeaderLength(bytes, at)
  if (headerBytes < ipv4.length || at + headerBytes > end) {
    return void found.push({ field: 'ipv4.ihl', at, expected: 'a header that fits', actual: headerBytes / 4 })
  }
  if (options !== undefined) {
    const actual = bytes.subarray(at + ipv4.length, at + headerBytes)
    found.push(...hexDifference('ipv4.options', at + ipv4.length, hexBytes(options, 'ipv4.options'), actual))
  }
  matchTransport(spec, bytes, at, at + headerBytes, ipv4End(bytes, at, end), found)
}

function matchTransport(
  spec: FrameSpec,
  bytes: Uint8Array,
  ipAt: number,
  at: number,
  end: number,
  found: Difference[],
): void {
  const [layer, wanted] = carried(spec)
  const actual = ipv4.fields.protocol.get(bytes, ipAt)
  if (wanted !== undefined && wanted !== actual) {
    const field = { field: 'ipv4.protocol', at: ipAt + ipv4.fields.protocol.offset }
    if (spec.ipv4?.protocol === undefined) found.push({ ...field, expected: wanted, actual })
    return
  }
  if (wanted !== undefined && at + 8 > end) return void found.push(tooShort(layer, at, end))
  if (spec.igmp) found.push(...matchIgmp(spec.igmp, bytes, at, end))
  else if (spec.esp) matchEsp(spec, bytes, at, end, found)
  else if (wanted === IP_PROTOCOL.UDP) matchUdp(spec, bytes, at, end, found)
  else matchPayload(spec, bytes, at, end, found)
}

/** What IP carries, and the protocol number that says so; undefined: whatever it is. */
function carried(spec: FrameSpec): [layer: string, protocol: number | undefined] {
  if (spec.igmp) return ['igmp', IP_PROTOCOL.IGMP]
  if (spec.esp) return ['esp', IP_PROTOCOL.ESP]
  return ['udp', hasUdp(spec) ? IP_PROTOCOL.UDP : undefined]
}

function matchEsp(spec: FrameSpec, bytes: Uint8Array, at: number, end: number, found: Difference[]): void {
  found.push(...mismatches(esp, bytes, at, spec.esp ?? {}))
  matchPayload(spec, bytes, at + esp.length, end, found)
}

function matchUdp(spec: FrameSpec, bytes: Uint8Array, at: number, end: number, found: Difference[]): void {
  if (spec.udp) found.push(...mismatches(udp, bytes, at, spec.udp))
  const stop = Math.min(end, at + Math.max(udp.length, udp.fields.length.get(bytes, at)))
  if (spec.vxlan || spec.inner) matchVxlan(spec, bytes, at + udp.length, stop, found)
  else matchPayload(spec, bytes, at + udp.length, stop, found)
}

function matchVxlan(spec: FrameSpec, bytes: Uint8Array, at: number, end: number, found: Difference[]): void {
  const innerAt = at + vxlan.length
  if (innerAt > end) return void found.push(tooShort('vxlan', at, end))
  if (spec.vxlan) found.push(...mismatches(vxlan, bytes, at, spec.vxlan))
  if (!spec.inner) matchPayload(spec, bytes, innerAt, end, found)
  else {
    const inner = matchFrame(spec.inner, bytes, innerAt, end)
    found.push(...inner.map(difference => ({ ...difference, field: `inner.${difference.field}` })))
  }
}

/** Exact; a stamp in front of it is passed over, as the sender put it there. */
function matchPayload(spec: FrameSpec, bytes: Uint8Array, at: number, end: number, found: Difference[]): void {
  if (spec.payload === undefined) return
  const from = isStamp(bytes, at, end) ? at + stamp.length : at
  found.push(...hexDifference('payload', from, hexBytes(spec.payload, 'payload'), bytes.subarray(from, end)))
}
