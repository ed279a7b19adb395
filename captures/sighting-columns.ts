const CHUNK_BITS = 16
const CHUNK_ROWS = 1 << CHUNK_BITS
const CHUNK_MASK = CHUNK_ROWS - 1

interface Chunk {
  frame: Uint32Array
  stream: Uint32Array
  sequence: Uint32Array
  innerAt: Uint32Array
  fragmentOffset: Uint16Array
  levels: Uint16Array
}

/** 20 bytes for each sighting; time, tap and direction are the frame's, so they are not kept twice. */
export class SightingColumns {
  count = 0
  readonly #chunks: Chunk[] = []

  push(
    frame: number,
    stream: number,
    sequence: number,
    innerAt: number,
    fragmentOffset: number,
    levels: number,
  ): number {
    const row = this.count & CHUNK_MASK
    if (row === 0) this.#chunks.push(newChunk())
    const chunk = this.#chunks[this.#chunks.length - 1] as Chunk
    chunk.frame[row] = frame
    chunk.stream[row] = stream
    chunk.sequence[row] = sequence
    chunk.innerAt[row] = innerAt
    chunk.fragmentOffset[row] = fragmentOffset
    chunk.levels[row] = levels
    return this.count++
  }

  frame(row: number): number {
    return this.#chunk(row).frame[row & CHUNK_MASK] as number
  }

  stream(row: number): number {
    return this.#chunk(row).stream[row & CHUNK_MASK] as number
  }

  sequence(row: number): number {
    return this.#chunk(row).sequence[row & CHUNK_MASK] as number
  }

  innerAt(row: number): number {
    return this.#chunk(row).innerAt[row & CHUNK_MASK] as number
  }

  fragmentOffset(row: number): number {
    return this.#chunk(row).fragmentOffset[row & CHUNK_MASK] as number
  }

  levels(row: number): number {
    return this.#chunk(row).levels[row & CHUNK_MASK] as number
  }

  #chunk(row: number): Chunk {
    if (!(row >= 0 && row < this.count)) throw new RangeError(`no sighting ${row} of ${this.count}`)
    return this.#chunks[row >>> CHUNK_BITS] as Chunk
  }
}

function newChunk(): Chunk {
  return {
    frame: new Uint32Array(CHUNK_ROWS),
    stream: new Uint32Array(CHUNK_ROWS),
    sequence: new Uint32Array(CHUNK_ROWS),
    innerAt: new Uint32Array(CHUNK_ROWS),
    fragmentOffset: new Uint16Array(CHUNK_ROWS),
    levels: new Uint16Array(CHUNK_ROWS),
  }
}
