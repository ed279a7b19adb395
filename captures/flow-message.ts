import { readU16 } from '../generators/wire/field.ts'
import { IPFIX_VERSION, ipfix } from '../generators/wire/ipfix.ts'
import { NETFLOW5_VERSION, netflow5 } from '../generators/wire/netflow5.ts'
import { NETFLOW9_VERSION, netflow9 } from '../generators/wire/netflow9.ts'

/** Where a message came from and when: what its bytes do not say. */
export interface FlowOrigin {
  /** Of the IP packet; IPv6 as a bigint. */
  exporter: number | bigint
  srcPort: number
  /** CLOCK_REALTIME of its arrival. */
  receivedNs: bigint
  /** Of the frame in its capture, from 1; 0 when there is none. */
  frameNumber: number
}

/** How a message stands in the sequence of its stream. */
export type Arrival = 'first' | 'next' | 'after-gap' | 'late' | 'duplicate' | 'restart'

/** The header of a message of any of the three versions. */
export interface FlowMessage extends FlowOrigin {
  version: 5 | 9 | 10
  /** v9 Source ID, IPFIX Observation Domain ID, v5 engine type and ID. */
  sourceId: number
  sequence: number
  /** v5 and v9: records that the header counts. */
  count: number | undefined
  /** Milliseconds since boot; IPFIX has none. */
  sysUpTimeMs: number | undefined
  /** IPFIX: when the exporter was booted, as its last options record of field 160 says. */
  systemInitMs: number | undefined
  /** When it left, by the exporter's clock; only v5 has fractions of a second. */
  exportedMs: number
  /** v5: one of so many packets; 0 when it does not say. */
  samplingInterval: number
  arrival: Arrival
  /** Of the message in `bytes` of its records. */
  at: number
  end: number
}

const HEADER_BYTES = { 5: netflow5.length, 9: netflow9.length, 10: ipfix.length } as const

/** The header at `at`, or why there is none. */
export function readFlowMessage(bytes: Uint8Array, at: number, end: number, origin: FlowOrigin): FlowMessage | string {
  if (at + 2 > end) return 'no room for a version'
  const version = readU16(bytes, at)
  if (version !== 5 && version !== 9 && version !== 10) return `version ${version} is none of 5, 9 and 10`
  if (at + HEADER_BYTES[version] > end) return `header of version ${version} cut short`
  const message = READERS[version](bytes, at, end, origin)
  if (message.end < at + HEADER_BYTES[version]) return `message length ${message.end - at} is less than its header`
  return message
}

/** Octets of the datagram that the message does not account for, or lacks; IPFIX alone says its length. */
export function lengthTrouble(message: FlowMessage, bytes: Uint8Array, end: number): string | undefined {
  if (message.version !== IPFIX_VERSION) return undefined
  const length = ipfix.fields.length.get(bytes, message.at)
  const there = end - message.at
  return length === there ? undefined : `message length ${length}, and ${there} octets are there`
}

type Reader = (bytes: Uint8Array, at: number, end: number, origin: FlowOrigin) => FlowMessage

// Every field in one literal: spreading header and origin together costs ten times as much as reading them.
const READERS: Record<5 | 9 | 10, Reader> = {
  [NETFLOW5_VERSION]: (bytes, at, end, { exporter, srcPort, receivedNs, frameNumber }) => ({
    exporter,
    srcPort,
    receivedNs,
    frameNumber,
    version: 5,
    sourceId: readU16(bytes, at + netflow5.fields.engineType.offset),
    sequence: netflow5.fields.flowSequence.get(bytes, at),
    count: netflow5.fields.count.get(bytes, at),
    sysUpTimeMs: netflow5.fields.sysUpTime.get(bytes, at),
    systemInitMs: undefined,
    exportedMs:
      netflow5.fields.unixSecs.get(bytes, at) * 1000 + Math.floor(netflow5.fields.unixNsecs.get(bytes, at) / 1e6),
    samplingInterval: netflow5.fields.samplingInterval.get(bytes, at),
    arrival: 'first',
    at,
    end,
  }),
  [NETFLOW9_VERSION]: (bytes, at, end, { exporter, srcPort, receivedNs, frameNumber }) => ({
    exporter,
    srcPort,
    receivedNs,
    frameNumber,
    version: 9,
    sourceId: netflow9.fields.sourceId.get(bytes, at),
    sequence: netflow9.fields.sequence.get(bytes, at),
    count: netflow9.fields.count.get(bytes, at),
    sysUpTimeMs: netflow9.fields.sysUpTime.get(bytes, at),
    systemInitMs: undefined,
    exportedMs: netflow9.fields.unixSecs.get(bytes, at) * 1000,
    samplingInterval: 0,
    arrival: 'first',
    at,
    end,
  }),
  [IPFIX_VERSION]: (bytes, at, end, { exporter, srcPort, receivedNs, frameNumber }) => ({
    exporter,
    srcPort,
    receivedNs,
    frameNumber,
    version: 10,
    sourceId: ipfix.fields.observationDomainId.get(bytes, at),
    sequence: ipfix.fields.sequence.get(bytes, at),
    count: undefined,
    sysUpTimeMs: undefined,
    systemInitMs: undefined,
    exportedMs: ipfix.fields.exportTime.get(bytes, at) * 1000,
    samplingInterval: 0,
    arrival: 'first',
    at,
    end: Math.min(end, at + ipfix.fields.length.get(bytes, at)),
  }),
}
