/** A head whose stamp told its stream: fragments of the same datagram are known by it. */
interface Head {
  src: number
  dst: number
  protocol: number
  id: number
  /** Its sighting. */
  row: number
  tap: number
  timeNs: number
  /** Next head with the same key. */
  next: Head | undefined
}

/** What identifies a datagram's fragments (RFC 791 §3.2: source, destination, protocol, identification). */
export interface DatagramKey {
  src: number
  dst: number
  protocol: number
  id: number
}

/**
 * Stamped first fragments by datagram. Identifications wrap and copies are many, so the head that counts is the nearest in
 * time at the same tap; where the head itself was not seen there, the nearest at any tap.
 */
export class FragmentHeads {
  readonly #atTap = new Map<number, Head>()
  readonly #anywhere = new Map<number, Head>()

  add(key: DatagramKey, row: number, tap: number, timeNs: number): void {
    const { src, dst, protocol, id } = key
    link(this.#atTap, hash(key, tap), { src, dst, protocol, id, row, tap, timeNs, next: undefined })
    link(this.#anywhere, hash(key, 0), { src, dst, protocol, id, row, tap, timeNs, next: undefined })
  }

  /** The sighting of the tail's head, or -1. */
  find(key: DatagramKey, tap: number, timeNs: number): number {
    const near = nearest(this.#atTap.get(hash(key, tap)), key, tap, timeNs)
    return near >= 0 ? near : nearest(this.#anywhere.get(hash(key, 0)), key, -1, timeNs)
  }
}

/** Not unique: candidates are compared. 32 bits of addresses and tap above 16 of identification, exact in a double. */
function hash(key: DatagramKey, tap: number): number {
  const mixed = key.src ^ Math.imul(key.dst, 0x9e3779b1) ^ Math.imul(tap + 1, 0x85ebca6b)
  return (mixed >>> 0) * 0x1_0000 + key.id
}

function link(heads: Map<number, Head>, key: number, head: Head): void {
  head.next = heads.get(key)
  heads.set(key, head)
}

function nearest(first: Head | undefined, key: DatagramKey, tap: number, timeNs: number): number {
  let row = -1
  let best = Infinity
  for (let head = first; head; head = head.next) {
    if (!isOf(head, key) || (tap >= 0 && head.tap !== tap)) continue
    const distance = Math.abs(head.timeNs - timeNs)
    if (distance >= best) continue
    best = distance
    row = head.row
  }
  return row
}

function isOf(head: Head, key: DatagramKey): boolean {
  return head.src === key.src && head.dst === key.dst && head.protocol === key.protocol && head.id === key.id
}
