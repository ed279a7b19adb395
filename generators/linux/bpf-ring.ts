import { Mapping, pageBytes } from './mapping.ts'

const BUSY = 0x8000_0000
const DISCARD = 0x4000_0000
const RECORD_HEADER_BYTES = 8

/**
 * The reading end of a BPF ring buffer map. Its pages are shared with the kernel: one of ours (how far we have read), one
 * of the kernel's (how far it has written), then the data, mapped twice so that no record is torn at the end.
 */
export class BpfRing {
  readonly fd: number
  readonly #mask: number
  readonly #read: Mapping
  readonly #written: Mapping
  readonly #consumer: BigUint64Array
  readonly #producer: BigUint64Array
  readonly #bytes: Buffer
  readonly #words: Int32Array

  /** `bytes`: the map's max_entries. */
  constructor(fd: number, bytes: number) {
    this.fd = fd
    this.#mask = bytes - 1
    this.#read = new Mapping(fd, pageBytes())
    this.#written = new Mapping(fd, pageBytes() + 2 * bytes, { offset: pageBytes(), readOnly: true })
    this.#consumer = new BigUint64Array(this.#read.memory, 0, 1)
    this.#producer = new BigUint64Array(this.#written.memory, 0, 1)
    this.#bytes = Buffer.from(this.#written.memory, pageBytes())
    this.#words = new Int32Array(this.#written.memory, pageBytes())
  }

  /** Visits what has been written, oldest first; the bytes are the ring's own and valid until `visit` returns. */
  drain(visit: (record: Buffer) => void): number {
    let seen = 0
    let at = Atomics.load(this.#consumer, 0)
    while (at < Atomics.load(this.#producer, 0)) {
      const offset = Number(at & BigInt(this.#mask))
      const length = Atomics.load(this.#words, offset >>> 2) >>> 0
      // Being written on another CPU: later ones wait behind it.
      if (length & BUSY) break
      const bytes = length & ~(BUSY | DISCARD)
      const start = offset + RECORD_HEADER_BYTES
      if (!(length & DISCARD)) visit(this.#bytes.subarray(start, start + bytes))
      at += BigInt((bytes + RECORD_HEADER_BYTES + 7) & ~7)
      Atomics.store(this.#consumer, 0, at)
      seen++
    }
    return seen
  }

  close(): void {
    this.#read.close()
    this.#written.close()
  }
}
