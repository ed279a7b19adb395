import type { FlowFieldName } from '../generators/wire/flow-fields.ts'

/** The document's three parts, `ip multicast netflow output-counters`, and what a cache has besides. */
export interface FlowExportConfig {
  /** Fields that make a flow (`match`) and those that are told of it besides (`collect`). */
  record: { match: readonly RecordField[]; collect: readonly RecordField[] }
  exporter: ExporterSettings & {
    /** IPv4 address and UDP port of the collector, and the address that messages come from. */
    destination: number
    port: number
    source: number
    sourcePort: number
  }
  monitors: readonly FlowMonitor[]
  outputCounters: boolean
  cache: { activeTimeoutMs: number; inactiveTimeoutMs: number; entries: number }
  /** One packet of so many; 1: all. */
  sampling: number
}

export interface ExporterSettings {
  sourceId: number
  templateRefreshMs: number
  templateRefreshMessages: number
  /** Whether options data announce the sampling. */
  options: boolean
  /** What sysUpTime is when the exporter starts. */
  upTimeMs: number
}

export interface FlowMonitor {
  interface: string
  direction: 'input' | 'output'
  /** The keyword: groups alone. */
  multicastOnly: boolean
}

/** What the document calls a field, IANA's name for it, how many octets, and the bit of enum flow_match if it can be a key. */
export const RECORD_FIELDS = {
  'ipv4 source address': { field: 'sourceIPv4Address', bytes: 4, match: 0 },
  'ipv4 destination address': { field: 'destinationIPv4Address', bytes: 4, match: 1 },
  'transport source-port': { field: 'sourceTransportPort', bytes: 2, match: 2 },
  'transport destination-port': { field: 'destinationTransportPort', bytes: 2, match: 3 },
  'ipv4 protocol': { field: 'protocolIdentifier', bytes: 1, match: 4 },
  'ipv4 tos': { field: 'ipClassOfService', bytes: 1, match: 5 },
  'interface input': { field: 'ingressInterface', bytes: 4, match: 6 },
  'interface output': { field: 'egressInterface', bytes: 4, match: 7 },
  'routing is-multicast': { field: 'isMulticast', bytes: 1, match: 8 },
  'flow direction': { field: 'flowDirection', bytes: 1, match: 9 },
  'routing multicast replication-factor': { field: 'multicastReplicationFactor', bytes: 4, match: -1 },
  'counter bytes': { field: 'octetDeltaCount', bytes: 8, match: -1 },
  'counter packets': { field: 'packetDeltaCount', bytes: 8, match: -1 },
  'counter bytes replicated': { field: 'postMCastOctetDeltaCount', bytes: 8, match: -1 },
  'counter packets replicated': { field: 'postMCastPacketDeltaCount', bytes: 8, match: -1 },
  'timestamp sys-uptime first': { field: 'flowStartSysUpTime', bytes: 4, match: -1 },
  'timestamp sys-uptime last': { field: 'flowEndSysUpTime', bytes: 4, match: -1 },
} as const satisfies Record<string, { field: FlowFieldName; bytes: number; match: number }>

export type RecordField = keyof typeof RECORD_FIELDS

const NAMES = Object.keys(RECORD_FIELDS) as RecordField[]

/** MULTICAST-RECORD of the document: what can be a key is one. */
export const DOCUMENT_RECORD: FlowExportConfig['record'] = {
  match: NAMES.filter(name => RECORD_FIELDS[name].match >= 0),
  collect: NAMES.filter(name => RECORD_FIELDS[name].match < 0),
}

export function matchMask({ match }: FlowExportConfig['record']): number {
  return match.reduce((mask, name) => {
    const bit = RECORD_FIELDS[name].match
    return bit < 0 ? mask : mask | (1 << bit)
  }, 0)
}
