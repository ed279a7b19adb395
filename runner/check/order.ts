import { DIRECTION } from '../../captures/record.ts'
import type { OrderWant } from '../suite/expectations.ts'
import type { Check, Seen, Sent, Verdict } from './check.ts'
import { sightingsIn } from './copies.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { tapFault } from './places.ts'
import { controlState } from './proof.ts'
import { counted, ranges } from './ranges.ts'
import { eachPair, type Pair } from './receivers.ts'

/**
 * Arrival order against sending order, sender by sender, by the sequence of the stamp. A frame is reordered when its
 * sequence is below one that came before it (RFC 4737 §3.3); its extent is the distance to the earliest such (§4.2.1).
 */
export const order: Check<OrderWant> = {
  name: 'order',
  about: 'sequences of each sender arrive at each pod in the order in which they were sent',
  judge(want, sent, seen): Verdict {
    const all: Reordering = { frames: [], extent: 0, arrived: 0 }
    const findings = eachPair(want, want.at, sent, seen, pair => atPod(pair, sent, seen, all))
    const verdict = conclude(findings, `frames of ${want.stream} in order at ${counted(want.at.length, 'pod')}`)
    return { ...verdict, measurements: { reordered: all.frames.length, reorderingExtent: all.extent } }
  },
}

interface Reordering {
  /** Ledger indices of frames that came after a later one. */
  frames: number[]
  extent: number
  arrived: number
}

const SHOWN = 3

function atPod({ selection, pod }: Pair, sent: Sent, seen: Seen, all: Reordering): Finding {
  const { stream } = selection
  const sightings = sightingsIn(seen, selection, seen.tapIndex(pod.podTap), DIRECTION.in)
  const found = reordering(seen, sightings)
  all.frames.push(...found.frames)
  all.extent = Math.max(all.extent, found.extent)
  if (found.arrived === 0) return inconclusive(`no frame of ${stream.name} came to ${pod.name}: no order to judge`)
  if (found.frames.length === 0) {
    const doubt = tapFault(seen, [pod.podTap])
    return doubt ? inconclusive(`order of ${stream.name} at ${pod.name}: ${doubt}`) : pass()
  }
  const sequences = found.frames.map(i => seen.ledger.sequence(i)).sort((a, b) => a - b)
  const message = `expected frames of ${stream.name} in order at ${pod.name}, saw ${found.frames.length} of ${found.arrived} late (${ranges(sequences)}), extent ${found.extent}`
  const frames = found.frames.slice(0, SHOWN).map(i => ({
    frame: seen.ledger.frame(i),
    note: `${stream.name} ${seen.ledger.sequence(i)} came to ${pod.podTap} after a later one`,
  }))
  if (controlState(seen, sent, stream, pod) === 'lost')
    return { ...inconclusive(`${message}; path broken: unicast control lost too`), frames }
  return { status: 'fail', message, frames }
}

/** First copies only, so that a duplicate is not called reordering; of fragments the heads. */
function reordering(seen: Seen, sightings: Iterable<number>): Reordering {
  const { ledger } = seen
  const known = new Set<number>()
  const highest: number[] = []
  const found: Reordering = { frames: [], extent: 0, arrived: 0 }
  for (const i of sightings) {
    const sequence = ledger.sequence(i)
    if (ledger.fragmentOffset(i) !== 0 || known.has(sequence)) continue
    known.add(sequence)
    const top = highest.at(-1) ?? -1
    if (sequence < top) {
      found.frames.push(i)
      found.extent = Math.max(found.extent, found.arrived - firstAbove(highest, sequence))
    }
    highest.push(Math.max(top, sequence))
    found.arrived++
  }
  return found
}

/** Position of the earliest arrival with a higher sequence; `highest` never falls, so a binary search finds it. */
function firstAbove(highest: readonly number[], sequence: number): number {
  let low = 0
  let high = highest.length - 1
  while (low < high) {
    const middle = (low + high) >>> 1
    if (highest[middle]! > sequence) high = middle
    else low = middle + 1
  }
  return low
}
