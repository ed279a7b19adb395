import { Achieved } from '../achieved.ts'
import { createPacer, type Pacer } from '../pacer.ts'
import type { CompiledStream } from '../stream.ts'
import type { TemplateFrame, Variant } from '../template.ts'
import type { SendRecord, SentReport } from './engine.ts'

/** Nanoseconds since the run's start, and a way to wait for one. */
export interface SendClock {
  nowNs(): number
  /** Lets other work of the thread run, and comes back at `untilNs` or soon after. */
  wait(untilNs: number): Promise<void>
}

/** An engine's end of the loop: slots to fill, then all of them handed over. */
export interface Port {
  readonly capacity: number
  /** Puts the frame into slot `slot`; slots are filled from 0 up. */
  load(slot: number, stream: CompiledStream, frame: TemplateFrame, sequence: number, timeUs: number): void
  /** Hands over slots `from` to `count - 1` and says how many were taken; 0 = none now, try again. Throws on a real error. */
  send(from: number, count: number): number
}

/** Stamps and records of one call count from one moment; RangeError when the streams are of different runs. */
export function runStartOf(streams: readonly CompiledStream[]): bigint {
  const starts = new Set(streams.map(stream => stream.runStartNs))
  if (starts.size > 1) throw new RangeError('streams sent together must have the same run start')
  return streams[0]?.runStartNs ?? 0n
}

/** Frames of the datagram with the most fragments: no port may have fewer slots. */
export function mostFragments(streams: readonly CompiledStream[]): number {
  return streams.reduce((most, stream) => Math.max(most, ...stream.variants.map(variant => variant.length)), 1)
}

/** Sends the streams through the port, interleaved frame by frame; returns what was taken. */
export async function sendStreams(
  streams: readonly CompiledStream[],
  port: Port,
  clock: SendClock,
  record: SendRecord | undefined,
  stop: AbortSignal,
): Promise<SentReport[]> {
  if (port.capacity < mostFragments(streams))
    throw new RangeError('a datagram has more fragments than the port has slots')
  const startNs = clock.nowNs()
  const lanes = streams.map(stream => new Lane(stream, startNs, record))
  const batch = new Batch(port)
  while (!stop.aborted) {
    const nowNs = clock.nowNs()
    fillBatch(batch, lanes, nowNs)
    if (batch.count === 0) {
      const dueNs = Math.min(...lanes.map(lane => lane.dueNs(nowNs)))
      if (dueNs === Number.POSITIVE_INFINITY) break
      await clock.wait(dueNs)
    } else {
      await batch.handOver(clock, stop)
      await clock.wait(0)
    }
  }
  return lanes.map(lane => lane.report())
}

/** Takes one datagram from each lane in turn until none is due or the batch is full. */
function fillBatch(batch: Batch, lanes: readonly Lane[], nowNs: number): void {
  batch.begin(nowNs)
  let took = true
  while (took) {
    took = false
    for (const lane of lanes) {
      if (lane.dueNs(nowNs) > nowNs) continue
      const variant = lane.nextVariant()
      if (!batch.hasRoom(variant)) continue
      batch.add(lane, variant, nowNs)
      took = true
    }
  }
}

/** One stream under way. */
class Lane {
  readonly stream: CompiledStream
  readonly #pacer: Pacer
  readonly #endNs: number
  readonly #record: SendRecord | undefined
  readonly #recordNumber: number
  readonly #achieved = new Achieved()
  #next = 0

  constructor(stream: CompiledStream, startNs: number, record: SendRecord | undefined) {
    this.stream = stream
    this.#pacer = createPacer(stream.spec.rate, stream.spec.burst, startNs)
    this.#endNs = startNs + stream.durationNs
    this.#record = record
    this.#recordNumber = record?.stream(stream) ?? 0
  }

  /** Infinity when the stream is done. */
  dueNs(nowNs: number): number {
    if (this.#next >= this.stream.count || nowNs >= this.#endNs) return Number.POSITIVE_INFINITY
    const dueNs = this.#pacer.dueNs()
    return dueNs >= this.#endNs ? Number.POSITIVE_INFINITY : dueNs
  }

  nextVariant(): Variant {
    return this.stream.variants[this.stream.variantOf(this.#next)] ?? []
  }

  /** Index of the datagram taken. */
  take(variant: Variant, nowNs: number): number {
    for (let i = 0; i < variant.length; i++) this.#pacer.took(variant[i]!.bytes.length, nowNs)
    return this.#next++
  }

  /** Datagram `k` has left; the stamp says `stampNs`, the kernel took it at `tookNs`. */
  sent(k: number, stampNs: number, tookNs: number): void {
    const variant = this.stream.variantOf(k)
    this.#achieved.add(this.stream.variants[variant] ?? [], tookNs)
    const sequence = (this.stream.firstSequence + k) >>> 0
    this.#record?.frame(this.#recordNumber, sequence, variant, stampNs, tookNs - stampNs)
  }

  report(): SentReport {
    return this.#achieved.report(this.stream.spec.number, this.stream.spec.name)
  }
}

/** What goes out in one call of the port. */
class Batch {
  readonly #port: Port
  /** Of each slot: its lane, and the index of the datagram that is whole once this slot has left, or -1. */
  readonly #lanes: (Lane | undefined)[]
  readonly #completes: Float64Array
  #stampNs = 0
  count = 0

  constructor(port: Port) {
    this.#port = port
    this.#lanes = new Array<Lane | undefined>(port.capacity).fill(undefined)
    this.#completes = new Float64Array(port.capacity)
  }

  begin(nowNs: number): void {
    this.count = 0
    this.#stampNs = nowNs
  }

  hasRoom(variant: Variant): boolean {
    return this.count + variant.length <= this.#port.capacity
  }

  add(lane: Lane, variant: Variant, nowNs: number): void {
    const k = lane.take(variant, nowNs)
    const sequence = (lane.stream.firstSequence + k) >>> 0
    const timeUs = Math.floor(nowNs / 1000) >>> 0
    for (let i = 0; i < variant.length; i++) {
      this.#port.load(this.count, lane.stream, variant[i]!, sequence, timeUs)
      this.#lanes[this.count] = lane
      this.#completes[this.count++] = i === variant.length - 1 ? k : -1
    }
  }

  /** All of it, in as many calls as the kernel wants; what it refuses for want of room is offered again, later. */
  async handOver(clock: SendClock, stop: AbortSignal): Promise<void> {
    let done = 0
    let backoffNs = FIRST_BACKOFF_NS
    let beganNs = this.#stampNs
    while (done < this.count && !stop.aborted) {
      const taken = this.#port.send(done, this.count)
      const endedNs = clock.nowNs()
      this.#note(done, taken, beganNs, endedNs)
      done += taken
      if (taken > 0) backoffNs = FIRST_BACKOFF_NS
      else await clock.wait(endedNs + backoffNs)
      if (taken === 0) backoffNs = Math.min(backoffNs * 2, LAST_BACKOFF_NS)
      beganNs = clock.nowNs()
    }
  }

  /** The kernel takes the frames of one call one after the other: their times are spread evenly over it. */
  #note(from: number, taken: number, beganNs: number, endedNs: number): void {
    const stepNs = (endedNs - beganNs) / taken
    for (let i = 0; i < taken; i++) {
      const k = this.#completes[from + i]!
      if (k >= 0) this.#lanes[from + i]!.sent(k, this.#stampNs, beganNs + Math.round(stepNs * i))
    }
  }
}

const FIRST_BACKOFF_NS = 50_000
const LAST_BACKOFF_NS = 2_000_000
