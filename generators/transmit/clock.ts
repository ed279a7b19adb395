import { realtimeNs } from '../linux/libc.ts'
import type { SendClock } from './loop.ts'

/** The last stretch before a frame is due is spun: timers and the event loop are not that exact. */
const SPIN_NS = 40_000
/** setTimeout may come a millisecond late, and rounds up to whole ones. */
const TIMER_NS = 2_500_000

/**
 * CLOCK_REALTIME since `startNs`. Every wait passes through the event loop at least once, so that captures and other senders of
 * the thread are served.
 */
export function realtimeClock(startNs: bigint): SendClock {
  const nowNs = () => Number(realtimeNs() - startNs)
  return {
    nowNs,
    async wait(untilNs) {
      await turn()
      for (let left = untilNs - nowNs(); left > SPIN_NS; left = untilNs - nowNs()) {
        if (left > TIMER_NS) await new Promise(resolve => setTimeout(resolve, Math.floor((left - TIMER_NS) / 1e6) + 1))
        else await turn()
      }
      while (nowNs() < untilNs);
    },
  }
}

function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}

/** A clock that waits for nobody: for engines that write files. `advance` is what sending would have taken. */
export function virtualClock(startNs: number): SendClock & { advance(ns: number): void } {
  let nowNs = startNs
  return {
    nowNs: () => nowNs,
    wait(untilNs) {
      nowNs = Math.max(nowNs, untilNs)
      return Promise.resolve()
    },
    advance(ns) {
      nowNs += ns
    },
  }
}
