import { bitsOfU16, header, type Malformed, u8, u16, u32 } from './field.ts'
import type { DataRecordWalk } from './flow-sets.ts'
import { flowTemplate } from './flow-template.ts'
import { type FlowValues, writeRecord } from './flow-write.ts'

/** Header of NetFlow version 5, as Cisco documented it; no RFC has it. */
export const netflow5 = header('netflow5', 24, {
  version: u16(0),
  count: u16(2),
  sysUpTime: u32(4),
  unixSecs: u32(8),
  unixNsecs: u32(12),
  /** Flows exported before this message. */
  flowSequence: u32(16),
  engineType: u8(20),
  engineId: u8(21),
  samplingMode: bitsOfU16(22, 14, 2),
  samplingInterval: bitsOfU16(22, 0, 14),
})

export const NETFLOW5_VERSION = 5

/** The one record that version 5 has, as a template: whoever reads v9 reads v5. */
export const netflow5Template = flowTemplate(0, [
  ...(['sourceIPv4Address', 'destinationIPv4Address', 'ipNextHopIPv4Address'] as const),
  ...([
    ['ingressInterface', 2],
    ['egressInterface', 2],
  ] as const),
  ...([
    ['packetDeltaCount', 4],
    ['octetDeltaCount', 4],
  ] as const),
  ...(['flowStartSysUpTime', 'flowEndSysUpTime', 'sourceTransportPort', 'destinationTransportPort'] as const),
  ...([
    ['paddingOctets', 1],
    ['tcpControlBits', 1],
  ] as const),
  ...(['protocolIdentifier', 'ipClassOfService'] as const),
  ...([
    ['bgpSourceAsNumber', 2],
    ['bgpDestinationAsNumber', 2],
  ] as const),
  ...(['sourceIPv4PrefixLength', 'destinationIPv4PrefixLength'] as const),
  ['paddingOctets', 2],
])

/** Records of the message at `at`: as many as its count says and its length holds. */
export function netflow5Records(bytes: Uint8Array, at: number, end: number): DataRecordWalk {
  const { recordBytes, offsets, lengths } = netflow5Template
  const stop = Math.min(end, bytes.length)
  const count = netflow5.fields.count.get(bytes, at)
  let seen = 0
  const walk: DataRecordWalk = {
    bytes,
    template: netflow5Template,
    at: at + netflow5.length,
    end: at + netflow5.length,
    offsets,
    lengths,
    malformed: undefined,
    paddingBytes: 0,
    next() {
      if (walk.malformed) return false
      walk.malformed = trouble(walk.end, stop, seen, count)
      if (walk.malformed || seen === count) return false
      seen++
      walk.at = walk.end
      walk.end = walk.at + recordBytes
      return true
    },
  }
  return walk
}

function trouble(at: number, stop: number, seen: number, count: number): Malformed | undefined {
  if (seen === count)
    return at === stop ? undefined : { at, why: `${stop - at} octets behind the ${count} records counted` }
  const isThere = at + netflow5Template.recordBytes <= stop
  return isThere ? undefined : { at, why: `record ${seen + 1} of ${count} is not there` }
}

/** A message to build: what is left out gets the right value, what is given is sent as given. */
export interface Netflow5Spec {
  version?: number
  count?: number
  sysUpTimeMs: number
  unixSeconds: number
  unixNanoseconds?: number
  flowSequence: number
  engineType?: number
  engineId?: number
  samplingMode?: number
  samplingInterval?: number
  records: readonly FlowValues[]
}

export function buildNetflow5(spec: Netflow5Spec): Uint8Array {
  const bytes = new Uint8Array(netflow5.length + spec.records.length * netflow5Template.recordBytes)
  const fields = netflow5.fields
  fields.version.set(bytes, 0, spec.version ?? NETFLOW5_VERSION)
  fields.count.set(bytes, 0, spec.count ?? spec.records.length)
  fields.sysUpTime.set(bytes, 0, spec.sysUpTimeMs)
  fields.unixSecs.set(bytes, 0, spec.unixSeconds)
  fields.unixNsecs.set(bytes, 0, spec.unixNanoseconds ?? 0)
  fields.flowSequence.set(bytes, 0, spec.flowSequence)
  fields.engineType.set(bytes, 0, spec.engineType ?? 0)
  fields.engineId.set(bytes, 0, spec.engineId ?? 0)
  fields.samplingMode.set(bytes, 0, spec.samplingMode ?? 0)
  fields.samplingInterval.set(bytes, 0, spec.samplingInterval ?? 0)
  for (const [i, values] of spec.records.entries())
    bytes.set(writeRecord(netflow5Template, values), netflow5.length + i * netflow5Template.recordBytes)
  return bytes
}
