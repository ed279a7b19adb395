import { FLOW_FIELD, type FlowFieldName } from '../generators/wire/flow-fields.ts'
import type { DataRecord } from '../generators/wire/flow-sets.ts'
import type { FlowTemplate } from '../generators/wire/flow-template.ts'
import { numberOf, unsignedOf } from '../generators/wire/flow-value.ts'
import type { FlowMessage } from './flow-message.ts'

/** An address of either family: IPv4 a number, IPv6 a bigint. */
export type FlowAddress = number | bigint

/** What accounting of multicast asks of a Flow Data Record; a field that the template lacks is undefined, never 0. */
export interface FlowRecord {
  version: 5 | 9 | 10
  exporter: FlowAddress
  sourceId: number
  templateId: number
  src: FlowAddress | undefined
  dst: FlowAddress | undefined
  srcPort: number | undefined
  dstPort: number | undefined
  protocol: number | undefined
  tos: number | undefined
  input: number | undefined
  output: number | undefined
  /** Field 206 as it is: 0x01 is IPv4 multicast. */
  isMulticast: number | undefined
  /** Field 61: 0 ingress, 1 egress. */
  direction: number | undefined
  replicationFactor: number | undefined
  bytes: bigint | undefined
  packets: bigint | undefined
  replicatedBytes: bigint | undefined
  replicatedPackets: bigint | undefined
  /** Since 1970, by the exporter's clock. */
  firstMs: number | undefined
  lastMs: number | undefined
  /** Where it stands: frame of the capture, octets from the start of the message. */
  frameNumber: number
  offset: number
}

/** Whether a record tells about traffic, and not about the exporter (RFC 3954 §6.1). */
export function isFlow(record: DataRecord): boolean {
  return record.template.scopeFieldCount === 0
}

export function readFlowRecord(record: DataRecord, message: FlowMessage): FlowRecord {
  const column = columnsOf(record.template)
  return {
    version: message.version,
    exporter: message.exporter,
    sourceId: message.sourceId,
    templateId: record.template.id,
    src: column.src >= 0 ? numberOf(record, column.src) : unsigned(record, column.src6),
    dst: column.dst >= 0 ? numberOf(record, column.dst) : unsigned(record, column.dst6),
    srcPort: number(record, column.srcPort),
    dstPort: number(record, column.dstPort),
    protocol: number(record, column.protocol),
    tos: number(record, column.tos),
    input: number(record, column.input),
    output: number(record, column.output),
    isMulticast: number(record, column.isMulticast),
    direction: number(record, column.direction),
    replicationFactor: number(record, column.replicationFactor),
    bytes: unsigned(record, column.bytes),
    packets: unsigned(record, column.packets),
    replicatedBytes: unsigned(record, column.replicatedBytes),
    replicatedPackets: unsigned(record, column.replicatedPackets),
    firstMs: timeMs(record, message, column.first),
    lastMs: timeMs(record, message, column.last),
    frameNumber: message.frameNumber,
    offset: record.at - message.at,
  }
}

// Functions of their own, no closures: one made for each record costs as much as reading its fields.

function number(record: DataRecord, index: number): number | undefined {
  return index < 0 ? undefined : numberOf(record, index)
}

function unsigned(record: DataRecord, index: number): bigint | undefined {
  return index < 0 ? undefined : unsignedOf(record, index)
}

/** A time stamp field that a template has, and how it counts. */
interface TimeColumn {
  index: number
  kind: 'sysUpTime' | 'seconds' | 'milliseconds' | 'ntp'
}

interface Columns extends Record<keyof typeof FIELDS, number> {
  first: TimeColumn | undefined
  last: TimeColumn | undefined
}

const FIELDS = {
  src: 'sourceIPv4Address',
  dst: 'destinationIPv4Address',
  src6: 'sourceIPv6Address',
  dst6: 'destinationIPv6Address',
  srcPort: 'sourceTransportPort',
  dstPort: 'destinationTransportPort',
  protocol: 'protocolIdentifier',
  tos: 'ipClassOfService',
  input: 'ingressInterface',
  output: 'egressInterface',
  isMulticast: 'isMulticast',
  direction: 'flowDirection',
  replicationFactor: 'multicastReplicationFactor',
  bytes: 'octetDeltaCount',
  packets: 'packetDeltaCount',
  replicatedBytes: 'postMCastOctetDeltaCount',
  replicatedPackets: 'postMCastPacketDeltaCount',
} as const satisfies Record<string, FlowFieldName>

const TIMES: readonly [TimeColumn['kind'], first: FlowFieldName, last: FlowFieldName][] = [
  ['sysUpTime', 'flowStartSysUpTime', 'flowEndSysUpTime'],
  ['milliseconds', 'flowStartMilliseconds', 'flowEndMilliseconds'],
  ['seconds', 'flowStartSeconds', 'flowEndSeconds'],
  ['ntp', 'flowStartMicroseconds', 'flowEndMicroseconds'],
  ['ntp', 'flowStartNanoseconds', 'flowEndNanoseconds'],
]

const known = new WeakMap<FlowTemplate, Columns>()

/** Worked out once for each template. */
function columnsOf(template: FlowTemplate): Columns {
  const columns = known.get(template) ?? findColumns(template)
  known.set(template, columns)
  return columns
}

function findColumns(template: FlowTemplate): Columns {
  const index = (name: FlowFieldName) => template.indexOf.get(FLOW_FIELD[name]) ?? -1
  const numbers = Object.fromEntries(Object.entries(FIELDS).map(([key, name]) => [key, index(name)]))
  const time = (side: 1 | 2) =>
    TIMES.map(row => ({ kind: row[0], index: index(row[side]) })).find(one => one.index >= 0)
  return { ...(numbers as Record<keyof typeof FIELDS, number>), first: time(1), last: time(2) }
}

const NTP_TO_UNIX_SECONDS = 2_208_988_800

/** A sysUpTime is modulo 2^32 ms: it may have wrapped since, or stand a little after the header's. */
function timeMs(record: DataRecord, message: FlowMessage, column: TimeColumn | undefined): number | undefined {
  if (!column) return undefined
  if (column.kind === 'ntp') return ntpMs(unsignedOf(record, column.index))
  const value = numberOf(record, column.index)
  if (column.kind === 'seconds') return value * 1000
  if (column.kind === 'milliseconds') return value
  const uptimeMs = uptimeOf(message)
  return uptimeMs === undefined ? undefined : message.exportedMs - ((uptimeMs - value) | 0)
}

/** IPFIX has no sysUpTime in its header, and some exporters send fields in its terms all the same. */
function uptimeOf({ sysUpTimeMs, systemInitMs, exportedMs }: FlowMessage): number | undefined {
  return sysUpTimeMs ?? (systemInitMs === undefined ? undefined : exportedMs - systemInitMs)
}

function ntpMs(value: bigint): number {
  return (Number(value >> 32n) - NTP_TO_UNIX_SECONDS) * 1000 + Number(((value & 0xffff_ffffn) * 1000n) >> 32n)
}
