import { Dissection, dissect, PROTOCOL, portTable } from '../../captures/dissect.ts'
import { isMulticast } from '../../generators/wire/address.ts'
import { readU16, writeU16 } from '../../generators/wire/field.ts'
import { groupRecord, groupRecords, IGMP_TYPE, igmp } from '../../generators/wire/igmp.ts'
import { IP_PROTOCOL, ipv4, ipv4End, ipv4HeaderLength } from '../../generators/wire/ipv4.ts'
import { STAMP_MAGIC, stamp } from '../../generators/wire/stamp.ts'
import { udp } from '../../generators/wire/udp.ts'
import { VXLAN_PORT } from '../../generators/wire/vxlan.ts'
import type { Seen, SentStream } from './check.ts'
import { sentIpAt } from './inner.ts'

/** What shows in a frame that only ESP may hold. */
export type ClearKind = 'stamp' | 'payload' | 'overlay' | 'group' | 'igmp' | 'fragment'

export const CLEAR_NAMES: Readonly<Record<ClearKind, string>> = {
  stamp: 'bytes of a stamp',
  payload: 'bytes of a payload',
  overlay: 'VXLAN',
  group: 'a group as destination',
  igmp: 'IGMP',
  fragment: 'a fragment of a UDP datagram between nodes',
}

/** Longer than any run that ciphertext shows by chance, short enough for a fragment's remainder. */
const BLOCK_BYTES = 16
/** Zeros and short patterns are in padding everywhere. */
const MIN_DISTINCT = 6

/** Looks for what must not be seen, in headers at any depth and in the raw bytes, wherever they stand. */
export class ClearText {
  readonly #seen: Seen
  readonly #ports: Uint8Array
  readonly #layers = new Dissection()
  readonly #groups: ReadonlySet<number>
  readonly #nodes: ReadonlySet<number>
  readonly #pods: ReadonlySet<number>
  readonly #overlayPort: number
  /** Whether VXLAN is where it should be as long as it holds ESP. */
  readonly #vxlanMayHoldEsp: boolean
  readonly #search = new ByteSearch()
  /** Streams whose payload has bytes of its own. */
  readonly #telling = new Set<number>()

  constructor(seen: Seen, streams: readonly SentStream[]) {
    this.#seen = seen
    this.#overlayPort = seen.site.overlay?.udpPort ?? VXLAN_PORT
    this.#ports = portTable([this.#overlayPort, VXLAN_PORT])
    this.#groups = new Set([...seen.plan.groups.map(group => group.address), ...streams.flatMap(groupsOf)])
    this.#nodes = new Set(seen.site.nodes.map(node => node.address))
    this.#pods = new Set(seen.site.pods.map(pod => pod.address))
    this.#vxlanMayHoldEsp = seen.site.encryption?.mode === 'esp-in-overlay'
    for (const stream of streams) this.#learn(stream)
  }

  /** Whether a payload of the stream would be known again. */
  tells(stream: SentStream): boolean {
    return this.#telling.has(stream.number)
  }

  kindsOf(frame: number): Set<ClearKind> {
    const bytes = this.#seen.recording.bytes(frame)
    const kinds = new Set<ClearKind>()
    this.#search.find(bytes, kind => kinds.add(kind))
    const layers = dissect(
      bytes,
      0,
      bytes.length,
      this.#layers,
      this.#seen.recording.originalLength(frame),
      this.#ports,
    )
    let tunnelled = false
    for (let i = 0; i < layers.count; i++) {
      const kind = this.#kindOf(bytes, layers, i, tunnelled)
      if (kind) kinds.add(kind)
      tunnelled ||= layers.protocol(i) === PROTOCOL.vxlan
    }
    return kinds
  }

  #kindOf(bytes: Uint8Array, layers: Dissection, i: number, tunnelled: boolean): ClearKind | undefined {
    const at = layers.at(i)
    switch (layers.protocol(i)) {
      case PROTOCOL.ipv4: {
        const dst = ipv4.fields.dst.get(bytes, at)
        return isMulticast(dst) && (tunnelled || this.#groups.has(dst)) ? 'group' : undefined
      }
      case PROTOCOL.udp:
        return this.#isClearOverlay(bytes, layers, at) ? 'overlay' : undefined
      case PROTOCOL.igmp:
        return tunnelled || this.#isOfPods(bytes, layers, i) ? 'igmp' : undefined
      case PROTOCOL.fragment:
        return this.#isBetweenNodes(bytes, layers.at(i - 1)) ? 'fragment' : undefined
      default:
        return undefined
    }
  }

  #isClearOverlay(bytes: Uint8Array, layers: Dissection, at: number): boolean {
    if (udp.fields.dstPort.get(bytes, at) !== this.#overlayPort) return false
    const innermost = layers.protocol(layers.count - 1)
    return !(this.#vxlanMayHoldEsp && innermost === PROTOCOL.esp)
  }

  /** A node's own IGMP, for groups of its own, is none of this. */
  #isOfPods(bytes: Uint8Array, layers: Dissection, i: number): boolean {
    const src = ipv4.fields.src.get(bytes, layers.at(i - 1))
    return (
      this.#pods.has(src) || groupsReported(bytes, layers.at(i), layers.end(i)).some(group => this.#groups.has(group))
    )
  }

