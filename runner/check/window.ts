import type { StreamWant, Window } from '../suite/expectations.ts'
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
  const afterNs = window.after === undefined ? -Infinity : seen.stepTimeNs(window.after, 'end')
  const beforeNs = window.before === undefined ? Infinity : seen.stepTimeNs(window.before, 'start')
  return afterNs === undefined || beforeNs === undefined ? undefined : { afterNs, beforeNs }
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

export function select(stream: SentStream, interval: Interval): Selection {
  const from = firstIndexAtOrAfter(stream, interval.afterNs)
  return { stream, from, to: Math.max(from, firstIndexAtOrAfter(stream, interval.beforeNs)) }
}

/** Why an expectation has nothing to judge, for the message. */
export function emptyReason(want: StreamWant, sent: Sent, seen: Seen): string {
  for (const step of [want.after, want.before]) {
    if (step !== undefined && !intervalOf({ after: step }, seen)) return `step ${step} did not come to its end`
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
