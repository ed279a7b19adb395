import { formatIpv4 } from '../generators/wire/address.ts'
import { esp } from '../generators/wire/esp.ts'
import { type EspContents, type EspSa, openEsp } from '../generators/wire/esp-seal.ts'
import { ipv4 } from '../generators/wire/ipv4.ts'

/** A security association that a reader of captures holds. */
export interface EspKey {
  /** Tunnel addresses; left out: any. */
  src?: number
  dst?: number
  sa: EspSa
  /** High half of the first extended sequence number; left out: 0. */
  sequenceHigh?: number
  /** For people: `n1 to n2, pair key with boot IDs`. Never a key. */
  label: string
  /** Whose key it is: of this direction of this pair of nodes, or of all nodes. */
  scope: 'pair' | 'global'
}

/** An ESP packet as it was on the way. */
export interface EspPacket {
  src: number
  dst: number
  spi: number
  sequence: number
  /** From its header to its ICV. */
  bytes: number
}

/** An ESP packet that a key opened. */
export interface OpenedEsp extends EspPacket {
  key: EspKey
  /** 0 without extended sequence numbers. */
  sequenceHigh: number
}

export type Opening =
  | { opened: OpenedEsp; payload: Uint8Array; nextHeader: number }
  | { packet: EspPacket; why: string }

/** Opens ESP packets with many keys; remembers which key opened last, and how far each has counted. */
export class EspOpener {
  readonly #bySpi = new Map<number, EspKey[]>()
  readonly #high = new Map<EspKey, number>()

  constructor(keys: readonly EspKey[]) {
    for (const key of keys) this.#bySpi.set(key.sa.spi, [...(this.#bySpi.get(key.sa.spi) ?? []), key])
  }

  /** The ESP packet at `espAt` inside the IPv4 packet at `ipAt`. */
  open(bytes: Uint8Array, ipAt: number, espAt: number, end: number): Opening {
    const packet = packetAt(bytes, ipAt, espAt, end)
    const keys = this.#candidates(packet)
    if (keys.length === 0) return { packet, why: `no key for ${packetName(packet)}` }
    let why = ''
    for (const key of keys) {
      for (const sequenceHigh of this.#highs(key)) {
        const tried = openEsp(key.sa, bytes, espAt, end, sequenceHigh)
        if ('payload' in tried) return this.#success(key, packet, sequenceHigh, tried)
        // The cause that says most: a packet that no key fits is cut or ragged for all of them.
        why ||= tried.wrong
      }
    }
    return { packet, why }
  }

  #candidates({ src, dst, spi }: EspPacket): EspKey[] {
    const fits = (key: EspKey) => (key.src ?? src) === src && (key.dst ?? dst) === dst
    return (this.#bySpi.get(spi) ?? []).filter(fits)
  }

  /** Where the numbers stand, one turn on, one back (a late packet), and from the start (a new SA with the same keys). */
  #highs(key: EspKey): number[] {
    if (!key.sa.esn) return [0]
    const first = key.sequenceHigh ?? 0
    const high = this.#high.get(key) ?? first
    return [...new Set([high, high + 1, Math.max(0, high - 1), first])].filter(one => one <= 0xffff_ffff)
  }

  #success(key: EspKey, packet: EspPacket, sequenceHigh: number, opened: EspContents): Opening {
    this.#high.set(key, sequenceHigh)
    this.#preferred(key)
    return { opened: { ...packet, key, sequenceHigh }, payload: opened.payload, nextHeader: opened.nextHeader }
  }

  /** The next packet is likely of the same kind. */
  #preferred(key: EspKey): void {
    const keys = this.#bySpi.get(key.sa.spi) ?? []
    const i = keys.indexOf(key)
    if (i > 0) keys.unshift(...keys.splice(i, 1))
  }
}

function packetAt(bytes: Uint8Array, ipAt: number, espAt: number, end: number): EspPacket {
  return {
    src: ipv4.fields.src.get(bytes, ipAt),
    dst: ipv4.fields.dst.get(bytes, ipAt),
    spi: esp.fields.spi.get(bytes, espAt),
    sequence: esp.fields.sequence.get(bytes, espAt),
    bytes: end - espAt,
  }
}

export function packetName({ src, dst, spi }: EspPacket): string {
  return `SPI ${spi} from ${formatIpv4(src)} to ${formatIpv4(dst)}`
}
