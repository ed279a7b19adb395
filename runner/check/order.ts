import { DIRECTION } from '../../captures/record.ts'
import type { OrderWant } from '../suite/expectations.ts'
import type { Check, Seen, Sent, Verdict } from './check.ts'
import { sightingsIn } from './copies.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { controlState, unsettled } from './proof.ts'
import { counted, ranges } from './ranges.ts'
import { eachPair, type Pair } from './receivers.ts'
import type { Selection } from './window.ts'

/**
 * Arrival order against sending order, sender by sender, by the sequence of the stamp. A frame is reordered when its
 * sequence is below one that came before it (RFC 4737 §3.3); its extent is the distance to the earliest such (§4.2.1).
 */
export const order: Check<OrderWant> = {
  name: 'order',
  about: 'sequences of each sender arrive at each pod in the order in which they were sent',
  judge(want, sent, seen): Verdict {
    const all = { reordered: 0, extent: 0 }
    const findings = eachPair(want, want.at, sent, seen, pair => atPod(pair, sent, seen, all))
    const verdict = conclude(findings, `frames of ${want.stream} in order at ${counted(want.at.length, 'pod')}`)
    return { ...verdict, measurements: { reordered: all.reordered, reorderingExtent: all.extent } }
  },
}

interface Reordering {
  /** Ledger indices of frames that came after a later one. */
  frames: number[]
  extent: number
  arrived: number
}

const SHOWN = 3

function atPod({ selection, pod }: Pair, sent: Sent, seen: Seen, all: { reordered: number; extent: number }): Finding {
  const { stream } = selection
  const sightings = sightingsIn(seen, selection, seen.tapIndex(pod.podTap), DIRECTION.in)
  const found = reordering(seen, selection, sightings)
  all.reordered += found.frames.length
  all.extent = Math.max(all.extent, found.extent)
  if (found.arrived === 0) return inconclusive(`no frame of ${stream.name} came to ${pod.name}: no order to judge`)
  if (found.frames.length === 0) {
    const doubt = unsettled(seen, sent, selection, pod)
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
function reordering(seen: Seen, selection: Selection, sightings: Iterable<number>): Reordering {
  const { ledger } = seen
  const firstSequence = (selection.stream.spec.firstSequence ?? 0) + selection.from
  const known = new Uint8Array(selection.to - selection.from)
  const highest = new Uint32Array(selection.to - selection.from)
  const found: Reordering = { frames: [], extent: 0, arrived: 0 }
  let top = 0
  for (const i of sightings) {
    const k = ledger.sequence(i) - firstSequence
    if (ledger.fragmentOffset(i) !== 0 || known[k] === 1) continue
    known[k] = 1
    if (k < top) {
      found.frames.push(i)
      found.extent = Math.max(found.extent, found.arrived - firstAbove(highest, found.arrived, k))
    } else top = k
    highest[found.arrived++] = top
  }
  return found
}

/** Position of the earliest arrival with a higher sequence; `highest` never falls, so a binary search finds it. */
function firstAbove(highest: Uint32Array, arrived: number, k: number): number {
  let low = 0
  let high = arrived - 1
  while (low < high) {
    const middle = (low + high) >>> 1
    if (highest[middle]! > k) high = middle
    else low = middle + 1
  }
  return low
}
