const CHUNK_BITS = 16
const CHUNK_ROWS = 1 << CHUNK_BITS
const CHUNK_MASK = CHUNK_ROWS - 1

const CHECKSUM_NOT_READY = 4

interface Chunk {
  timeNs: Float64Array
  offset: Float64Array
  length: Uint32Array
  originalLength: Uint32Array
  tap: Uint32Array
  /** Direction in the two low bits, then CHECKSUM_NOT_READY. */
  flags: Uint8Array
}

/** 29 bytes for each frame, in chunks, so that growing never copies what is there. */
export class FrameColumns {
  count = 0
  readonly #chunks: Chunk[] = []

  push(
    timeNs: number,
    tap: number,
    direction: number,
    checksumNotReady: boolean,
    offset: number,
    length: number,
    originalLength: number,
  ): void {
    const row = this.count++ & CHUNK_MASK
    if (row === 0) this.#chunks.push(newChunk())
    const chunk = this.#chunks[this.#chunks.length - 1] as Chunk
    chunk.timeNs[row] = timeNs
    chunk.offset[row] = offset
    chunk.length[row] = length
    chunk.originalLength[row] = originalLength
    chunk.tap[row] = tap
    chunk.flags[row] = direction | (checksumNotReady ? CHECKSUM_NOT_READY : 0)
  }

  timeNs(i: number): number {
    return this.#chunk(i).timeNs[i & CHUNK_MASK] as number
  }

  offset(i: number): number {
    return this.#chunk(i).offset[i & CHUNK_MASK] as number
  }

  length(i: number): number {
    return this.#chunk(i).length[i & CHUNK_MASK] as number
  }

  originalLength(i: number): number {
    return this.#chunk(i).originalLength[i & CHUNK_MASK] as number
  }

  tap(i: number): number {
    return this.#chunk(i).tap[i & CHUNK_MASK] as number
  }

  direction(i: number): number {
    return (this.#chunk(i).flags[i & CHUNK_MASK] as number) & 3
  }

  checksumNotReady(i: number): boolean {
    return ((this.#chunk(i).flags[i & CHUNK_MASK] as number) & CHECKSUM_NOT_READY) !== 0
  }

  #chunk(i: number): Chunk {
    if (!(i >= 0 && i < this.count)) throw new RangeError(`no frame ${i} of ${this.count}`)
    return this.#chunks[i >>> CHUNK_BITS] as Chunk
  }
}

function newChunk(): Chunk {
  return {
    timeNs: new Float64Array(CHUNK_ROWS),
    offset: new Float64Array(CHUNK_ROWS),
    length: new Uint32Array(CHUNK_ROWS),
    originalLength: new Uint32Array(CHUNK_ROWS),
    tap: new Uint32Array(CHUNK_ROWS),
    flags: new Uint8Array(CHUNK_ROWS),
  }
}
