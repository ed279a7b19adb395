import { matchFrame } from '../../generators/frame-match.ts'
import type { FrameSpec } from '../../generators/frame-spec.ts'
import { groupMac } from '../../generators/wire/address.ts'
import { ethernet } from '../../generators/wire/ethernet.ts'
import type { Difference as WireDifference } from '../../generators/wire/field.ts'
import { ipv4 } from '../../generators/wire/ipv4.ts'
import type { FieldsWant } from '../suite/expectations.ts'
import type { Seen } from './check.ts'
import { innerIpAt } from './inner.ts'

/** How the innermost frame of a sighting differs from the fields a want gives; nothing given: nothing looked at. */
export function fieldDifferences(seen: Seen, want: FieldsWant, sighting: number): WireDifference[] {
  if (!want.fields && !want.groupMac) return []
  const { ledger, recording } = seen
  const frame = recording.bytes(ledger.frame(sighting))
  const at = ledger.innerAt(sighting)
  const found = want.fields ? matchFrame(fieldsOfFragment(want.fields, ledger.fragmentOffset(sighting)), frame, at) : []
  const mac = want.groupMac ? groupMacDifference(frame, at) : undefined
  return mac ? [mac, ...found] : found
}

/** 01:00:5e and the low 23 bits of the datagram's own group (RFC 1112 §6.4). */
export function groupMacDifference(frame: Uint8Array, at: number): WireDifference | undefined {
  const ipAt = innerIpAt(frame, at)
  if (ipAt < 0) return undefined
  const expected = groupMac(ipv4.fields.dst.get(frame, ipAt))
  const actual = ethernet.fields.dst.get(frame, at)
  return expected === actual ? undefined : { field: 'ethernet.dst', at, expected, actual }
}

/** A later fragment has no UDP header to look at. */
function fieldsOfFragment(fields: FrameSpec, fragmentOffset: number): FrameSpec {
  if (fragmentOffset === 0) return fields
  const { udp: _udp, igmp: _igmp, vxlan: _vxlan, inner: _inner, payload: _payload, ...rest } = fields
  return rest
}
