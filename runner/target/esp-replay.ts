import { DIRECTION } from '../../captures/record.ts'
import { ethernet } from '../../generators/wire/ethernet.ts'
import { writeU32 } from '../../generators/wire/field.ts'
import { fillIpv4Checksum, IP_PROTOCOL, ipv4, ipv4HeaderLength } from '../../generators/wire/ipv4.ts'
import type { Alteration } from '../suite/plan-types.ts'
import type { BedNode } from './bed.ts'
import { UNKNOWN_SPI } from './encryption.ts'
import type { ReplayWanted, SiteReplay } from './target.ts'

const IP_AT = ethernet.length
const ESP_HEADER_BYTES = 8

/** Whose interface a replay leaves by. */
export interface Stranger {
  mac: number
  inject(frames: readonly Uint8Array[]): void
}

/** ESP that left uplinks, kept by step: what a replay sends again. */
export class EspReplay implements SiteReplay {
  private readonly nodes: ReadonlyMap<string, BedNode>
  private readonly stranger: (pod: string) => Stranger
  private readonly kept = new Map<string, Uint8Array[]>()
  private readonly spans = new Map<string, { from: number; to: number }>()
  private keeping = false

  constructor(nodes: ReadonlyMap<string, BedNode>, stranger: (pod: string) => Stranger) {
    this.nodes = nodes
    this.stranger = stranger
  }

  /** From the taps: every frame of an uplink. */
  hear(frame: Uint8Array, tapName: string, direction: number): void {
    if (!this.keeping || direction !== DIRECTION.out || !tapName.endsWith('/eth0') || !isEsp(frame)) return
    const node = tapName.slice(0, -'/eth0'.length)
    const frames = this.kept.get(node)
    if (frames) frames.push(frame.slice())
    else this.kept.set(node, [frame.slice()])
  }

  keep(on: boolean): void {
    this.keeping = on
    this.kept.clear()
    this.spans.clear()
  }

  begin(step: string): void {
    for (const node of this.nodes.keys()) this.spans.set(`${step} ${node}`, { from: this.keptOf(node).length, to: 0 })
  }

  end(step: string): void {
    for (const node of this.nodes.keys()) {
      const span = this.spans.get(`${step} ${node}`)
      if (span) span.to = this.keptOf(node).length
    }
  }

  private keptOf(node: string): Uint8Array[] {
    return this.kept.get(node) ?? []
  }

  async replay({ pod, of, node, peer, count, alter }: ReplayWanted): Promise<number> {
    const { from = 0, to = 0 } = this.spans.get(`${of} ${node}`) ?? {}
    const { mac, inject } = this.stranger(pod)
    const address = this.nodes.get(peer)?.address
    const frames = this.keptOf(node)
      .slice(from, to)
      .filter(frame => ipv4.fields.dst.get(frame, IP_AT) === address)
      .slice(0, count)
      .map(frame => altered(frame, alter, mac))
    inject(frames)
    return frames.length
  }
}

function isEsp(frame: Uint8Array): boolean {
  return (
    frame.length >= IP_AT + ipv4.length + ESP_HEADER_BYTES &&
    ethernet.fields.etherType.get(frame, 0) === 0x0800 &&
    ipv4.fields.protocol.get(frame, IP_AT) === IP_PROTOCOL.ESP
  )
}

/** From the stranger's own address: a bridge would move another's to its port. */
function altered(original: Uint8Array, alter: Alteration, mac: number): Uint8Array {
  const espAt = IP_AT + ipv4HeaderLength(original, IP_AT)
  const end = IP_AT + ipv4.fields.totalLength.get(original, IP_AT)
  const frame = original.slice(0, alter === 'truncate' ? end - TRUNCATED_BYTES : end)
  ethernet.fields.src.set(frame, 0, mac)
  if (alter === 'truncate') shorten(frame, end - TRUNCATED_BYTES - IP_AT)
  if (alter === 'icv') flip(frame, end - 1)
  if (alter === 'ciphertext') flip(frame, Math.floor((espAt + end) / 2))
  if (alter === 'spi') writeU32(frame, espAt, UNKNOWN_SPI)
  if (alter === 'sequence') flip(frame, espAt + SEQUENCE_BIT_AT)
  return frame
}

const TRUNCATED_BYTES = 8
/** The second octet of the number: 65,536 further on. */
const SEQUENCE_BIT_AT = 5

function flip(frame: Uint8Array, at: number): void {
  frame[at] = (frame[at] ?? 0) ^ 1
}

function shorten(frame: Uint8Array, totalLength: number): void {
  ipv4.fields.totalLength.set(frame, IP_AT, totalLength)
  fillIpv4Checksum(frame, IP_AT, ipv4HeaderLength(frame, IP_AT))
}
