import { DIRECTION } from '../../captures/record.ts'
import type { Difference } from '../../reports/result.ts'
import type { DeliveredWant } from '../suite/expectations.ts'
import { alteredAt } from './altered.ts'
import type { Check, FrameNote, Seen, Sent, SentStream } from './check.ts'
import {
  frameOfUnit,
  sequencesOf,
  sightingsIn,
  type Tally,
  tallyIn,
  type Units,
  unequal,
  unitCount,
  unitsOf,
} from './copies.ts'
import { fieldDifferences } from './copy-fields.ts'
import { differenceText, readable } from './field-text.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { nearestMiss } from './nearest.ts'
import { podOf, tapFault } from './places.ts'
import { closedAtPod } from './proof.ts'
import { counted, ranges } from './ranges.ts'
import { eachPair, type Pair } from './receivers.ts'
import { blame } from './shortfall.ts'
import { type Selection, selectionsOf } from './window.ts'

/** RFC 3918 §4 and RFC 4541 §2.1.2: the members get the stream, whole and once. */
export const delivered: Check<DeliveredWant> = {
  name: 'delivered',
  about: 'each pod got each frame of the stream exactly once, with the fields given',
  judge(want, sent, seen) {
    const held = selectionsOf(want, sent, seen).reduce((sum, { from, to }) => sum + to - from, 0)
    if (want.frames !== undefined && held !== want.frames) {
      return conclude(
        [inconclusive(`the window holds ${held} frames of ${want.stream}, the case needs ${want.frames}`)],
        '',
      )
    }
    const explained = { left: EXPLAINED_PAIRS }
    const findings = eachPair(want, want.to, sent, seen, pair => atPod(want, pair, sent, seen, explained))
    const what = `${counted(held, 'frame')} of ${want.stream}`
    return conclude(findings, `${what} at ${counted(want.to.length, 'pod')}, each exactly once`)
  },
}

/** Finding the nearest miss reads the pod's whole capture; a thousand pods that all miss the same need it a few times. */
const EXPLAINED_PAIRS = 4

/** What came to a pod, compared with what was sent. */
interface Arrival {
  units: Units
  tally: Tally
  missing: number[]
  surplus: number[]
  wrong: WrongCopies
  /** Frames of the recording that are like the stream's, and none of them. */
  altered: number[]
}

function atPod(want: DeliveredWant, pair: Pair, sent: Sent, seen: Seen, explained: { left: number }): Finding {
  const { selection, pod, stimulus } = pair
  const units = unitsOf(selection.stream)
  const tally = tallyIn(seen, units, seen.tapIndex(pod.podTap))
  const wrong = wrongCopies(want, selection, pod.podTap, seen)
  const altered = alteredAt(seen, selection.stream, seen.tapIndex(pod.podTap), selection.stream.timeNs(selection.from))
  const arrival: Arrival = { units, tally, ...unequal(units, tally.copies, selection), wrong, altered }
  const closure = closedAtPod(seen, sent, selection, pod)
  if (isRight(arrival)) {
    const doubt = stimulus ?? tapFault(seen, [pod.podTap]) ?? ('reason' in closure ? closure.reason : undefined)
    return doubt === undefined
      ? pass('method' in closure ? closure.method : undefined)
      : inconclusive(`${selection.stream.name} at ${pod.name}: ${doubt}`)
  }
  const positive = arrival.surplus.length + tally.foreign.length + wrong.count + altered.length > 0
  const trouble = {
    message: messageOf(arrival, pair),
    missing: arrival.missing.length,
    positive,
    finding: showing(arrival, pair, seen, explained.left-- > 0),
  }
  return blame(trouble, { seen, sent, stream: selection.stream, pod, taps: [pod.podTap], stimulus, closure })
}

function isRight({ missing, surplus, tally, wrong, altered }: Arrival): boolean {
  return missing.length + surplus.length + tally.foreign.length + wrong.count + altered.length === 0
}

