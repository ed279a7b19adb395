import { DIRECTION } from '../../captures/record.ts'
import { ipv4 } from '../../generators/wire/ipv4.ts'
import type { Seen, SentStream } from './check.ts'
import { sentIpAt } from './inner.ts'
import type { Selection } from './window.ts'

/**
 * The units that can be lost or doubled one by one: whole datagrams, or every fragment of every datagram. Unit numbers
 * ascend with sequence index and, within a datagram, with the order in which its fragments were sent.
 */
export interface Units {
  stream: SentStream
  count: number
  /** First unit of sequence index k; k = count gives the end. */
  start(k: number): number
  /** -1 for what was never sent. */
  unitOf(sequence: number, fragmentOffset: number): number
  /** "17", or "17 at byte 1480" for a later fragment. */
  sequenceOf(unit: number): number
}

export function unitsOf(stream: SentStream): Units {
  return stream.spec.fragmentBytes === undefined ? wholeUnits(stream) : fragmentUnits(stream)
}

function wholeUnits(stream: SentStream): Units {
  const first = stream.spec.firstSequence ?? 0
  return {
    stream,
    count: stream.count,
    start: k => k,
    unitOf(sequence, fragmentOffset) {
      const k = sequence - first
      return fragmentOffset === 0 && k >= 0 && k < stream.count ? k : -1
    },
    sequenceOf: unit => first + unit,
  }
}

function fragmentUnits(stream: SentStream): Units {
  const first = stream.spec.firstSequence ?? 0
  const starts = new Uint32Array(stream.count + 1)
  const offsets: number[] = []
  const sequenceIndex: number[] = []
  for (let k = 0; k < stream.count; k++) {
    starts[k] = offsets.length
    for (const frame of stream.frames(k)) {
      offsets.push(fragmentOffsetBytes(stream, frame))
      sequenceIndex.push(k)
    }
  }
  starts[stream.count] = offsets.length
  return {
    stream,
    count: offsets.length,
    start: k => starts[k] ?? offsets.length,
    unitOf(sequence, fragmentOffset) {
      const k = sequence - first
      if (k < 0 || k >= stream.count) return -1
      for (let unit = starts[k]!; unit < starts[k + 1]!; unit++) if (offsets[unit] === fragmentOffset) return unit
      return -1
    },
    sequenceOf: unit => first + (sequenceIndex[unit] ?? 0),
  }
}

function fragmentOffsetBytes(stream: SentStream, frame: Uint8Array): number {
  const at = sentIpAt(stream, frame)
  return at < 0 ? 0 : ipv4.fields.fragmentOffset.get(frame, at) * 8
}

/** How often each unit was seen at one tap in one direction. */
export interface Tally {
  copies: Uint16Array
  /** Sightings of sequences or fragments that were never sent. */
  foreign: number[]
  total: number
}

const MOST = 0xffff

function everySighting(): boolean {
  return true
}

export function tally(
  seen: Seen,
  units: Units,
  tap: number,
  direction: number,
  counts: (sighting: number) => boolean = everySighting,
): Tally {
  const copies = new Uint16Array(units.count)
  const foreign: number[] = []
  const { ledger } = seen
  const sightings = tap < 0 ? new Int32Array(0) : ledger.sightings(tap, units.stream.number, direction)
  for (let j = 0; j < sightings.length; j++) {
    const i = sightings[j]!
    if (!counts(i)) continue
    const unit = units.unitOf(ledger.sequence(i), ledger.fragmentOffset(i))
    if (unit < 0) foreign.push(i)
    else if (copies[unit]! < MOST) copies[unit]!++
  }
  return { copies, foreign, total: sightings.length }
}

/** A tap that cannot tell directions apart counts as receiving. */
export function tallyIn(seen: Seen, units: Units, tap: number): Tally {
  const known = tally(seen, units, tap, DIRECTION.in)
  const unknown = tally(seen, units, tap, DIRECTION.unknown)
  if (unknown.total === 0) return known
  for (let u = 0; u < known.copies.length; u++) known.copies[u]! += unknown.copies[u]!
  return { copies: known.copies, foreign: [...known.foreign, ...unknown.foreign], total: known.total + unknown.total }
}

/** Units of the selection whose copies are none, and those with more than one; ascending. */
export function unequal(units: Units, copies: Uint16Array, selection: Selection, wanted = 1) {
  const missing: number[] = []
  const surplus: number[] = []
  const end = units.start(selection.to)
  for (let u = units.start(selection.from); u < end; u++) {
    const seen = copies[u]!
    if (seen < wanted) missing.push(u)
    else if (seen > wanted) surplus.push(u)
  }
  return { missing, surplus }
}

export function unitCount(units: Units, selection: Selection): number {
  return units.start(selection.to) - units.start(selection.from)
}

/** Indices in the ledger of the selection's sightings at a tap; foreign ones left out. */
export function* sightingsIn(seen: Seen, selection: Selection, tap: number, direction: number): Generator<number> {
  const first = selection.stream.spec.firstSequence ?? 0
  const { ledger } = seen
  const sightings = tap < 0 ? new Int32Array(0) : ledger.sightings(tap, selection.stream.number, direction)
  for (let j = 0; j < sightings.length; j++) {
    const k = ledger.sequence(sightings[j]!) - first
    if (k >= selection.from && k < selection.to) yield sightings[j]!
  }
}

/** Frame index of the first sighting of a unit at a tap, or -1. */
export function frameOfUnit(seen: Seen, units: Units, unit: number, tap: number, direction: number, nth = 0): number {
  const { ledger } = seen
  const sightings = tap < 0 ? new Int32Array(0) : ledger.sightings(tap, units.stream.number, direction)
  let found = 0
  for (const i of sightings) {
    if (units.unitOf(ledger.sequence(i), ledger.fragmentOffset(i)) !== unit) continue
    if (found++ === nth) return ledger.frame(i)
  }
  return -1
}

export function sequencesOf(units: Units, list: readonly number[]): number[] {
  const sequences = list.map(unit => units.sequenceOf(unit))
  return sequences.filter((s, i) => i === 0 || s !== sequences[i - 1])
}
