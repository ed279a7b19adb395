import { header, u16, u32 } from './field.ts'
import { type FlowSetSpec, joined, writeFlowSet } from './flow-write.ts'

/** Message Header of IPFIX, which calls itself version 10 (RFC 7011 §3.1). Sets follow: see flow-sets.ts. */
export const ipfix = header('ipfix', 16, {
  version: u16(0),
  /** Of the whole message, in octets. */
  length: u16(2),
  /** Seconds since 1970. */
  exportTime: u32(4),
  /** Data Records sent before this message in this Observation Domain. */
  sequence: u32(8),
  observationDomainId: u32(12),
})

export const IPFIX_VERSION = 10

/** Set IDs below 256 (RFC 7011 §3.3.2). */
export const IPFIX_SET = { TEMPLATE: 2, OPTIONS_TEMPLATE: 3 } as const

/** A message to build: what is left out gets the right value, what is given is sent as given. */
export interface IpfixSpec {
  version?: number
  length?: number
  exportSeconds: number
  sequence: number
  observationDomainId: number
  sets: readonly FlowSetSpec[]
}

export function buildIpfix(spec: IpfixSpec): Uint8Array {
  const sets = joined(spec.sets.map(set => writeFlowSet(set, 'ipfix')))
  const bytes = new Uint8Array(ipfix.length + sets.length)
  bytes.set(sets, ipfix.length)
  const { version, length, exportTime, sequence, observationDomainId } = ipfix.fields
  version.set(bytes, 0, spec.version ?? IPFIX_VERSION)
  length.set(bytes, 0, spec.length ?? bytes.length)
  exportTime.set(bytes, 0, spec.exportSeconds)
  sequence.set(bytes, 0, spec.sequence)
  observationDomainId.set(bytes, 0, spec.observationDomainId)
  return bytes
}
