import { closeSync, constants, openSync, writeSync } from 'node:fs'
import {
  BLOCK,
  BLOCK_HEADER_BYTES,
  BYTES_PER_FRAME,
  FRAMES_HEAD,
  padded8,
  SENT_SCHEMA,
  type SentHead,
  streamHead,
} from './sent-format.ts'
import type { CompiledStream } from './stream.ts'
import type { SendRecord } from './transmit/engine.ts'

export { readSent, type SentFile, type SentStreamLog } from './sent-read.ts'

/** Frames of a stream held back before they go to the file. */
const CHUNK_FRAMES = 8192
const MAX_U32 = 0xffff_ffff

/** The writer of `sent.bin`: hand it to engines as their record. */
export interface SentLog extends SendRecord {
  /** Streams in the file so far: what `appendSentLog` is told. */
  readonly streams: number
  /** Writes out what is held back; after it the file tells everything so far. */
  flush(): void
  close(): void
}

/** A new file; times in it count from `runStartNs`, which every stream must share. */
export function openSentLog(path: string, runStartNs: bigint): SentLog {
  const fd = openSync(path, 'wx')
  const head: SentHead = { schema: SENT_SCHEMA, runStartNs: String(runStartNs) }
  writeBlock(fd, BLOCK.head, jsonBytes(head))
  return sentLog(fd, runStartNs, 0)
}

/** Goes on with a file that holds `streams` streams and is closed: another process may have written them. */
export function appendSentLog(path: string, runStartNs: bigint, streams: number): SentLog {
  return sentLog(openSync(path, constants.O_WRONLY | constants.O_APPEND), runStartNs, streams)
}

function sentLog(fd: number, runStartNs: bigint, before: number): SentLog {
  const chunks: Chunk[] = []
  let closed = false
  const flush = (): void => {
    for (const chunk of chunks) chunk.flush()
  }
  return {
    get streams() {
      return before + chunks.length
    },
    stream(stream) {
      refuseOtherRun(stream, runStartNs)
      writeBlock(fd, BLOCK.stream, jsonBytes(streamHead(stream)))
      return before + chunks.push(new Chunk(fd, before + chunks.length)) - 1
    },
    frame(stream, sequence, variant, stampNs, lagNs) {
      chunks[stream - before]!.add(sequence, variant, stampNs, lagNs)
    },
    flush,
    close() {
      if (closed) return
      closed = true
      flush()
      closeSync(fd)
    },
  }
}

function refuseOtherRun(stream: CompiledStream, runStartNs: bigint): void {
  if (stream.runStartNs !== runStartNs) throw new RangeError(`stream ${stream.spec.name} counts from another run start`)
}

function jsonBytes(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

function writeBlock(fd: number, kind: number, content: Uint8Array): void {
  const block = Buffer.alloc(BLOCK_HEADER_BYTES + padded8(content.length))
  block.writeUInt32LE(kind, 0)
  block.writeUInt32LE(content.length, 4)
  block.set(content, BLOCK_HEADER_BYTES)
  for (let at = 0; at < block.length; ) at += writeSync(fd, block, at)
}

/** Frames of one stream with consecutive sequences, before they become a block. */
class Chunk {
  readonly #fd: number
  readonly #stream: number
  #capacity = 0
  #stampsNs = new Uint32Array(0)
  #lagsNs = new Uint32Array(0)
  #variants = new Uint16Array(0)
  #count = 0
  #firstSequence = 0
  #baseNs = 0

  constructor(fd: number, stream: number) {
    this.#fd = fd
    this.#stream = stream
  }

  add(sequence: number, variant: number, stampNs: number, lagNs: number): void {
    if (!this.#continues(sequence, stampNs)) this.flush()
    if (this.#count === this.#capacity) this.#grow()
    if (this.#count === 0) {
      this.#firstSequence = sequence
      this.#baseNs = stampNs
    }
    this.#stampsNs[this.#count] = stampNs - this.#baseNs
    this.#lagsNs[this.#count] = Math.min(lagNs, MAX_U32)
    this.#variants[this.#count++] = variant
  }

  #continues(sequence: number, stampNs: number): boolean {
    if (this.#count === 0 || this.#count === CHUNK_FRAMES) return this.#count === 0
    const next = this.#firstSequence + this.#count
    return sequence === next && stampNs >= this.#baseNs && stampNs - this.#baseNs <= MAX_U32
  }

  /** Thousands of streams may be open at once, most of them with a few frames. */
  #grow(): void {
    this.#capacity = Math.max(64, this.#capacity * 2)
    const old = { stampsNs: this.#stampsNs, lagsNs: this.#lagsNs, variants: this.#variants }
    this.#stampsNs = new Uint32Array(this.#capacity)
    this.#lagsNs = new Uint32Array(this.#capacity)
    this.#variants = new Uint16Array(this.#capacity)
    this.#stampsNs.set(old.stampsNs)
    this.#lagsNs.set(old.lagsNs)
    this.#variants.set(old.variants)
  }

  flush(): void {
    if (this.#count === 0) return
    const content = Buffer.alloc(FRAMES_HEAD.bytes + this.#count * BYTES_PER_FRAME)
    content.writeUInt32LE(this.#stream, FRAMES_HEAD.stream)
    content.writeUInt32LE(this.#firstSequence, FRAMES_HEAD.firstSequence)
    content.writeDoubleLE(this.#baseNs, FRAMES_HEAD.baseNs)
    content.writeUInt32LE(this.#count, FRAMES_HEAD.count)
    let at: number = FRAMES_HEAD.bytes
    for (const column of [this.#stampsNs, this.#lagsNs, this.#variants]) {
      const used = column.subarray(0, this.#count)
      content.set(new Uint8Array(used.buffer, used.byteOffset, used.byteLength), at)
      at += used.byteLength
    }
    writeBlock(this.#fd, BLOCK.frames, content)
    this.#count = 0
  }
}
