import { execFileSync } from 'node:child_process'
import { buildFrame } from '../../generators/frame.ts'
import { parseIpv4 } from '../../generators/wire/address.ts'
import type { FlowFieldName } from '../../generators/wire/flow-fields.ts'
import { fieldValues } from '../../generators/wire/flow-value.ts'
import { FlowDecoder, type FlowEvent } from '../flow-decoder.ts'
import { readFlowFile } from '../flow-file.ts'
import { PcapWriter } from '../pcap.ts'

export const EXPORTER = parseIpv4('192.168.5.2')
export const COLLECTOR = parseIpv4('192.168.5.1')

/** Messages as UDP datagrams in a capture, one a second. */
export function writeMessages(path: string, messages: readonly Uint8Array[], dstPort = 2055, baseSeconds = 1_700_000_000): void {
  const writer = new PcapWriter(path)
  for (const [i, message] of messages.entries()) {
    const udp = { srcPort: 50000, dstPort }
    const frame = buildFrame({ ipv4: { src: EXPORTER, dst: COLLECTOR, ttl: 64 }, udp, payload: Buffer.from(message).toString('hex') })
    writer.frame(frame, baseSeconds + i, 0)
  }
  writer.close()
}

/** Our fields by tshark's name for them; times it shows as something else. */
const TSHARK: Partial<Record<FlowFieldName, string>> = {
  octetDeltaCount: 'octets',
  packetDeltaCount: 'packets',
  protocolIdentifier: 'protocol',
  ipClassOfService: 'tos',
  tcpControlBits: 'tcpflags',
  sourceTransportPort: 'srcport',
  sourceIPv4Address: 'srcaddr',
  ingressInterface: 'inputint',
  destinationTransportPort: 'dstport',
  destinationIPv4Address: 'dstaddr',
  egressInterface: 'outputint',
  postMCastPacketDeltaCount: 'mulpackets',
  postMCastOctetDeltaCount: 'muloctets',
  sourceIPv6Address: 'srcaddrv6',
  destinationIPv6Address: 'dstaddrv6',
  samplingInterval: 'sampling_interval',
  samplingAlgorithm: 'sampling_algorithm',
  ipVersion: 'ip_version',
  flowDirection: 'direction',
  isMulticast: 'is_multicast',
  multicastReplicationFactor: 'multicast_replication_factor',
  flowEndReason: 'flow_end_reason',
}

export const COMPARED = Object.keys(TSHARK) as FlowFieldName[]

/** Of each frame, each compared field's values in the order of its records. */
export type ByFrame = Map<number, Partial<Record<FlowFieldName, string[]>>>

function run(path: string, args: readonly string[]): string {
  return execFileSync('tshark', ['-n', '-r', path, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 1 << 28 })
}

/** Numbers as decimals: tshark shows some in hex. */
function canonical(text: string): string {
  return text.startsWith('0x') ? String(Number(text)) : text
}

export function tsharkFlows(path: string): ByFrame {
  const names = COMPARED.map(name => `cflow.${TSHARK[name]}`)
  const out = run(path, ['-T', 'fields', '-E', 'occurrence=a', ...['frame.number', ...names].flatMap(name => ['-e', name])])
  const frames: ByFrame = new Map()
  for (const line of out.split('\n').filter(Boolean)) {
    const [number, ...columns] = line.split('\t')
    const values = COMPARED.map((name, i) => [name, (columns[i] || undefined)?.split(',').map(canonical)] as const)
    frames.set(Number(number), Object.fromEntries(values.filter(([, list]) => list !== undefined)))
  }
  return frames
}

/** What tshark finds wrong, a line for each frame. */
export function tsharkTrouble(path: string): string {
  const filter = '_ws.malformed || _ws.expert.severity >= "Warning"'
  return run(path, ['-Y', filter, '-T', 'fields', '-e', 'frame.number', '-e', '_ws.expert.message'])
}

export interface OurFlows {
  frames: ByFrame
  records: number
  events: FlowEvent[]
}

export function ourFlows(path: string, ports?: readonly number[]): OurFlows {
  const found: OurFlows = { frames: new Map(), records: 0, events: [] }
  const decoder = new FlowDecoder({
    record: (record, message) => {
      found.records++
      const frame = found.frames.get(message.frameNumber) ?? {}
      found.frames.set(message.frameNumber, frame)
      const values = fieldValues(record)
      for (const name of COMPARED.filter(one => one in values)) frame[name] = [...(frame[name] ?? []), String(values[name])]
    },
    event: event => found.events.push(event),
  })
  readFlowFile(path, decoder, ports)
  return found
}

