import { arp } from '../generators/wire/arp.ts'
import { ETHER_TYPE, ethernet, isVlanType, vlan } from '../generators/wire/ethernet.ts'
import type { Malformed } from '../generators/wire/field.ts'
import { IP_PROTOCOL, ipv4, ipv4HeaderLength } from '../generators/wire/ipv4.ts'
import { isStamp } from '../generators/wire/stamp.ts'
import { udp } from '../generators/wire/udp.ts'
import { VXLAN_PORT, VXLAN_PORT_LINUX, vxlan } from '../generators/wire/vxlan.ts'

/** What a layer is. From `payload` on nothing follows inside: those are leaves. */
export const PROTOCOL = {
  ethernet: 0,
  vlan: 1,
  ipv4: 2,
  udp: 3,
  vxlan: 4,
  /** Bytes that nothing here knows. */
  payload: 5,
  stamp: 6,
  arp: 7,
  ipv6: 8,
  icmp: 9,
  igmp: 10,
  tcp: 11,
  esp: 12,
  /** The bytes of an IPv4 packet whose Fragment Offset is not 0. */
  fragment: 13,
} as const

export type Protocol = (typeof PROTOCOL)[keyof typeof PROTOCOL]

export const PROTOCOL_NAMES: readonly string[] = Object.keys(PROTOCOL)

/**
 * The layers of one frame from the outside in: a list that `dissect` fills anew, so hold no reference across calls. With
 * `malformed` set, the layers before it are right and the walk ended there.
 */
export class Dissection {
  count = 0
  /** VXLAN headers on the way. */
  levels = 0
  /** Offset of the innermost Ethernet header. */
  innerAt = 0
  malformed: Malformed | undefined = undefined
  readonly #protocols: Protocol[] = []
  readonly #offsets: number[] = []
  readonly #ends: number[] = []

  protocol(i: number): Protocol | undefined {
    return i < this.count ? this.#protocols[i] : undefined
  }

  at(i: number): number {
    return this.#offsets[i] ?? 0
  }

  /** Where the bytes that belong to this layer end: padding and other layers' bytes lie behind. */
  end(i: number): number {
    return this.#ends[i] ?? 0
  }

