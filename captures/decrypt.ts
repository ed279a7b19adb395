import { ESP_NEXT_HEADER } from '../generators/wire/esp.ts'
import { ETHER_TYPE, ethernet } from '../generators/wire/ethernet.ts'
import { fillIpv4Checksum, IP_PROTOCOL, ipv4, ipv4HeaderLength, isFragment } from '../generators/wire/ipv4.ts'
import { Dissection, dissect, PROTOCOL, portTable, VXLAN_PORTS } from './dissect.ts'
import { type EspKey, EspOpener, type EspPacket, type OpenedEsp } from './esp-opener.ts'
import { Reassembler } from './reassemble.ts'

/** What became of a frame, or of the fragments that make one packet. */
export type Decrypted =
  /** No ESP in it. */
  | { kind: 'plain' }
  /** ESP packets that were opened, the outer one first, and the Ethernet frame that was in the innermost of them. */
  | { kind: 'clear'; frame: Uint8Array; opened: OpenedEsp[]; closed?: ClosedEsp }
  | { kind: 'closed'; closed: ClosedEsp }

/** An ESP packet that stayed closed. */
export interface ClosedEsp {
  packet: EspPacket | undefined
  why: string
}

/** Fragments by which a packet is known to the caller, in the order in which they came; most have one. */
export interface Outcome<T> {
  tags: T[]
  result: Decrypted
}

type Once = { opened: OpenedEsp; frame: Uint8Array } | { opened?: never; closed: ClosedEsp }

/** Finds ESP at any level of a frame, also in fragments, and opens it until nothing is closed. */
export class Decryptor<T> {
  readonly #opener: EspOpener
  readonly #vxlanPorts: Uint8Array
  readonly #fragments = new Reassembler<T>()
  readonly #layers = new Dissection()

  constructor(keys: readonly EspKey[], vxlanPorts: readonly number[] = VXLAN_PORTS) {
    this.#opener = new EspOpener(keys)
    this.#vxlanPorts = portTable(vxlanPorts)
  }

  /** Undefined: a fragment, which waits for the others of its packet at this place. */
  add(place: string, frame: Uint8Array, originalLength: number, tag: T): Outcome<T> | undefined {
    const layers = dissect(frame, 0, frame.length, this.#layers, originalLength, this.#vxlanPorts)
    const ip = fragmentLayer(frame, layers)
    if (ip < 0) return { tags: [tag], result: this.#open(frame, originalLength) }
    const ethernetAt = layers.at(enclosingEthernet(layers, ip))
    const whole = this.#fragments.add(place, frame, layers.at(ip), layers.end(ip), tag)
    if (!whole) return undefined
    const joined = inEthernet(frame, ethernetAt, ETHER_TYPE.IPV4, whole.packet)
    return { tags: whole.tags, result: this.#open(joined, joined.length) }
  }

  /** Fragments whose packet never became whole. */
  unfinished(atEnd: boolean): T[] {
    return this.#fragments.takeGone(atEnd)
  }

  #open(frame: Uint8Array, originalLength: number): Decrypted {
    const opened: OpenedEsp[] = []
    let [clear, length] = [frame, originalLength]
    let found = this.#openOnce(clear, length)
    while (found?.opened) {
      opened.push(found.opened)
      clear = found.frame
      length = clear.length
      found = this.#openOnce(clear, length)
    }
    if (opened.length > 0) return { kind: 'clear', frame: clear, opened, ...found }
    return found ? { kind: 'closed', ...found } : { kind: 'plain' }
  }

  /** The ESP packet in the frame: what was in it, or why it stays closed; undefined when there is none. */
  #openOnce(frame: Uint8Array, originalLength: number): Once | undefined {
    const layers = dissect(frame, 0, frame.length, this.#layers, originalLength, this.#vxlanPorts)
    const last = layers.count - 1
    if (layers.protocol(last) !== PROTOCOL.esp) {
      const cut = layers.malformed?.why.startsWith('esp') ?? false
      return cut ? { closed: { packet: undefined, why: 'cut short: no whole ESP header' } } : undefined
    }
    const [ip, espAt, end] = [layers.at(last - 1), layers.at(last), layers.end(last)]
    const opening = this.#opener.open(frame, ip, espAt, end)
    if ('why' in opening) {
      const cut = originalLength > frame.length || isFragment(frame, ip)
      const why = cut && !opening.why.startsWith('no key') ? 'cut short by the capture or a lost fragment' : opening.why
      return { closed: { packet: opening.packet, why } }
    }
    const inner = innerPacket(frame, ip, opening.payload, opening.nextHeader)
    if (!inner) return { closed: { packet: opening.opened, why: `Next Header ${opening.nextHeader}: a dummy packet` } }
    return { opened: opening.opened, frame: inEthernet(frame, layers.innerAt, inner.etherType, inner.packet) }
  }
}

/** The innermost IPv4 layer when it is a fragment that may hold ESP: of ESP itself, or of an outermost UDP datagram; else -1. */
function fragmentLayer(frame: Uint8Array, layers: Dissection): number {
  for (let i = 0; i < layers.count; i++) {
    if (layers.protocol(i) !== PROTOCOL.ipv4 || !isFragment(frame, layers.at(i))) continue
    const protocol = ipv4.fields.protocol.get(frame, layers.at(i))
    const outermost = layers.levels === 0 || layers.at(i) < firstVxlanAt(layers)
    return protocol === IP_PROTOCOL.ESP || (protocol === IP_PROTOCOL.UDP && outermost) ? i : -1
  }
  return -1
}

function firstVxlanAt(layers: Dissection): number {
  for (let i = 0; i < layers.count; i++) if (layers.protocol(i) === PROTOCOL.vxlan) return layers.at(i)
  return 0
}

function enclosingEthernet(layers: Dissection, layer: number): number {
  for (let i = layer; i > 0; i--) if (layers.protocol(i) === PROTOCOL.ethernet) return i
  return 0
}

const IPV6_NEXT_HEADER = 41

/** Tunnel mode holds a packet; transport mode holds what the outer header carried (RFC 4303 §3.1). */
function innerPacket(
  frame: Uint8Array,
  ipAt: number,
  payload: Uint8Array,
  nextHeader: number,
): { packet: Uint8Array; etherType: number } | undefined {
  if (nextHeader === ESP_NEXT_HEADER.NO_NEXT_HEADER) return undefined
  if (nextHeader === ESP_NEXT_HEADER.IPV4) return { packet: payload, etherType: ETHER_TYPE.IPV4 }
  if (nextHeader === IPV6_NEXT_HEADER) return { packet: payload, etherType: ETHER_TYPE.IPV6 }
  const headerBytes = ipv4HeaderLength(frame, ipAt)
  const packet = new Uint8Array(headerBytes + payload.length)
  packet.set(frame.subarray(ipAt, ipAt + headerBytes))
  packet.set(payload, headerBytes)
  ipv4.fields.totalLength.set(packet, 0, packet.length)
  ipv4.fields.protocol.set(packet, 0, nextHeader)
  fillIpv4Checksum(packet, 0, headerBytes)
  return { packet, etherType: ETHER_TYPE.IPV4 }
}

/** The packet behind a copy of the addresses of the Ethernet header at `at`: those under which the closed one travelled. */
function inEthernet(frame: Uint8Array, at: number, etherType: number, packet: Uint8Array): Uint8Array {
  const made = new Uint8Array(ethernet.length + packet.length)
  made.set(frame.subarray(at, at + 12))
  ethernet.fields.etherType.set(made, 0, etherType)
  made.set(packet, ethernet.length)
  return made
}
