import type { Burst, Rate } from './stream-spec.ts'

/** Says when the next frame of a stream is due. Times are nanoseconds on any one clock. */
export interface Pacer {
  /** When the next frame may leave; not above now: it may leave at once. */
  dueNs(): number
  /** The frame that was due has been taken; `bytes` is its length without FCS. */
  took(bytes: number, nowNs: number): void
}

/** Later than this, the schedule moves instead of being caught up in one lump that no rate asked for. */
const MAX_LAG_NS = 5e6

/** A pacer whose first frame is due at `startNs`. */
export function createPacer(rate: Rate, burst: Burst | undefined, startNs: number): Pacer {
  const steady = rate === 'max' ? unpaced(startNs) : steadyPacer(intervalOf(rate), startNs)
  return burst ? burstPacer(burst, steady, startNs) : steady
}

function intervalOf(rate: Exclude<Rate, 'max'>): (bytes: number) => number {
  if ('pps' in rate) {
    const intervalNs = 1e9 / rate.pps
    return () => intervalNs
  }
  const nsPerByte = 8e9 / rate.bitsPerSecond
  return bytes => bytes * nsPerByte
}

function unpaced(startNs: number): Pacer {
  return { dueNs: () => startNs, took() {} }
}

function steadyPacer(intervalNs: (bytes: number) => number, startNs: number): Pacer {
  let due = startNs
  return {
    dueNs: () => due,
    took(bytes, nowNs) {
      due = Math.max(due, nowNs - MAX_LAG_NS) + intervalNs(bytes)
    },
  }
}

/** Back to back inside a burst; the next one starts `gapUs` after the last frame, and not before the rate allows it. */
function burstPacer(burst: Burst, steady: Pacer, startNs: number): Pacer {
  let left = burst.frames
  let notBefore = startNs
  return {
    dueNs: () => (left < burst.frames ? notBefore : Math.max(notBefore, steady.dueNs())),
    took(bytes, nowNs) {
      steady.took(bytes, nowNs)
      left--
      if (left > 0) return
      left = burst.frames
      notBefore = nowNs + burst.gapUs * 1000
    },
  }
}
