import { DIRECTION } from '../../captures/record.ts'
import { IP_PROTOCOL, ipv4, ipv4HeaderLength } from '../../generators/wire/ipv4.ts'
import { udp } from '../../generators/wire/udp.ts'
import type { NodeSite, Seen } from './check.ts'
import { innerIpAt } from './inner.ts'

/** What makes a flow on the wire. Fragments after the first have no ports: theirs are 0. */
export interface FlowIdentity {
  src: number
  dst: number
  srcPort: number
  dstPort: number
  protocol: number
  tos: number
}

/** What passed one interface in one direction; octets are of IP packets. */
export interface Passed {
  packets: number
  bytes: number
  firstNs: number
  lastNs: number
}

/** A flow as the taps at a router's interfaces saw it: the truth that records are held against. */
export interface WireFlow extends FlowIdentity {
  in: Map<string, Passed>
  out: Map<string, Passed>
  /** Times, ascending, for telling which copies are whose. */
  arrivals: Map<string, number[]>
  departures: number[]
}

interface Packet extends FlowIdentity {
  interface: string
  direction: number
  timeNs: number
  bytes: number
}

const known = new WeakMap<Seen['recording'], Map<string, Packet[]>>()

/** Flows to these destinations, or to all, at the node's interfaces, in a time. */
export function wireFlows(
  seen: Seen,
  node: NodeSite,
  destinations: ReadonlySet<number> | 'all',
  time: { fromNs: number; toNs: number },
): WireFlow[] {
  const flows = new Map<string, WireFlow>()
  for (const packet of packetsAt(seen, node)) {
    if (destinations !== 'all' && !destinations.has(packet.dst)) continue
    if (packet.timeNs < time.fromNs || packet.timeNs > time.toNs) continue
    const id = identityText(packet)
    const flow = flows.get(id) ?? newFlow(packet)
    flows.set(id, flow)
    count(flow, packet)
  }
  return [...flows.values()]
}

export function identityText({ src, dst, srcPort, dstPort, protocol, tos }: FlowIdentity): string {
  return [src, dst, srcPort, dstPort, protocol, tos].join(' ')
}

function newFlow({ src, dst, srcPort, dstPort, protocol, tos }: FlowIdentity): WireFlow {
  const identity = { src, dst, srcPort, dstPort, protocol, tos }
  return { ...identity, in: new Map(), out: new Map(), arrivals: new Map(), departures: [] }
}

function count(flow: WireFlow, packet: Packet): void {
  const isIn = packet.direction === DIRECTION.in
  const side = isIn ? flow.in : flow.out
  const passed = side.get(packet.interface) ?? { packets: 0, bytes: 0, firstNs: packet.timeNs, lastNs: 0 }
  passed.packets++
  passed.bytes += packet.bytes
  passed.lastNs = packet.timeNs
  side.set(packet.interface, passed)
  if (!isIn) flow.departures.push(packet.timeNs)
  else flow.arrivals.set(packet.interface, [...(flow.arrivals.get(packet.interface) ?? []), packet.timeNs])
}

/** Every IPv4 packet at the node's interfaces in the order of time; one pass over the bytes for a stage. */
function packetsAt(seen: Seen, node: NodeSite): Packet[] {
  const { recording } = seen
  const byNode = known.get(recording) ?? new Map<string, Packet[]>()
  known.set(recording, byNode)
  const found = byNode.get(node.name)
  if (found) return found
  const names = new Map((node.interfaceTaps ?? []).map(tap => [seen.tapIndex(tap), tap.slice(node.name.length + 1)]))
  const packets: Packet[] = []
  for (let i = 0; i < recording.count; i++) {
    const name = names.get(recording.tap(i))
    const packet = name === undefined ? undefined : packetOf(seen, i, name)
    if (packet) packets.push(packet)
  }
  packets.sort((a, b) => a.timeNs - b.timeNs)
  byNode.set(node.name, packets)
  return packets
}

function packetOf({ recording }: Seen, i: number, name: string): Packet | undefined {
  const frame = recording.bytes(i)
  const at = innerIpAt(frame, 0)
  if (at < 0) return undefined
  const { fields } = ipv4
  const portsAt = at + ipv4HeaderLength(frame, at)
  const protocol = fields.protocol.get(frame, at)
  const isLaterFragment = fields.fragmentOffset.get(frame, at) > 0
  const hasPorts = !isLaterFragment && (protocol === IP_PROTOCOL.UDP || protocol === IP_PROTOCOL.TCP)
  return {
    src: fields.src.get(frame, at),
    dst: fields.dst.get(frame, at),
    srcPort: hasPorts ? udp.fields.srcPort.get(frame, portsAt) : 0,
    dstPort: hasPorts ? udp.fields.dstPort.get(frame, portsAt) : 0,
    protocol,
    tos: fields.tos.get(frame, at),
    interface: name,
    direction: recording.direction(i),
    timeNs: recording.timeNs(i),
    bytes: fields.totalLength.get(frame, at),
  }
}

/** Fewest and most copies of one packet that came in at the interface in the time; the kernel makes them before the next. */
export function copiesPerPacket(
  flow: WireFlow,
  input: string,
  time: { fromNs: number; toNs: number },
): { fewest: number; most: number } {
  const arrivals = flow.arrivals.get(input) ?? []
  let fewest = Number.POSITIVE_INFINITY
  let most = 0
  let departure = 0
  for (const [i, arrivalNs] of arrivals.entries()) {
    const nextNs = arrivals[i + 1] ?? Number.POSITIVE_INFINITY
    while ((flow.departures[departure] ?? Number.POSITIVE_INFINITY) < arrivalNs) departure++
    const start = departure
    while ((flow.departures[departure] ?? Number.POSITIVE_INFINITY) < nextNs) departure++
    if (arrivalNs < time.fromNs || arrivalNs > time.toNs) continue
    fewest = Math.min(fewest, departure - start)
    most = Math.max(most, departure - start)
  }
  return { fewest: Number.isFinite(fewest) ? fewest : 0, most }
}
