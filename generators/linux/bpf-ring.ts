import koffi from 'koffi'
import { libcFunction } from './libc.ts'

// The return type is an integer so that MAP_FAILED, -1, is seen as the failure it is.
const mmap = libcFunction<
  [address: number, length: number, protection: number, flags: number, fd: number, offset: number]
>('intptr_t mmap(intptr_t address, size_t length, int protection, int flags, int fd, intptr_t offset)')
const munmap = libcFunction<[address: number, length: number]>('int munmap(intptr_t address, size_t length)')
const getpagesize = libcFunction<[]>('int getpagesize(void)')

const PROT_READ = 1
const PROT_WRITE = 2
const MAP_SHARED = 1
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
  readonly #consumerAddress: number
  readonly #producerAddress: number
  readonly #pageBytes: number
  readonly #consumer: BigUint64Array
  readonly #producer: BigUint64Array
  readonly #bytes: Buffer
  readonly #words: Int32Array

  /** `bytes`: the map's max_entries. */
  constructor(fd: number, bytes: number) {
    this.fd = fd
    this.#mask = bytes - 1
    this.#pageBytes = getpagesize()
    this.#consumerAddress = mmap(0, this.#pageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
    this.#producerAddress = mmap(0, this.#pageBytes + 2 * bytes, PROT_READ, MAP_SHARED, fd, this.#pageBytes)
    this.#consumer = new BigUint64Array(koffi.view(BigInt(this.#consumerAddress), 8))
    const mapped = koffi.view(BigInt(this.#producerAddress), this.#pageBytes + 2 * bytes)
    this.#producer = new BigUint64Array(mapped, 0, 1)
    this.#bytes = Buffer.from(mapped, this.#pageBytes)
    this.#words = new Int32Array(mapped, this.#pageBytes)
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
    munmap(this.#consumerAddress, this.#pageBytes)
    munmap(this.#producerAddress, this.#pageBytes + 2 * (this.#mask + 1))
  }
}