function messageOf({ units, tally, missing, surplus, wrong, altered }: Arrival, { selection, pod }: Pair): string {
  const expected = unitCount(units, selection)
  const came = sumOf(tally.copies, units.start(selection.from), units.start(selection.to)) + tally.foreign.length
  const parts = [
    missing.length > 0 && `missing ${ranges(sequencesOf(units, missing))}`,
    surplus.length > 0 && `duplicated ${ranges(sequencesOf(units, surplus))}`,
    tally.foreign.length > 0 && `${counted(tally.foreign.length, 'frame')} that were never sent`,
    altered.length > 0 && `${counted(altered.length, 'frame')} like it with no readable stamp`,
    wrong.first && `${wrong.count} with wrong fields: ${differenceText(wrong.first)}`,
  ].filter(Boolean)
  const what = units.stream.spec.fragmentBytes === undefined ? 'copies' : 'fragments'
  return `expected ${expected} ${what} of ${selection.stream.name} at ${pod.name}, saw ${came} (${parts.join('; ')})`
}

const SHOWN = 3

/** Evidence for each kind of departure, and where the first missing one was last seen. */
function showing(
  { units, tally, missing, surplus, wrong, altered }: Arrival,
  { pod }: Pair,
  seen: Seen,
  explain: boolean,
): Omit<Finding, 'status' | 'message'> {
  const tap = seen.tapIndex(pod.podTap)
  const frames: FrameNote[] = [...wrong.frames]
  for (const unit of surplus.slice(0, SHOWN)) {
    const frame = frameOfUnit(seen, units, unit, tap, DIRECTION.in, 1)
    const note = `${units.stream.name} ${units.sequenceOf(unit)}: copy 2 of ${tally.copies[unit]} at ${pod.podTap}`
    if (frame >= 0) frames.push({ frame, note })
  }
  for (const sighting of tally.foreign.slice(0, SHOWN)) {
    const note = `${units.stream.name} ${seen.ledger.sequence(sighting)}: this sequence or fragment was never sent`
    frames.push({ frame: seen.ledger.frame(sighting), note })
  }
  for (const frame of altered.slice(0, SHOWN))
    frames.push({ frame, note: `like ${units.stream.name}, its stamp is not readable` })
  const nearest =
    missing[0] === undefined || !explain ? { lines: [], frames: [] } : nearestMiss(seen, units, missing[0], pod)
  return {
    details: nearest.lines,
    differences: wrong.differences,
    frames: [...frames, ...nearest.frames],
  }
}

interface WrongCopies {
  count: number
  first: Difference | undefined
  differences: Difference[]
  frames: FrameNote[]
}

/** Copies in the window whose fields differ from what is wanted, or that wear another number of tunnel headers than their sender gave them. */
function wrongCopies(want: DeliveredWant, selection: Selection, podTap: string, seen: Seen): WrongCopies {
  const worn = levelsAtPod(selection.stream, seen)
  const wrong: WrongCopies = { count: 0, first: undefined, differences: [], frames: [] }
  for (const i of sightingsIn(seen, selection, seen.tapIndex(podTap), DIRECTION.in)) {
    const differences = fieldDifferences(seen, want, i).map(readable)
    if (seen.ledger.levels(i) !== worn)
      differences.push({ field: 'VXLAN levels', expected: String(worn), seen: String(seen.ledger.levels(i)) })
    if (differences.length === 0) continue
    wrong.count++
    if (wrong.frames.length < SHOWN)
      wrong.frames.push({ frame: seen.ledger.frame(i), note: differences.map(differenceText).join('; ') })
    if (wrong.first) continue
    wrong.first = differences[0]
    wrong.differences = differences
  }
  return wrong
}

/** VXLAN headers that the sender itself put around what is stamped. A stranger's outermost is the tunnel's, and ends at the node. */
function levelsAtPod({ spec, pod }: SentStream, seen: Seen): number {
  let levels = 0
  for (let frame = spec.frame; frame.inner; frame = frame.inner) levels++
  const onNode = seen.site.nodes.some(node => node.name === podOf(seen, pod)?.node)
  return levels > 0 && !onNode ? levels - 1 : levels
}

function sumOf(copies: Uint16Array, from: number, to: number): number {
  let sum = 0
  for (let u = from; u < to; u++) sum += copies[u]!
  return sum
}