  /** Index of the innermost layer of this protocol, or -1. */
  find(protocol: Protocol): number {
    for (let i = this.count - 1; i >= 0; i--) if (this.#protocols[i] === protocol) return i
    return -1
  }

  /** For `dissect` only. */
  reset(): void {
    this.count = 0
    this.levels = 0
    this.innerAt = 0
    this.malformed = undefined
  }

  /** For `dissect` only. */
  push(protocol: Protocol, at: number, end: number): void {
    this.#protocols[this.count] = protocol
    this.#offsets[this.count] = at
    this.#ends[this.count] = end
    this.count++
  }
}

export const VXLAN_PORTS: readonly number[] = [VXLAN_PORT, VXLAN_PORT_LINUX]

/** One entry for each UDP port, 1 where VXLAN is looked for: a lookup, not a search, for each frame. */
export function portTable(ports: readonly number[]): Uint8Array {
  const table = new Uint8Array(0x10000)
  for (const port of ports) table[port] = 1
  return table
}

const DEFAULT_PORTS = portTable(VXLAN_PORTS)

/** Where the walk is: what comes next, and how far the enclosing layers let it reach. */
interface Walk {
  bytes: Uint8Array
  next: Protocol | undefined
  at: number
  end: number
  /** The rest was cut off by the snap length or lies in other fragments: lengths may point past the end. */
  partial: boolean
  vxlanPorts: Uint8Array
  into: Dissection
}

type Step = (walk: Walk) => string | undefined

// One object for all calls: dissecting allocates nothing and never re-enters.
const shared: Walk = {
  bytes: new Uint8Array(0),
  next: undefined,
  at: 0,
  end: 0,
  partial: false,
  vxlanPorts: DEFAULT_PORTS,
  into: new Dissection(),
}

/**
 * Fills `into` with the layers of the Ethernet frame in `bytes[at] … bytes[end - 1]`, through any number of VXLAN levels (RFC 7348
 * §5). Never throws on any bytes and always ends: every step moves forward. `originalLength` tells a frame that was cut by the
 * capture from one whose lengths are wrong.
 */
export function dissect(
  bytes: Uint8Array,
  at: number,
  end: number,
  into: Dissection,
  originalLength = end - at,
  vxlanPorts = DEFAULT_PORTS,
): Dissection {
  into.reset()
  const walk = shared
  walk.bytes = bytes
  walk.at = at
  walk.end = Math.min(end, bytes.length)
  walk.next = PROTOCOL.ethernet
  walk.partial = originalLength > walk.end - at
  walk.vxlanPorts = vxlanPorts
  walk.into = into
  while (walk.next !== undefined) step(walk)
  return into
}

function step(walk: Walk): void {
  const protocol = walk.next as Protocol
  const { at } = walk
  const why = walk.at > walk.end ? 'nothing left' : (STEPS[protocol] as Step)(walk)
  if (why === undefined) return
  walk.into.malformed = { at, why: `${PROTOCOL_NAMES[protocol]}: ${why}` }
  walk.next = undefined
}

function enter(walk: Walk, protocol: Protocol, end: number): void {
  walk.into.push(protocol, walk.at, end)
}

function follow(walk: Walk, next: Protocol, at: number): undefined {
  walk.next = next
  walk.at = at
}

function dissectEthernet(walk: Walk): string | undefined {
  if (walk.at + ethernet.length > walk.end) return TRUNCATED
  enter(walk, PROTOCOL.ethernet, walk.end)
  walk.into.innerAt = walk.at
  return follow(walk, byEtherType(ethernet.fields.etherType.get(walk.bytes, walk.at)), walk.at + ethernet.length)
}

function dissectVlan(walk: Walk): string | undefined {
  if (walk.at + vlan.length > walk.end) return TRUNCATED
  enter(walk, PROTOCOL.vlan, walk.end)
  return follow(walk, byEtherType(vlan.fields.etherType.get(walk.bytes, walk.at)), walk.at + vlan.length)
}

function byEtherType(etherType: number): Protocol {
  if (etherType === ETHER_TYPE.IPV4) return PROTOCOL.ipv4
  if (etherType === ETHER_TYPE.ARP) return PROTOCOL.arp
  if (etherType === ETHER_TYPE.IPV6) return PROTOCOL.ipv6
  return isVlanType(etherType) ? PROTOCOL.vlan : PROTOCOL.payload
}

/** Total Length ends the packet, since Ethernet pads (RFC 791 §3.1). */
function dissectIpv4(walk: Walk): string | undefined {
  const { bytes, at } = walk
  if (at + ipv4.length > walk.end) return TRUNCATED
  if (ipv4.fields.version.get(bytes, at) !== 4) return 'version is not 4'
  const headerLength = ipv4HeaderLength(bytes, at)
  if (headerLength < ipv4.length) return 'IHL below 5'
  const totalLength = ipv4.fields.totalLength.get(bytes, at)
  if (totalLength < headerLength) return 'Total Length shorter than the header'
  if (at + headerLength > walk.end) return TRUNCATED
  if (at + totalLength > walk.end && !walk.partial) return 'Total Length past the end of the frame'
  walk.end = Math.min(walk.end, at + totalLength)
  enter(walk, PROTOCOL.ipv4, walk.end)
  if (ipv4.fields.fragmentOffset.get(bytes, at) > 0) return follow(walk, PROTOCOL.fragment, at + headerLength)
  if (ipv4.fields.flags.get(bytes, at) & 1) walk.partial = true
  return follow(walk, byIpProtocol(ipv4.fields.protocol.get(bytes, at)), at + headerLength)
}

function byIpProtocol(protocol: number): Protocol {
  if (protocol === IP_PROTOCOL.UDP) return PROTOCOL.udp
  if (protocol === IP_PROTOCOL.IGMP) return PROTOCOL.igmp
  if (protocol === IP_PROTOCOL.ICMP) return PROTOCOL.icmp
  if (protocol === IP_PROTOCOL.ESP) return PROTOCOL.esp
  return protocol === IP_PROTOCOL.TCP ? PROTOCOL.tcp : PROTOCOL.payload
}

function dissectUdp(walk: Walk): string | undefined {
  const { bytes, at } = walk
  if (at + udp.length > walk.end) return TRUNCATED
  const length = udp.fields.length.get(bytes, at)
  if (length < udp.length) return 'length below 8'
  if (at + length > walk.end && !walk.partial) return 'length past the end of the packet'
  walk.end = Math.min(walk.end, at + length)
  enter(walk, PROTOCOL.udp, walk.end)
  return follow(walk, inUdp(walk, udp.fields.dstPort.get(bytes, at)), at + udp.length)
}

/** The stamp first: it may go to any port, and no VXLAN header looks like one. */
function inUdp(walk: Walk, dstPort: number): Protocol {
  if (isStamp(walk.bytes, walk.at + udp.length, walk.end)) return PROTOCOL.stamp
  return walk.vxlanPorts[dstPort] === 1 ? PROTOCOL.vxlan : PROTOCOL.payload
}

/** Whatever its flags: a receiver must drop it without the I flag (RFC 7348 §5), a tester must see what was in it. */
function dissectVxlan(walk: Walk): string | undefined {
  if (walk.at + vxlan.length > walk.end) return TRUNCATED
  enter(walk, PROTOCOL.vxlan, walk.end)
  walk.into.levels++
  return follow(walk, PROTOCOL.ethernet, walk.at + vxlan.length)
}

/** A leaf whose header is at least this long. */
function leaf(protocol: Protocol, minimumLength: number): Step {
  return walk => {
    if (walk.at + minimumLength > walk.end) return TRUNCATED
    enter(walk, protocol, walk.end)
    walk.next = undefined
    return undefined
  }
}

const TRUNCATED = 'cut short'

const STEPS: Readonly<Record<Protocol, Step>> = {
  [PROTOCOL.ethernet]: dissectEthernet,
  [PROTOCOL.vlan]: dissectVlan,
  [PROTOCOL.ipv4]: dissectIpv4,
  [PROTOCOL.udp]: dissectUdp,
  [PROTOCOL.vxlan]: dissectVxlan,
  [PROTOCOL.payload]: leaf(PROTOCOL.payload, 0),
  [PROTOCOL.stamp]: leaf(PROTOCOL.stamp, 18),
  [PROTOCOL.arp]: leaf(PROTOCOL.arp, arp.length),
  [PROTOCOL.ipv6]: leaf(PROTOCOL.ipv6, 40),
  [PROTOCOL.icmp]: leaf(PROTOCOL.icmp, 4),
  [PROTOCOL.igmp]: leaf(PROTOCOL.igmp, 8),
  [PROTOCOL.tcp]: leaf(PROTOCOL.tcp, 20),
  [PROTOCOL.esp]: leaf(PROTOCOL.esp, 8),
  [PROTOCOL.fragment]: leaf(PROTOCOL.fragment, 0),
}
