import type { GapsUs } from '../gaps.ts'
import type { CompiledStream } from '../stream.ts'

/** What one stream achieved, by the frames the kernel took. */
export interface SentReport {
  number: number
  name: string
  /** Sequence numbers that left whole; a datagram's fragments count once. */
  count: number
  /** Ethernet frames and their bytes without FCS. */
  frames: number
  bytes: number
  /** Nanoseconds since the run's start; 0 when nothing left. */
  firstNs: number
  lastNs: number
  pps: number
  bitsPerSecond: number
  gapsUs: GapsUs | undefined
}

/** Sends streams through one interface. Several `send` calls may be under way in one thread. */
export interface Engine {
  /**
   * Sends all streams interleaved, each at its own pace, until each is done or `stop` is aborted; an abort is no error,
   * the reports say how far it came. Between batches it awaits, so that captures are drained.
   */
  send(streams: readonly CompiledStream[], stop: AbortSignal): Promise<SentReport[]>
  close(): void
}

/** Where an engine writes down what the kernel took. */
export interface SendRecord {
  /** Called once for each stream before its first frame; the number is used in `frame`. */
  stream(stream: CompiledStream): number
  /**
   * One sequence number has left whole. `stampNs` is the time its stamp carries, `lagNs` how much later the kernel took
   * it; both since the run's start.
   */
  frame(stream: number, sequence: number, variant: number, stampNs: number, lagNs: number): void
}
