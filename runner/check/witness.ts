import type { Seen } from './check.ts'

/** A kernel counter that says frames were lost during the case (ARCHITECTURE section 3: who lost it). */
export interface Loss {
  counter: string
  frames: number
}

const LOSS_COUNTER = /drop|discard|overflow|overrun|missed|no_?buf|lost|fifo/i

/** Counters of loss that grew during the case and are of the path's taps, or of the machine as a whole. */
export function lossesOn(seen: Seen, path: readonly string[]): Loss[] {
  const start = counters(seen, 'start')
  const end = counters(seen, 'end')
  if (!start || !end) return []
  return Object.entries(end)
    .map(([counter, value]) => ({ counter, frames: value - (start[counter] ?? 0) }))
    .filter(({ counter, frames }) => frames > 0 && LOSS_COUNTER.test(counter) && concerns(seen, counter, path))
}

export function lossText(losses: readonly Loss[]): string {
  return losses.map(({ counter, frames }) => `${counter} +${frames}`).join(', ')
}

/** The first sample of the start, the last of the end. */
function counters(seen: Seen, phase: 'start' | 'end'): Record<string, number> | undefined {
  const samples = seen.observations.flatMap(o => (o.kind === 'witness' && o.phase === phase ? [o.counters] : []))
  return phase === 'start' ? samples[0] : samples.at(-1)
}

/** A counter that names a tap is of that tap only; the longest name counts, since `n1/eth0` is part of `xn1/eth0`. */
function concerns(seen: Seen, counter: string, path: readonly string[]): boolean {
  const named = seen.recording.taps.map(tap => tap.name).filter(name => counter.includes(name))
  const longest = named.reduce((a, b) => (b.length > a.length ? b : a), '')
  return longest === '' || path.includes(longest)
}
