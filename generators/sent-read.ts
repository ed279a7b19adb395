import { readFileSync } from 'node:fs'
import { Achieved } from './achieved.ts'
import {
  BLOCK,
  BLOCK_HEADER_BYTES,
  BYTES_PER_FRAME,
  FRAMES_HEAD,
  padded8,
  SENT_SCHEMA,
  type SentHead,
  type SentStreamHead,
  variantsOf,
} from './sent-format.ts'
import { rebuildFrames, type Variant } from './template.ts'
import type { SentReport } from './transmit/engine.ts'

/** One stream of a `sent.bin`; k counts sequences from 0 in the order they left. */
export interface SentStreamLog extends SentStreamHead {
  readonly count: number
  /** Sequence number of k. */
  sequence(k: number): number
  variant(k: number): number
  /** When the kernel took it, ns since the log's `baseNs`; evenly spread within one call. */
  timeNs(k: number): number
  /** The bytes that left, fragments in the order sent. */
  frames(k: number): Uint8Array[]
  /** Rate and gaps achieved, from the times above. */
  report(): SentReport
}

export interface SentFile {
  /** CLOCK_REALTIME that times count from. */
  readonly baseNs: bigint
  readonly streams: readonly SentStreamLog[]
  byNumber(number: number): SentStreamLog | undefined
  /** What could not be read: a block that the file's end cuts, one that makes no sense. */
  readonly problems: readonly string[]
}

/**
 * Reads a `sent.bin`, also one that is still being written or was cut. The columns stay in the file's buffer: ten bytes a
 * frame. `baseNs` moves the origin of times, for example to a recording's. RangeError when it is no such file.
 */
export function readSent(from: string | Uint8Array, baseNs?: bigint): SentFile {
  const file = aligned(typeof from === 'string' ? readFileSync(from) : from)
  const { head, streams, problems } = readBlocks(file)
  const runStartNs = BigInt(head.runStartNs)
  const originNs = baseNs ?? runStartNs
  const shiftNs = Number(runStartNs - originNs)
  const logs = streams.map(stream => streamLog(stream, shiftNs))
  const numbers = new Map(logs.map(log => [log.number, log]))
  return { baseNs: originNs, streams: logs, problems, byNumber: number => numbers.get(number) }
}

/** Columns are read in place, which wants the buffer on an 8-byte boundary. */
function aligned(bytes: Uint8Array): Buffer {
  const whole = bytes.byteOffset % 8 === 0 ? bytes : Uint8Array.from(bytes)
  return Buffer.from(whole.buffer, whole.byteOffset, whole.byteLength)
}

interface ReadStream {
  head: SentStreamHead
  chunks: FrameChunk[]
}

interface FrameChunk {
  /** Index of its first frame within the stream. */
  k: number
  count: number
  firstSequence: number
  baseNs: number
  stampsNs: Uint32Array
  lagsNs: Uint32Array
  variants: Uint16Array
}

function readBlocks(file: Buffer): { head: SentHead; streams: ReadStream[]; problems: string[] } {
  const problems: string[] = []
  const streams: ReadStream[] = []
  const head = readHead(file)
  let at = BLOCK_HEADER_BYTES + padded8(file.readUInt32LE(4))
  while (at < file.length) {
    const contentAt = at + BLOCK_HEADER_BYTES
    const end = contentAt > file.length ? Number.POSITIVE_INFINITY : contentAt + file.readUInt32LE(at + 4)
    if (end > file.length) {
      problems.push(`sent log: cut inside the block at byte ${at}; what follows it is missing`)
      break
    }
    const trouble = readBlock(file.readUInt32LE(at), file, contentAt, end, streams)
    if (trouble) problems.push(`sent log: block at byte ${at}: ${trouble}`)
    at = contentAt + padded8(end - contentAt)
  }
  return { head, streams, problems }
}

function readHead(file: Buffer): SentHead {
  const length = file.length < BLOCK_HEADER_BYTES || file.readUInt32LE(0) !== BLOCK.head ? -1 : file.readUInt32LE(4)
  if (length < 0 || BLOCK_HEADER_BYTES + length > file.length)
    throw new RangeError('not a sent log: its head is missing')
  const head = parseJson<SentHead>(file.toString('utf8', BLOCK_HEADER_BYTES, BLOCK_HEADER_BYTES + length))
  if (head?.schema !== SENT_SCHEMA)
    throw new RangeError(`sent log of schema ${head?.schema}, this reads ${SENT_SCHEMA}`)
  return head
}

