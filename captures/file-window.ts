import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

const WINDOW_BYTES = 1 << 20

/**
 * A file seen through a buffer that only goes forward: constant memory for any file. `bytes`, `view` and `at` change with every
 * `need`, so nothing may be kept across it.
 */
export class FileWindow {
  bytes: Uint8Array
  view: DataView
  /** The same bytes as 32-bit words in native order. */
  words: Uint32Array
  /** Position of the cursor in `bytes`. */
  at = 0
  readonly #fd: number
  #end = 0
  /** Of `bytes[0]` in the file. */
  origin = 0
  #exhausted = false

  constructor(path: string) {
    this.#fd = openSync(path, 'r')
    this.bytes = new Uint8Array(windowBytes(fstatSync(this.#fd).size))
    this.view = new DataView(this.bytes.buffer)
    this.words = new Uint32Array(this.bytes.buffer)
  }

  /** Position of the cursor in the file. */
  get offset(): number {
    return this.origin + this.at
  }

  /** Bytes of the file at hand; fewer than were needed only at its end. */
  get available(): number {
    return this.#end - this.at
  }

  /** Makes `count` bytes readable from the cursor on; false when the file ends before. */
  need(count: number): boolean {
    if (this.#end - this.at >= count) return true
    this.#makeRoom(count)
    while (this.available < count && !this.#exhausted) this.#fill()
    return this.available >= count
  }

  /** Moves on; past what is at hand it reads and forgets. False when the file ends before. */
  skip(count: number): boolean {
    let left = count
    while (left > this.bytes.length) {
      const step = this.bytes.length
      if (!this.need(step)) return false
      this.at += step
      left -= step
    }
    if (!this.need(left)) return false
    this.at += left
    return true
  }

  close(): void {
    closeSync(this.#fd)
  }

  #makeRoom(count: number): void {
    const kept = this.bytes.subarray(this.at, this.#end)
    if (count > this.bytes.length) {
      this.bytes = new Uint8Array((count + 3) & ~3)
      this.view = new DataView(this.bytes.buffer)
      this.words = new Uint32Array(this.bytes.buffer)
    }
    this.bytes.set(kept)
    this.origin += this.at
    this.#end -= this.at
    this.at = 0
  }

  #fill(): void {
    const read = readSync(this.#fd, this.bytes, this.#end, this.bytes.length - this.#end, null)
    this.#exhausted = read === 0
    this.#end += read
  }
}

/** A short file needs no more than itself; what has no size, such as a pipe, a whole window. */
function windowBytes(fileBytes: number): number {
  return fileBytes === 0 ? WINDOW_BYTES : Math.min(WINDOW_BYTES, (fileBytes + 4) & ~3)
}