  /** Where VXLAN may hold ESP, so may its fragments. */
  #isBetweenNodes(bytes: Uint8Array, ipAt: number): boolean {
    const { src, dst, protocol } = ipv4.fields
    if (this.#vxlanMayHoldEsp || protocol.get(bytes, ipAt) !== IP_PROTOCOL.UDP) return false
    return this.#nodes.has(src.get(bytes, ipAt)) && this.#nodes.has(dst.get(bytes, ipAt))
  }

  #learn(stream: SentStream): void {
    if (stream.count === 0) return
    if (stream.spec.stamped) this.#search.add('stamp', stampBytes(stream))
    for (const block of payloadBlocks(stream)) {
      this.#search.add('payload', block)
      this.#telling.add(stream.number)
    }
  }
}

function groupsOf({ spec }: SentStream): number[] {
  const given = spec.destinations?.map(({ group }) => group) ?? [spec.frame.ipv4?.dst ?? 0]
  return given.filter(isMulticast)
}

function groupsReported(bytes: Uint8Array, at: number, end: number): number[] {
  if (igmp.fields.type.get(bytes, at) !== IGMP_TYPE.V3_MEMBERSHIP_REPORT) return [igmp.fields.group.get(bytes, at)]
  const groups: number[] = []
  const records = groupRecords(bytes, at, end)
  while (records.next()) groups.push(groupRecord.fields.multicastAddress.get(bytes, records.at))
  return groups
}

/** Magic, run and stream: what all stamps of the stream begin with. */
function stampBytes(stream: SentStream): Uint8Array {
  const [frame] = stream.frames(0)
  const at = frame ? stampAt(stream, frame) : -1
  if (frame && at >= 0) return frame.slice(at, at + stamp.fields.sequence.offset)
  const magic = new Uint8Array(2)
  writeU16(magic, 0, STAMP_MAGIC)
  return magic
}

function stampAt(stream: SentStream, frame: Uint8Array): number {
  const ip = sentIpAt(stream, frame)
  return ip < 0 ? -1 : ip + ipv4HeaderLength(frame, ip) + udp.length
}

/** Frames of one stream differ in length at most: a turn of them shows every payload. */
const FRAMES_LEARNT = 16

function payloadBlocks(stream: SentStream): Uint8Array[] {
  const blocks = new Map<string, Uint8Array>()
  for (let k = 0; k < Math.min(stream.count, FRAMES_LEARNT); k++) {
    for (const frame of stream.frames(k)) {
      for (const block of blocksOf(stream, frame)) blocks.set(Buffer.from(block).toString('latin1'), block)
    }
  }
  return [...blocks.values()]
}

/** Pieces of what lies behind the stamp, or behind the IP header of a later fragment. */
function blocksOf(stream: SentStream, frame: Uint8Array): Uint8Array[] {
  const ip = sentIpAt(stream, frame)
  if (ip < 0) return []
  const later = ipv4.fields.fragmentOffset.get(frame, ip) > 0
  const from = later
    ? ip + ipv4HeaderLength(frame, ip)
    : stampAt(stream, frame) + (stream.spec.stamped ? stamp.length : 0)
  const end = ipv4End(frame, ip, frame.length)
  const blocks: Uint8Array[] = []
  for (let at = from; at + BLOCK_BYTES <= end; at += BLOCK_BYTES) blocks.push(frame.slice(at, at + BLOCK_BYTES))
  return blocks.filter(block => new Set(block).size >= MIN_DISTINCT)
}

/** Finds any of many byte strings in a frame, at any offset, in one pass. */
class ByteSearch {
  readonly #byStart = new Map<number, { kind: ClearKind; bytes: Uint8Array }[]>()
  readonly #starts = new Uint8Array(0x10000)

  add(kind: ClearKind, bytes: Uint8Array): void {
    const start = readU16(bytes, 0)
    this.#starts[start] = 1
    const known = this.#byStart.get(start) ?? []
    this.#byStart.set(start, known)
    known.push({ kind, bytes })
  }

  find(frame: Uint8Array, found: (kind: ClearKind) => void): void {
    for (let at = 0; at + 1 < frame.length; at++) {
      const start = readU16(frame, at)
      if (this.#starts[start] !== 1) continue
      for (const { kind, bytes } of this.#byStart.get(start) ?? []) if (startsAt(frame, at, bytes)) found(kind)
    }
  }
}

function startsAt(frame: Uint8Array, at: number, bytes: Uint8Array): boolean {
  if (at + bytes.length > frame.length) return false
  for (let i = 2; i < bytes.length; i++) if (frame[at + i] !== bytes[i]) return false
  return true
}
