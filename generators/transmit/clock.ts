import { libcFunction, realtimeNs, SyscallError } from '../linux/libc.ts'
import type { SendClock } from './loop.ts'

const usleep = libcFunction<[microseconds: number]>('int usleep(uint32_t microseconds)')

/** The last stretch before a frame is due is spun: neither timers nor the event loop are that exact. */
const SPIN_NS = 40_000
/** setTimeout may come a millisecond late, and rounds up to whole ones. */
const TIMER_NS = 2_500_000
/** A sleep comes about 60 µs late (timer slack), and holds up the thread's other work: short, and not too close. */
const SLEEP_MARGIN_NS = 150_000
const LONGEST_SLEEP_NS = 300_000

/**
 * CLOCK_REALTIME since `startNs`. Every wait passes through the event loop at least once, so that captures and other senders of
 * the thread are served.
 */
export function realtimeClock(startNs: bigint): SendClock {
  const shiftNs = Number(startNs - EPOCH_NS)
  return {
    nowNs: () => sinceEpochNs() - shiftNs,
    wait: untilNs => waitUntil(untilNs + shiftNs),
  }
}

// Small enough for a double to hold nanoseconds exactly.
const EPOCH_NS = realtimeNs()
const sinceEpochNs = (): number => Number(realtimeNs() - EPOCH_NS)

interface Waiter {
  untilNs: number
  resolve: () => void
}

/** Everybody who waits in this thread: one sleeps for all, or a hundred paced senders would each hold up the others. */
const waiters = new Set<Waiter>()
let isPumping = false
let endTimer: (() => void) | undefined

function waitUntil(untilNs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    waiters.add({ untilNs, resolve })
    endTimer?.()
    if (!isPumping) pump().catch(reject)
  })
}

/** Sleeping beats spinning on a busy machine too: the scheduler prefers who asks for little. */
async function pump(): Promise<void> {
  isPumping = true
  try {
    while (waiters.size > 0) {
      await turn()
      if (resolveDue()) continue
      const leftNs = earliestNs() - sinceEpochNs()
      if (leftNs > TIMER_NS) await timer(leftNs - TIMER_NS)
      else if (leftNs > SLEEP_MARGIN_NS) sleep(Math.min(leftNs - SLEEP_MARGIN_NS, LONGEST_SLEEP_NS))
      else if (leftNs < SPIN_NS) spinUntil(earliestNs())
    }
  } finally {
    isPumping = false
  }
}

/** False when nobody was due. */
function resolveDue(): boolean {
  const nowNs = sinceEpochNs()
  let any = false
  for (const waiter of waiters) {
    if (waiter.untilNs > nowNs) continue
    waiters.delete(waiter)
    waiter.resolve()
    any = true
  }
  return any
}

function earliestNs(): number {
  let earliest = Number.POSITIVE_INFINITY
  for (const { untilNs } of waiters) earliest = Math.min(earliest, untilNs)
  return earliest
}

function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}

/** Ends early when somebody new waits. */
function timer(ns: number): Promise<void> {
  return new Promise(resolve => {
    const handle = setTimeout(() => endTimer?.(), Math.ceil(ns / 1e6))
    endTimer = () => {
      clearTimeout(handle)
      endTimer = undefined
      resolve()
    }
  })
}

function sleep(ns: number): void {
  try {
    usleep(Math.floor(ns / 1000))
  } catch (error) {
    if (!(error instanceof SyscallError && error.code === 'EINTR')) throw error
  }
}

function spinUntil(ns: number): void {
  while (sinceEpochNs() < ns);
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
