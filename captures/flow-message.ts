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
  /** When it left, by the exporter's clock. */
  exportedNs: bigint
  /** v5: one of so many packets; 0 when it does not say. */
  samplingInterval: number
  arrival: Arrival
  /** Of the message in `bytes` of its records. */
  at: number
  end: number
}

const HEADER_BYTES = { 5: netflow5.length, 9: netflow9.length, 10: ipfix.length } as const
const SECOND_NS = 1_000_000_000n

/** The header at `at`, or why there is none. */
export function readFlowMessage(bytes: Uint8Array, at: number, end: number, origin: FlowOrigin): FlowMessage | string {
  if (at + 2 > end) return 'no room for a version'
  const version = readU16(bytes, at)
  if (version !== 5 && version !== 9 && version !== 10) return `version ${version} is none of 5, 9 and 10`
  if (at + HEADER_BYTES[version] > end) return `header of version ${version} cut short`
  const message = READERS[version](bytes, at)
  const stop = version === IPFIX_VERSION ? at + ipfix.fields.length.get(bytes, at) : end
  if (stop < at + ipfix.length) return `message length ${stop - at} is less than the 16 octets of its header`
  return { ...origin, ...message, arrival: 'first', at, end: Math.min(stop, end) }
}

/** Octets of the datagram that the message does not account for, or lacks; IPFIX alone says its length. */
export function lengthTrouble(message: FlowMessage, bytes: Uint8Array, end: number): string | undefined {
  if (message.version !== IPFIX_VERSION) return undefined
  const length = ipfix.fields.length.get(bytes, message.at)
  const there = end - message.at
  return length === there ? undefined : `message length ${length}, and ${there} octets are there`
}

type HeaderPart = Omit<FlowMessage, keyof FlowOrigin | 'arrival' | 'at' | 'end'>

const READERS: Record<5 | 9 | 10, (bytes: Uint8Array, at: number) => HeaderPart> = {
  [NETFLOW5_VERSION]: (bytes, at) => {
    const { count, sysUpTime, unixSecs, unixNsecs, flowSequence, engineType, samplingInterval } = netflow5.fields
    return {
      version: 5,
      sourceId: readU16(bytes, at + engineType.offset),
      sequence: flowSequence.get(bytes, at),
      count: count.get(bytes, at),
      sysUpTimeMs: sysUpTime.get(bytes, at),
      exportedNs: BigInt(unixSecs.get(bytes, at)) * SECOND_NS + BigInt(unixNsecs.get(bytes, at)),
      samplingInterval: samplingInterval.get(bytes, at),
    }
  },
  [NETFLOW9_VERSION]: (bytes, at) => {
    const { count, sysUpTime, unixSecs, sequence, sourceId } = netflow9.fields
    return {
      version: 9,
      sourceId: sourceId.get(bytes, at),
      sequence: sequence.get(bytes, at),
      count: count.get(bytes, at),
      sysUpTimeMs: sysUpTime.get(bytes, at),
      exportedNs: BigInt(unixSecs.get(bytes, at)) * SECOND_NS,
      samplingInterval: 0,
    }
  },
  [IPFIX_VERSION]: (bytes, at) => ({
    version: 10,
    sourceId: ipfix.fields.observationDomainId.get(bytes, at),
    sequence: ipfix.fields.sequence.get(bytes, at),
    count: undefined,
    sysUpTimeMs: undefined,
    exportedNs: BigInt(ipfix.fields.exportTime.get(bytes, at)) * SECOND_NS,
    samplingInterval: 0,
  }),
}
