import { formatIpv4 } from '../generators/wire/address.ts'
import { ethernet } from '../generators/wire/ethernet.ts'
import { readU8 } from '../generators/wire/field.ts'
import { ipv4 } from '../generators/wire/ipv4.ts'
import { udp } from '../generators/wire/udp.ts'
import { type Dissection, PROTOCOL, PROTOCOL_NAMES } from './dissect.ts'

/** A port scan must not fill the memory with names. */
const MAX_NAMES = 1000
const OTHER = 'other'
const NEXT_HEADER_ICMPV6 = 58
const NEXT_HEADER_HOP_BY_HOP = 0

/** Counts frames that no identity explains, by a short name of what is innermost. */
export class Background {
  readonly #counts = new Map<string, number>()

  add(name: string): void {
    const known = this.#counts.get(name)
    if (known !== undefined) this.#counts.set(name, known + 1)
    else if (this.#counts.size < MAX_NAMES || name === OTHER) this.#counts.set(name, 1)
    else this.add(OTHER)
  }

  counts(): Record<string, number> {
    return Object.fromEntries([...this.#counts].sort((a, b) => b[1] - a[1]))
  }
}

/** "arp", "igmp", "udp 224.0.0.251:5353", "vxlan arp", "malformed ipv4". */
export function backgroundName(bytes: Uint8Array, layers: Dissection): string {
  const prefix = layers.levels > 0 ? 'vxlan ' : ''
  if (layers.malformed) return `${prefix}malformed ${layers.malformed.why.split(':')[0]}`
  return prefix + innermostName(bytes, layers)
}

function innermostName(bytes: Uint8Array, layers: Dissection): string {
  const last = layers.count - 1
  const protocol = layers.protocol(last)
  if (protocol === PROTOCOL.ipv6) return ipv6Name(bytes, layers.at(last))
  if (protocol === PROTOCOL.fragment) return 'ipv4 fragment'
  if (protocol === PROTOCOL.stamp) return 'stamp of another run'
  if (protocol === PROTOCOL.payload) return payloadName(bytes, layers)
  return protocol === undefined ? 'empty' : (PROTOCOL_NAMES[protocol] ?? OTHER)
}

function ipv6Name(bytes: Uint8Array, at: number): string {
  const nextHeader = readU8(bytes, at + 6)
  const first = nextHeader === NEXT_HEADER_HOP_BY_HOP ? readU8(bytes, at + 40) : nextHeader
  return first === NEXT_HEADER_ICMPV6 ? 'icmpv6' : 'ipv6'
}

/** What carries bytes that nothing here knows: UDP, an IP protocol, or an EtherType. */
function payloadName(bytes: Uint8Array, layers: Dissection): string {
  const carrier = layers.count - 2
  const at = layers.at(carrier)
  if (layers.protocol(carrier) === PROTOCOL.udp) {
    const ip = layers.at(carrier - 1)
    return `udp ${formatIpv4(ipv4.fields.dst.get(bytes, ip))}:${udp.fields.dstPort.get(bytes, at)}`
  }
  if (layers.protocol(carrier) === PROTOCOL.ipv4) return `ip protocol ${ipv4.fields.protocol.get(bytes, at)}`
  // The EtherType stands right before what it announces, also behind a tag.
  const etherType = ethernet.fields.etherType.get(bytes, layers.at(layers.count - 1) - ethernet.length)
  return `ethertype 0x${etherType.toString(16).padStart(4, '0')}`
}
