import { fillIpv4Checksum, IPV4_FLAG, ipv4, ipv4End, ipv4HeaderLength } from '../generators/wire/ipv4.ts'

/** More fragments than this that wait for others are let go, the oldest first: a capture must not fill the memory. */
const MAX_WAITING = 4096
const MAX_PACKET_BYTES = 0xffff

interface Part<T> {
  tag: T
  offset: number
  data: Uint8Array
}

interface Datagram<T> {
  /** IPv4 header of the first fragment. */
  header: Uint8Array | undefined
  parts: Part<T>[]
  /** Of the payload; known when the last fragment is there. */
  length: number | undefined
}

/** Puts IPv4 fragments of one place together (RFC 791 §3.2). `T` is what the caller knows a fragment by. */
export class Reassembler<T> {
  readonly #datagrams = new Map<string, Datagram<T>>()
  readonly #gone: T[] = []
  #waiting = 0

  /** Takes the fragment whose IPv4 header is at `at`; the whole packet, unfragmented, once it is there. */
  add(
    place: string,
    bytes: Uint8Array,
    at: number,
    end: number,
    tag: T,
  ): { packet: Uint8Array; tags: T[] } | undefined {
    const { src, dst, protocol, id, fragmentOffset, flags } = ipv4.fields
    const key = `${place} ${[src, dst, protocol, id].map(field => field.get(bytes, at)).join(' ')}`
    const datagram = this.#datagrams.get(key) ?? { header: undefined, parts: [], length: undefined }
    this.#datagrams.set(key, datagram)
    const from = at + ipv4HeaderLength(bytes, at)
    const data = bytes.slice(from, ipv4End(bytes, at, end))
    const offset = fragmentOffset.get(bytes, at) * 8
    if (offset === 0) datagram.header = bytes.slice(at, from)
    if ((flags.get(bytes, at) & IPV4_FLAG.MF) === 0) datagram.length = offset + data.length
    datagram.parts.push({ tag, offset, data })
    this.#waiting++
    const packet = joined(datagram)
    if (packet) this.#forget(key, datagram)
    else this.#limit()
    return packet && { packet, tags: datagram.parts.map(part => part.tag) }
  }

  /** Fragments that nobody waits for any more, each told once; at the end of a capture, all that are left. */
  takeGone(atEnd = false): T[] {
    if (atEnd) while (this.#datagrams.size > 0) this.#dropOldest()
    return this.#gone.splice(0)
  }

  #limit(): void {
    while (this.#waiting > MAX_WAITING) this.#dropOldest()
  }

  #dropOldest(): void {
    const [oldest] = this.#datagrams
    if (!oldest) return
    this.#gone.push(...oldest[1].parts.map(part => part.tag))
    this.#forget(...oldest)
  }

  #forget(key: string, datagram: Datagram<T>): void {
    this.#datagrams.delete(key)
    this.#waiting -= datagram.parts.length
  }
}

/** Undefined while something lacks. A fragment seen twice counts once; fragments that overlap otherwise never join. */
function joined<T>({ header, parts, length }: Datagram<T>): Uint8Array | undefined {
  if (!header || length === undefined || header.length + length > MAX_PACKET_BYTES) return undefined
  const packet = new Uint8Array(header.length + length)
  let reached = 0
  for (const { offset, data } of parts.toSorted((a, b) => a.offset - b.offset)) {
    if (offset + data.length <= reached) continue
    if (offset !== reached || offset + data.length > length) return undefined
    packet.set(data, header.length + offset)
    reached += data.length
  }
  if (reached < length) return undefined
  packet.set(header)
  ipv4.fields.totalLength.set(packet, 0, packet.length)
  ipv4.fields.flags.set(packet, 0, ipv4.fields.flags.get(packet, 0) & ~IPV4_FLAG.MF)
  fillIpv4Checksum(packet, 0, header.length)
  return packet
}
