import type { Amount } from '../suite/expectations.ts'

export function within(amount: Amount, n: number): boolean {
  if (typeof amount === 'number') return n === amount
  return n >= (amount.atLeast ?? -Infinity) && n <= (amount.atMost ?? Infinity)
}

export function amountText(amount: Amount): string {
  if (typeof amount === 'number') return String(amount)
  const { atLeast, atMost } = amount
  if (atLeast !== undefined && atMost !== undefined) return `${atLeast} to ${atMost}`
  return atLeast !== undefined ? `at least ${atLeast}` : `at most ${atMost ?? 'any number'}`
}

/** More than this is wrong; infinite when there is no upper bound. */
export function upper(amount: Amount): number {
  return typeof amount === 'number' ? amount : (amount.atMost ?? Infinity)
}
