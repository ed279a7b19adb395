import { closeSync, openSync, readSync } from 'node:fs'

const BLOCK_BYTES = 64 * 1024
const BLOCKS_KEPT = 64

interface Block {
  bytes: Uint8Array
  filled: number
}

/** Random access to several files through blocks of 64 KiB, of which the 64 used last are kept. */
export class FileCache {
  readonly #paths: readonly string[]
  readonly #descriptors: (number | undefined)[] = []
  /** By file and block; a Map iterates in order of insertion, so the first is the one unused for longest. */
  readonly #blocks = new Map<number, Block>()
  #lastKey = -1
  #last: Block = { bytes: new Uint8Array(0), filled: 0 }

  constructor(paths: readonly string[]) {
    this.#paths = paths
  }

  /** The bytes as a view that later calls may overwrite; fewer when the file has become shorter. */
  read(file: number, offset: number, length: number): Uint8Array {
    const first = Math.floor(offset / BLOCK_BYTES)
    const at = offset - first * BLOCK_BYTES
    if (at + length <= BLOCK_BYTES) {
      const block = this.#block(file, first)
      return block.bytes.subarray(at, Math.max(at, Math.min(at + length, block.filled)))
    }
    const bytes = new Uint8Array(length)
    return bytes.subarray(0, readSync(this.#descriptor(file), bytes, 0, length, offset))
  }

  close(): void {
    for (const fd of this.#descriptors) if (fd !== undefined) closeSync(fd)
    this.#descriptors.length = 0
    this.#blocks.clear()
    this.#lastKey = -1
  }

  #block(file: number, index: number): Block {
    const key = file * 0x1_0000_0000 + index
    if (key === this.#lastKey) return this.#last
    const known = this.#blocks.get(key)
    this.#blocks.delete(key)
    const block = known ?? this.#load(file, index)
    this.#blocks.set(key, block)
    this.#lastKey = key
    this.#last = block
    return block
  }

  #load(file: number, index: number): Block {
    const block = this.#blocks.size < BLOCKS_KEPT ? { bytes: new Uint8Array(BLOCK_BYTES), filled: 0 } : this.#evict()
    block.filled = readSync(this.#descriptor(file), block.bytes, 0, BLOCK_BYTES, index * BLOCK_BYTES)
    return block
  }

  #evict(): Block {
    const [key, block] = this.#blocks.entries().next().value as [number, Block]
    this.#blocks.delete(key)
    return block
  }

  #descriptor(file: number): number {
    const known = this.#descriptors[file]
    if (known !== undefined) return known
    const fd = openSync(this.#paths[file] as string, 'r')
    this.#descriptors[file] = fd
    return fd
  }
}
