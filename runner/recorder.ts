import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { realtimeNs } from '../generators/linux/libc.ts'
import type { SentLog } from '../generators/sent.ts'
import type { Fact } from './observation.ts'
import type { FrameWanted, SiteTap } from './target/site-tap.ts'

const PUMP_INTERVAL_MS = 2

/** Who an observation is of: a case's attempt, or (neither given) the whole stage. */
export interface Subject {
  case?: string
  attempt?: number
}

/**
 * Everything a stage leaves for the judge: taps drained into files, observations, the log of what was sent. Waiting
 * for a condition is waiting for the next drain that makes it true.
 */
export class Recorder {
  readonly sent: SentLog
  private readonly stage: string
  private readonly observationsPath: string
  private readonly streams: StreamNumbers
  private taps: readonly SiteTap[] = []
  private timer: NodeJS.Timeout | undefined
  private stopped: Promise<TapFile[]> | undefined
  private readonly waiting = new Set<Waiter>()

  constructor(directory: string, stage: string, sent: SentLog, streams: StreamNumbers) {
    this.sent = sent
    this.stage = stage
    this.streams = streams
    this.observationsPath = join(directory, 'observations.jsonl')
  }

  start(taps: readonly SiteTap[]): void {
    this.taps = taps
    this.schedule()
  }

  observe(fact: Fact, subject: Subject = {}): void {
    const observation = { tNs: String(realtimeNs()), stage: this.stage, ...subject, ...fact }
    appendFileSync(this.observationsPath, `${JSON.stringify(observation)}\n`)
  }

  nextStreamNumber(): number {
    return this.streams.next()
  }

  /** Frames of a stream that came in at a tap so far. */
  seen(stream: number, tapName: string, direction: number): number {
    for (const tap of this.taps) {
      const count = tap.seen(stream, tapName, direction)
      if (count > 0) return count
    }
    return 0
  }

  /** Counts, from now on, frames at a tap that are wanted. */
  count(tapName: string, direction: number, wanted: FrameWanted): () => number {
    const counts = this.taps.map(tap => tap.count(tapName, direction, wanted))
    return () => counts.reduce((sum, count) => sum + count(), 0)
  }

  /**
   * Resolves true as soon as the condition holds after a drain, false at the time limit; rejects when stopped. A condition that
   * has to ask first is asked again when its answer is here.
   */
  async until(condition: Condition, timeoutMs: number, stop: AbortSignal): Promise<boolean> {
    stop.throwIfAborted()
    if (await condition()) return true
    stop.throwIfAborted()
    return new Promise<boolean>((resolve, reject) => {
      const waiter: Waiter = { condition, deadlineMs: performance.now() + timeoutMs, settle: resolve, fail: reject }
      const onAbort = () => this.finish(waiter, () => reject(stop.reason))
      waiter.cleanUp = () => stop.removeEventListener('abort', onAbort)
      stop.addEventListener('abort', onAbort, { once: true })
      this.waiting.add(waiter)
    })
  }

  /** Lets taps record for this long: for what may still come after the last fence. */
  async linger(ms: number, stop: AbortSignal): Promise<void> {
    await this.until(() => false, ms, stop)
  }

  private schedule(): void {
    this.timer = setTimeout(() => {
      this.pump()
      this.schedule()
    }, PUMP_INTERVAL_MS)
  }

  private pump(): void {
    for (const tap of this.taps) tap.drain()
    const nowMs = performance.now()
    for (const waiter of this.waiting) this.check(waiter, nowMs)
  }

  private check(waiter: Waiter, nowMs: number): void {
    try {
      const held = waiter.asking ? false : waiter.condition()
      if (held === true) this.finish(waiter, () => waiter.settle(true))
      else if (nowMs >= waiter.deadlineMs) this.finish(waiter, () => waiter.settle(false))
      else if (held !== false) this.ask(waiter, held)
    } catch (error) {
      this.finish(waiter, () => waiter.fail(error))
    }
  }

  private ask(waiter: Waiter, answer: Promise<boolean>): void {
    waiter.asking = true
    answer.then(
      held => {
        waiter.asking = false
        if (held) this.finish(waiter, () => waiter.settle(true))
      },
      (error: unknown) => this.finish(waiter, () => waiter.fail(error)),
    )
  }

  private finish(waiter: Waiter, settle: () => void): void {
    this.waiting.delete(waiter)
    waiter.cleanUp?.()
    settle()
  }

  /** Ends the taps; their own drop counters become observations. Safe to call twice. */
  async stop(): Promise<TapFile[]> {
    clearTimeout(this.timer)
    this.stopped ??= Promise.all(this.taps.map(tap => this.stopTap(tap)))
    return this.stopped
  }

  private async stopTap(tap: SiteTap): Promise<TapFile> {
    const { received, dropped, interfaces } = await tap.close()
    if (received !== undefined && dropped !== undefined)
      this.observe({ kind: 'tap', file: tap.file, received, dropped })
    return { file: tap.file, interfaces, ...(tap.clock === undefined ? {} : { clock: tap.clock }) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

export interface TapFile {
  file: string
  interfaces: string[]
  clock?: string
}

type Condition = () => boolean | Promise<boolean>

interface Waiter {
  condition: Condition
  asking?: boolean
  deadlineMs: number
  settle: (held: boolean) => void
  fail: (error: unknown) => void
  cleanUp?: () => void
}

/** Stream numbers are unique in a run: u24, never zero. */
export class StreamNumbers {
  last: number

  constructor(last = 0) {
    this.last = last
  }

  next(): number {
    if (this.last === 0xffffff) throw new RangeError('a run has at most 16777215 streams')
    this.last += 1
    return this.last
  }
}
