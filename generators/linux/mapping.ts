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

let page = 0

export function pageBytes(): number {
  page ||= getpagesize()
  return page
}

/** Pages of a file descriptor that the kernel and this process share. `memory` must not be touched after `close`. */
export class Mapping {
  readonly memory: ArrayBuffer
  readonly #address: number
  readonly #bytes: number

  /** Whole pages: `bytes` is rounded up. */
  constructor(fd: number, bytes: number, options: { offset?: number; readOnly?: boolean } = {}) {
    const { offset = 0, readOnly = false } = options
    this.#bytes = Math.ceil(bytes / pageBytes()) * pageBytes()
    this.#address = mmap(0, this.#bytes, readOnly ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset)
    this.memory = koffi.view(BigInt(this.#address), this.#bytes)
  }

  close(): void {
    munmap(this.#address, this.#bytes)
  }
}
