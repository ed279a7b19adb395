/** How long a case waits for packets that a right SUT delivers at once. What does not come is the judge's business. */
export interface Patience {
  /** Until every pod of a `delivered` got a probe. */
  primeMs: number
  /** Until fences, echoes and controls are there. */
  arrivalMs: number
  /** Most that `wait` takes, whatever the suite allows, for what depends on the SUT and on no timer of a protocol. */
  waitMs: number
}

export const PATIENT: Patience = { primeMs: 2000, arrivalMs: 1000, waitMs: Number.POSITIVE_INFINITY }
