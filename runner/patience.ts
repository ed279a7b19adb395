/** How long a case waits for packets that a right SUT delivers at once. What does not come is the judge's business. */
export interface Patience {
  /** Until every pod of a `delivered` got a probe. */
  primeMs: number
  /** Until fences, echoes and controls are there. */
  arrivalMs: number
  /** Most that `wait` takes, whatever the suite allows, for what depends on the SUT and on no timer of a protocol. */
  waitMs?: number
  /** How many times slower than a real machine this one is taken to be: the suites' own limits are stretched by it. */
  slowness: number
}

export const PATIENT: Patience = { primeMs: 2000, arrivalMs: 1000, slowness: 1 }

/** Elsewhere it takes an API server, or somebody's commands, until nodes know of each other's members: slow is no fault by itself. */
const ELSEWHERE_SLOWNESS = 5

export function elsewhere(patience: Patience): Patience {
  return { ...patience, primeMs: patience.primeMs * ELSEWHERE_SLOWNESS }
}

/** Inside an emulated machine nothing may depend on speed. */
const EMULATED_SLOWNESS = 10

export function inEmulation({ primeMs, arrivalMs, waitMs }: Patience): Patience {
  const times = (ms: number): number => ms * EMULATED_SLOWNESS
  return {
    primeMs: times(primeMs),
    arrivalMs: times(arrivalMs),
    ...(waitMs === undefined ? {} : { waitMs: times(waitMs) }),
    slowness: EMULATED_SLOWNESS,
  }
}
