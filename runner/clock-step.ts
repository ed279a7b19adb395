import { realtimeNs } from '../generators/linux/libc.ts'

export interface Clocks {
  realtimeNs(): bigint
  monotonicNs(): bigint
}

const KERNEL: Clocks = { realtimeNs, monotonicNs: () => process.hrtime.bigint() }

const READINGS = 16
/** NTP turns both clocks alike; what is left is how closely two readings follow each other. */
const TOLERANCE_NS = 200_000n

/** CLOCK_REALTIME minus CLOCK_MONOTONIC, from the two readings that were least apart: it changes only when someone sets the clock. */
export function clockOffsetNs(clocks: Clocks = KERNEL): bigint {
  let best = { apartNs: -1n, offsetNs: 0n }
  for (let i = 0; i < READINGS; i++) {
    const beforeNs = clocks.monotonicNs()
    const realNs = clocks.realtimeNs()
    const apartNs = clocks.monotonicNs() - beforeNs
    if (best.apartNs < 0n || apartNs < best.apartNs) best = { apartNs, offsetNs: realNs - beforeNs - apartNs / 2n }
  }
  return best.offsetNs
}

/** By how much the clock was set between two offsets; 0n: it was not. */
export function clockStepNs(beforeNs: bigint, afterNs: bigint): bigint {
  const stepNs = afterNs - beforeNs
  return stepNs > TOLERANCE_NS || stepNs < -TOLERANCE_NS ? stepNs : 0n
}
