import type { Bound } from '../suite/expectations.ts'
import type { Seen } from './check.ts'

/** Figures of a set of times in microseconds, named `<name>UsMin`, …; empty for an empty set. */
export function figures(name: string, us: Float64Array): Record<string, number> {
  if (us.length === 0) return {}
  const sorted = us.slice().sort()
  const at = (share: number) => round(sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? 0)
  return {
    [`${name}UsMin`]: round(sorted[0] ?? 0),
    [`${name}UsP50`]: at(0.5),
    [`${name}UsP99`]: at(0.99),
    [`${name}UsMax`]: round(sorted.at(-1) ?? 0),
  }
}

/** Why times cannot be trusted: CLOCK_REALTIME was set while the case ran. */
export function clockFault(seen: Seen): string | undefined {
  const step = seen.observations.find(o => o.kind === 'clock' && o.stepNs !== '0')
  return step?.kind === 'clock' ? `the clock was stepped by ${step.stepNs} ns` : undefined
}

/**
 * Undefined when within the bound, or when bounds do not count (ARCHITECTURE section 3: only under `--profile timing`). A time
 * between two clocks is over it only by more than they may be off.
 */
export function overBound(bound: Bound, us: number, clockErrorNs: number): string | undefined {
  if (!bound.enforced || bound.maxMs === undefined || us - clockErrorNs / 1000 <= bound.maxMs * 1000) return undefined
  return `expected at most ${bound.maxMs} ms, saw ${(us / 1000).toFixed(3)}${clockErrorText(clockErrorNs)} ms`
}

/** Between figure and unit; nothing where one clock measured. */
function clockErrorText(clockErrorNs: number): string {
  return clockErrorNs === 0 ? '' : ` +- ${(clockErrorNs / 1e6).toFixed(3)}`
}

/** How far a figure may be off, beside it in the measurements; empty where one clock measured. */
export function clockErrorFigure(name: string, clockErrorNs: number): Record<string, number> {
  return clockErrorNs === 0 ? {} : { [`${name}ClockErrorUs`]: round(clockErrorNs / 1000) }
}

function round(us: number): number {
  return Math.round(us * 1000) / 1000
}
