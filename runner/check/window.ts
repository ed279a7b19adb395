import type { Moment, StreamWant, Window } from '../suite/expectations.ts'
import type { Seen, Sent, SentStream } from './check.ts'

/** Sequence indices from (included) to (excluded) of one stream that an expectation is about. */
export interface Selection {
  stream: SentStream
  from: number
  to: number
}

/** Times in ns since the recording's base; a bound that is not given is infinite. */
export interface Interval {
  afterNs: number
  beforeNs: number
}

/** Undefined when a step that bounds the window never came to its end or start: then nothing can be said. */
export function intervalOf(window: Window, seen: Seen): Interval | undefined {
  const afterNs = window.after === undefined ? -Infinity : momentNs(window.after, 'end', seen)
  const beforeNs = window.before === undefined ? Infinity : momentNs(window.before, 'start', seen)
  return afterNs === undefined || beforeNs === undefined ? undefined : { afterNs, beforeNs }
}

/** From the first to the last observation of the case itself: other cases of the stage may do otherwise. */
export function ofCase({ afterNs, beforeNs }: Interval, seen: Seen): Interval {
  const times = seen.observations
    .filter(o => o.case !== undefined)
    .map(o => Number(BigInt(o.tNs) - seen.recording.baseNs))
    .sort((a, b) => a - b)
  return { afterNs: Math.max(afterNs, times[0] ?? -Infinity), beforeNs: Math.min(beforeNs, times.at(-1) ?? Infinity) }
}

function momentNs(moment: Moment, edge: 'start' | 'end', seen: Seen): number | undefined {
  if (typeof moment === 'string') return seen.stepTimeNs(moment, edge)
  const ns = seen.stepTimeNs(moment.step, edge)
  return ns === undefined ? undefined : ns + moment.laterMs * 1e6
}

/** Frames of each sender by stimulus time, not by arrival: a copy that comes late still belongs to its frame. */
export function selectionsOf(want: StreamWant, sent: Sent, seen: Seen): Selection[] {
  const interval = intervalOf(want, seen)
  if (!interval) return []
  return sent
    .of(want.stream)
    .filter(stream => want.from === undefined || want.from.includes(stream.pod))
    .map(stream => select(stream, interval))
}

/** Frames that may have been sent on the other side of the window's edge, for all that two clocks tell, are left out. */
export function select(stream: SentStream, interval: Interval): Selection {
  const from = firstIndexAtOrAfter(stream, interval.afterNs + stream.clockErrorNs)
  return { stream, from, to: Math.max(from, firstIndexAtOrAfter(stream, interval.beforeNs - stream.clockErrorNs)) }
}

/** Why an expectation has nothing to judge, for the message. */
export function emptyReason(want: StreamWant, sent: Sent, seen: Seen): string {
  for (const moment of [want.after, want.before]) {
    if (moment === undefined || intervalOf({ after: moment }, seen)) continue
    return `step ${typeof moment === 'string' ? moment : moment.step} did not come to its end`
  }
  if (sent.of(want.stream).length === 0) return `stream ${want.stream} was not sent`
  return `no frame of ${want.stream} was sent in the window`
}

/** Hand-over times ascend, so a binary search finds the window's edge. */
function firstIndexAtOrAfter(stream: SentStream, timeNs: number): number {
  let low = 0
  let high = stream.count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (stream.timeNs(middle) < timeNs) low = middle + 1
    else high = middle
  }
  return low
}
