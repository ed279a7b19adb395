import { header, u16, u32 } from './field.ts'
import { type FlowSetSpec, joined, recordCountOf, writeFlowSet } from './flow-write.ts'

/** Packet Header of NetFlow version 9 (RFC 3954 §5.1). FlowSets follow: `flowSets`, `templates`, `dataRecords` of flow-sets.ts. */
export const netflow9 = header('netflow9', 20, {
  version: u16(0),
  /** Of records of all kinds in the message. */
  count: u16(2),
  /** Milliseconds since the device was booted. */
  sysUpTime: u32(4),
  unixSecs: u32(8),
  /** Counts export packets of this Source ID: not flows, as versions 5 and 10 do. */
  sequence: u32(12),
  sourceId: u32(16),
})

export const NETFLOW9_VERSION = 9

/** FlowSet IDs below 256 (RFC 3954 §5). */
export const NETFLOW9_SET = { TEMPLATE: 0, OPTIONS_TEMPLATE: 1 } as const

/** A message to build: what is left out gets the right value, what is given is sent as given. */
export interface Netflow9Spec {
  version?: number
  count?: number
  sysUpTimeMs: number
  unixSeconds: number
  sequence: number
  sourceId: number
  flowSets: readonly FlowSetSpec[]
}

export function buildNetflow9(spec: Netflow9Spec): Uint8Array {
  const sets = joined(spec.flowSets.map(set => writeFlowSet(set, 'netflow9')))
  const bytes = new Uint8Array(netflow9.length + sets.length)
  bytes.set(sets, netflow9.length)
  const { version, count, sysUpTime, unixSecs, sequence, sourceId } = netflow9.fields
  version.set(bytes, 0, spec.version ?? NETFLOW9_VERSION)
  count.set(bytes, 0, spec.count ?? recordCountOf(spec.flowSets))
  sysUpTime.set(bytes, 0, spec.sysUpTimeMs)
  unixSecs.set(bytes, 0, spec.unixSeconds)
  sequence.set(bytes, 0, spec.sequence)
  sourceId.set(bytes, 0, spec.sourceId)
  return bytes
}
