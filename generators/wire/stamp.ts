import { fold16, sum16 } from './checksum.ts'
import { header, readU16, u16, u24, u32 } from './field.ts'

/**
 * What makes a frame known: 18 bytes at the start of the innermost UDP payload, so that it fits a 60-byte frame.
 * `check` makes the ones-complement sum of the 18 bytes 0xffff, which is zero in ones-complement arithmetic: patching a stamp at an
 * even offset never changes the UDP checksum around it (RFC 1071 §1).
 */
export const stamp = header('stamp', 18, {
  magic: u16(0),
  run: u24(2),
  stream: u24(5),
  sequence: u32(8),
  /** Hand-over time in microseconds since the run's start, modulo 2^32. */
  timeUs: u32(12),
  check: u16(16),
})

export const STAMP_MAGIC = 0xca57

export interface StampFields {
  run: number
  stream: number
  sequence: number
  timeUs: number
}

/** Whether a whole, right stamp starts at `at`. Allocates nothing; one random frame in 2^32 passes. */
export function isStamp(frame: Uint8Array, at: number, end: number): boolean {
  if (at + stamp.length > end || end > frame.length) return false
  return readU16(frame, at) === STAMP_MAGIC && sum16(frame, at, at + stamp.length) === 0xffff
}

export function stampRun(frame: Uint8Array, at: number): number {
  return stamp.fields.run.get(frame, at)
}

export function stampStream(frame: Uint8Array, at: number): number {
  return stamp.fields.stream.get(frame, at)
}

export function stampSequence(frame: Uint8Array, at: number): number {
  return stamp.fields.sequence.get(frame, at)
}

export function stampTimeUs(frame: Uint8Array, at: number): number {
  return stamp.fields.timeUs.get(frame, at)
}

/** The stamp as an object, or undefined; not for a packet loop. */
export function readStamp(frame: Uint8Array, at: number, end: number): StampFields | undefined {
  if (!isStamp(frame, at, end)) return undefined
  return {
    run: stampRun(frame, at),
    stream: stampStream(frame, at),
    sequence: stampSequence(frame, at),
    timeUs: stampTimeUs(frame, at),
  }
}

export function writeStamp(frame: Uint8Array, at: number, fields: StampFields): void {
  stamp.fields.magic.set(frame, at, STAMP_MAGIC)
  stamp.fields.run.set(frame, at, fields.run)
  stamp.fields.stream.set(frame, at, fields.stream)
  patchStamp(frame, at, stampBase(fields.run, fields.stream), fields.sequence, fields.timeUs)
}

/** The part of a stamp's sum that stays the same within a stream; for `patchStamp`. */
export function stampBase(run: number, stream: number): number {
  const words = STAMP_MAGIC + (run >>> 8) + ((run & 0xff) << 8) + (stream >>> 16) + (stream & 0xffff)
  return fold16(words)
}

/** Sequence, time and check in place; everything else, UDP checksum included, stays as it is. */
export function patchStamp(frame: Uint8Array, at: number, base: number, sequence: number, timeUs: number): void {
  stamp.fields.sequence.set(frame, at, sequence)
  stamp.fields.timeUs.set(frame, at, timeUs)
  const sum = base + (sequence >>> 16) + (sequence & 0xffff) + (timeUs >>> 16) + (timeUs & 0xffff)
  stamp.fields.check.set(frame, at, ~fold16(sum) & 0xffff)
}
