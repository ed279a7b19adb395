import { DIRECTION } from '../../captures/record.ts'
import type { Control, NotDeliveredWant, Window } from '../suite/expectations.ts'
import { alteredAt } from './altered.ts'
import type { Check, PodSite, Seen, Sent, SentStream } from './check.ts'
import { sightingsIn, tallyIn, unequal, unitsOf } from './copies.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { podOf, tapFault } from './places.ts'
import { closedAtPod } from './proof.ts'
import { counted, ranges } from './ranges.ts'
import { eachPair, type Pair } from './receivers.ts'
import { emptyReason, intervalOf, type Selection, select, selectionsOf } from './window.ts'

/** RFC 4541 §2.1.2(3): who is no member gets nothing. Absence is proved, never waited for. */
export const notDelivered: Check<NotDeliveredWant> = {
  name: 'not-delivered',
  about: 'no pod of the list got any frame of the stream, as a fence and a positive control prove',
  judge(want, sent, seen) {
    const control = controlFault(want.control, want, sent, seen)
    const findings = eachPair(want, want.to, sent, seen, pair => atPod(want, pair, control, sent, seen))
    return conclude(findings, `no copy of ${want.stream} at ${counted(want.to.length, 'pod')}`)
  },
}

function atPod(want: NotDeliveredWant, pair: Pair, control: string | undefined, sent: Sent, seen: Seen): Finding {
  const { selection, pod, stimulus } = pair
  const { stream } = selection
  const leaks = [selection, ...primesOf(want, stream, sent, seen)].flatMap(part => leaked(part, pod, seen))
  if (leaks.length > 0) return leakFinding(leaks, selection, pod, seen)
  const altered = alteredIn(want, selection, pod, seen)
  if (altered.length > 0) return alteredFinding(altered, selection, pod)
  const doubt = stimulus ?? tapFault(seen, [pod.podTap]) ?? control
  if (doubt) return inconclusive(`absence of ${stream.name} at ${pod.name} is not proved: ${doubt}`)
  const closure = closedAtPod(seen, sent, selection, pod)
  if ('reason' in closure)
    return inconclusive(`absence of ${stream.name} at ${pod.name} is not proved: ${closure.reason}`)
  if (closure.method !== 'fence' && !want.allowWeaker) {
    return inconclusive(
      `absence of ${stream.name} at ${pod.name} is proved by ${closure.method} only, which the profile refuses`,
    )
  }
  return pass(closure.method)
}

function alteredIn(want: NotDeliveredWant, { stream, from }: Selection, pod: PodSite, seen: Seen): number[] {
  const interval = intervalOf(want, seen)
  return interval ? alteredAt(seen, stream, seen.tapIndex(pod.podTap), stream.timeNs(from), interval.beforeNs) : []
}

function alteredFinding(altered: number[], { stream }: Selection, pod: PodSite): Finding {
  const what = `with its addresses and ports and no readable stamp`
  return {
    status: 'fail',
    message: `expected no copy of ${stream.name} at ${pod.name}, saw ${counted(altered.length, 'frame')} ${what}`,
    frames: altered.slice(0, SHOWN).map(frame => ({ frame, note: `like ${stream.name}, altered, at ${pod.podTap}` })),
  }
}

/** Probes that primed the stream are the same traffic: none may leak, unless the window leaves their time out. */
function primesOf(want: NotDeliveredWant, stream: SentStream, sent: Sent, seen: Seen): Selection[] {
  const interval = intervalOf(want, seen)
  return interval ? sent.serving(stream.number, 'prime').map(prime => select(prime, interval)) : []
}

/** Every copy that came in, whenever: also one after the fence. */
function leaked(selection: Selection, pod: PodSite, seen: Seen): number[] {
  const tap = seen.tapIndex(pod.podTap)
  return [DIRECTION.in, DIRECTION.unknown].flatMap(direction => [...sightingsIn(seen, selection, tap, direction)])
}

const SHOWN = 3

function leakFinding(leaks: number[], { stream }: Selection, pod: PodSite, seen: Seen): Finding {
  const { ledger } = seen
  const sequences = [
    ...new Set(leaks.filter(i => ledger.stream(i) === stream.number).map(i => ledger.sequence(i))),
  ].sort((a, b) => a - b)
  const which = sequences.length > 0 ? `sequences ${ranges(sequences)}` : 'its primes'
  const delaysUs = leaks
    .slice(0, SHOWN)
    .map(i => `${stream.name} ${ledger.sequence(i)} came ${delayText(seen, stream, i)} after it was sent`)
  return {
    status: 'fail',
    message: `expected no copy of ${stream.name} at ${pod.name}, saw ${leaks.length} (${which})`,
    details: delaysUs,
    frames: leaks.slice(0, SHOWN).map(i => ({
      frame: ledger.frame(i),
      note: `${stream.name} ${ledger.sequence(i)} at ${pod.podTap}, which must not get it`,
    })),
  }
}

function delayText(seen: Seen, stream: SentStream, sighting: number): string {
  const k = seen.ledger.sequence(sighting) - (stream.spec.firstSequence ?? 0)
  if (seen.ledger.stream(sighting) !== stream.number || k < 0 || k >= stream.count) return 'some time'
  return `${((seen.ledger.timeNs(sighting) - stream.timeNs(k)) / 1000).toFixed(1)} us`
}

/**
 * Why the positive control does not hold: in the same window, each of its pods got every frame of at least one sender.
 * Without it, "nothing arrived" may just mean that nothing works.
 */
export function controlFault(control: Control, window: Window, sent: Sent, seen: Seen): string | undefined {
  const bounds = {
    ...(window.after !== undefined && { after: window.after }),
    ...(window.before !== undefined && { before: window.before }),
  }
  const want = { stream: control.stream, ...bounds }
  const selections = selectionsOf(want, sent, seen).filter(({ from, to }) => to > from)
  if (selections.length === 0) return `positive control: ${emptyReason(want, sent, seen)}`
  if (control.to.length === 0) return `positive control ${control.stream} names no pod`
  const without = control.to.filter(name => !selections.some(selection => complete(selection, name, seen)))
  return without.length === 0
    ? undefined
    : `positive control ${control.stream} is not complete at ${without.join(', ')}`
}

function complete(selection: Selection, name: string, seen: Seen): boolean {
  const pod = podOf(seen, name)
  if (!pod) return false
  const units = unitsOf(selection.stream)
  const { copies } = tallyIn(seen, units, seen.tapIndex(pod.podTap))
  return unequal(units, copies, selection).missing.length === 0
}