function parseJson<T>(text: string): T | undefined {
  try {
    return JSON.parse(text) as T
  } catch {
    return undefined
  }
}

/** What is wrong with the block, if anything. */
function readBlock(kind: number, file: Buffer, at: number, end: number, streams: ReadStream[]): string | undefined {
  if (kind === BLOCK.stream) {
    const head = parseJson<SentStreamHead>(file.toString('utf8', at, end))
    if (!head) return 'a stream whose head is not JSON'
    streams.push({ head, chunks: [] })
  } else if (kind === BLOCK.frames) {
    if (end - at < FRAMES_HEAD.bytes) return 'too short for its head'
    const count = file.readUInt32LE(at + FRAMES_HEAD.count)
    if (end - at < FRAMES_HEAD.bytes + count * BYTES_PER_FRAME) return `too short for ${count} frames`
    const stream = streams[file.readUInt32LE(at + FRAMES_HEAD.stream)]
    if (!stream) return 'frames of a stream that the log does not have'
    stream.chunks.push(frameChunk(file, at, count, stream.chunks.at(-1)))
  }
  return undefined
}

function frameChunk(file: Buffer, at: number, count: number, previous: FrameChunk | undefined): FrameChunk {
  const columnsAt = file.byteOffset + at + FRAMES_HEAD.bytes
  return {
    k: previous ? previous.k + previous.count : 0,
    count,
    firstSequence: file.readUInt32LE(at + FRAMES_HEAD.firstSequence),
    baseNs: file.readDoubleLE(at + FRAMES_HEAD.baseNs),
    stampsNs: new Uint32Array(file.buffer, columnsAt, count),
    lagsNs: new Uint32Array(file.buffer, columnsAt + 4 * count, count),
    variants: new Uint16Array(file.buffer, columnsAt + 8 * count, count),
  }
}

function streamLog({ head, chunks }: ReadStream, shiftNs: number): SentStreamLog {
  const last = chunks.at(-1)
  const count = last ? last.k + last.count : 0
  const variants: Variant[] = variantsOf(head)
  const chunkOf = chunkFinder(head.name, chunks, count)
  const log: SentStreamLog = {
    ...head,
    count,
    sequence(k) {
      const chunk = chunkOf(k)
      return (chunk.firstSequence + (k - chunk.k)) >>> 0
    },
    variant: k => chunkOf(k).variants[k - chunkOf(k).k]!,
    timeNs(k) {
      const chunk = chunkOf(k)
      const i = k - chunk.k
      return chunk.baseNs + chunk.stampsNs[i]! + chunk.lagsNs[i]! + shiftNs
    },
    frames(k) {
      const chunk = chunkOf(k)
      const timeUs = Math.floor((chunk.baseNs + chunk.stampsNs[k - chunk.k]!) / 1000) >>> 0
      return rebuildFrames(variants[log.variant(k)] ?? [], head.slots, log.sequence(k), timeUs)
    },
    report: () => reportOf(log, variants),
  }
  return log
}

/** Remembers the chunk of the last call: most callers go forward. */
function chunkFinder(name: string, chunks: FrameChunk[], count: number): (k: number) => FrameChunk {
  let current = chunks[0]
  return k => {
    if (current && k >= current.k && k < current.k + current.count) return current
    if (!(k >= 0 && k < count)) throw new RangeError(`stream ${name} sent ${count} frames, there is no index ${k}`)
    let [low, high] = [0, chunks.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (chunks[middle]!.k <= k) low = middle
      else high = middle - 1
    }
    current = chunks[low]!
    return current
  }
}

function reportOf(log: SentStreamLog, variants: Variant[]): SentReport {
  const achieved = new Achieved()
  for (let k = 0; k < log.count; k++) achieved.add(variants[log.variant(k)] ?? [], log.timeNs(k))
  return achieved.report(log.number, log.name)
}
