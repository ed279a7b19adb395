import type { FrameSpec } from './frame-spec.ts'
import { hexBytes, padded32 } from './hex.ts'
import { igmpMessageLength } from './igmp-message.ts'
import { arp } from './wire/arp.ts'
import { esp } from './wire/esp.ts'
import { ethernet, vlan } from './wire/ethernet.ts'
import { ipv4, ROUTER_ALERT } from './wire/ipv4.ts'
import { udp } from './wire/udp.ts'
import { vxlan } from './wire/vxlan.ts'

/** Where each header of a frame to be built will stand; -1 = there is none. */
export interface FrameLayout {
  at: number
  vlanAt: number
  arpAt: number
  ipv4At: number
  ipv4HeaderBytes: number
  udpAt: number
  igmpAt: number
  espAt: number
  vxlanAt: number
  inner: FrameLayout | undefined
  /** After the last header. */
  payloadAt: number
  /** Behind the last byte, without padding. */
  end: number
}

/** Offsets of every header of `spec`; the frame is not built. RangeError when layers exclude each other. */
export function layoutFrame(spec: FrameSpec, at = 0): FrameLayout {
  refuseConflicts(spec)
  const layout: FrameLayout = { ...NOTHING, at }
  let cursor = at + ethernet.length
  const place = (present: boolean, length: number): number => {
    if (!present) return -1
    cursor += length
    return cursor - length
  }
  layout.vlanAt = place((spec.vlan?.length ?? 0) > 0, vlan.length * (spec.vlan?.length ?? 0))
  layout.arpAt = place(spec.arp !== undefined, arp.length)
  layout.ipv4HeaderBytes = hasIpv4(spec) ? ipv4.length + optionBytes(spec).length : 0
  layout.ipv4At = place(hasIpv4(spec), layout.ipv4HeaderBytes)
  layout.udpAt = place(hasUdp(spec), udp.length)
  layout.igmpAt = place(spec.igmp !== undefined, spec.igmp ? igmpMessageLength(spec.igmp) : 0)
  layout.espAt = place(spec.esp !== undefined, esp.length)
  layout.vxlanAt = place(spec.vxlan !== undefined || spec.inner !== undefined, vxlan.length)
  layout.inner = spec.inner && layoutFrame(spec.inner, cursor)
  layout.payloadAt = layout.inner?.end ?? cursor
  layout.end = layout.payloadAt + hexBytes(spec.payload ?? '', 'payload').length
  return layout
}

const NOTHING: FrameLayout = {
  at: 0,
  vlanAt: -1,
  arpAt: -1,
  ipv4At: -1,
  ipv4HeaderBytes: 0,
  udpAt: -1,
  igmpAt: -1,
  espAt: -1,
  vxlanAt: -1,
  inner: undefined,
  payloadAt: 0,
  end: 0,
}

/** The innermost level: what the pod sent, inside any number of tunnels. */
export function innermost(layout: FrameLayout): FrameLayout {
  return layout.inner ? innermost(layout.inner) : layout
}

export function hasUdp(spec: FrameSpec): boolean {
  return spec.udp !== undefined || spec.vxlan !== undefined || spec.inner !== undefined
}

export function hasIpv4(spec: FrameSpec): boolean {
  return spec.ipv4 !== undefined || spec.igmp !== undefined || spec.esp !== undefined || hasUdp(spec)
}

function refuseConflicts(spec: FrameSpec): void {
  const carried = [spec.arp && 'arp', spec.igmp && 'igmp', spec.esp && 'esp', hasUdp(spec) && 'udp or vxlan'].filter(
    Boolean,
  )
  if (carried.length > 1) throw new RangeError(`a frame carries one of ${carried.join(', ')}, not several`)
  if (spec.arp && spec.ipv4) throw new RangeError('a frame carries arp or ipv4, not both')
}

/** IPv4 options padded to 32 bits with End of Options; IGMP carries Router Alert unless told otherwise (RFC 3376 §4). */
export function optionBytes(spec: FrameSpec): Uint8Array {
  const bytes = hexBytes(spec.ipv4?.options ?? (spec.igmp ? ROUTER_ALERT : ''), 'ipv4.options')
  if (bytes.length > 40) throw new RangeError(`ipv4.options: ${bytes.length} bytes, the header holds 40`)
  return padded32(bytes)
}

/** `spec` over `defaults`, layer by layer and field by field; a layer that only `defaults` has is not added, except ethernet and ipv4. */
export function mergeSpecs(defaults: FrameSpec, spec: FrameSpec): FrameSpec {
  const merged: FrameSpec = { ...spec }
  merged.ethernet = { ...defaults.ethernet, ...spec.ethernet }
  if (hasIpv4(spec)) merged.ipv4 = { ...defaults.ipv4, ...spec.ipv4 }
  if (spec.udp) merged.udp = { ...defaults.udp, ...spec.udp }
  if (spec.arp) merged.arp = { ...defaults.arp, ...spec.arp }
  if (spec.vxlan) merged.vxlan = { ...defaults.vxlan, ...spec.vxlan }
  if (spec.inner && defaults.inner) merged.inner = mergeSpecs(defaults.inner, spec.inner)
  return merged
}
