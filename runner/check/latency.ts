import { DIRECTION } from '../../captures/record.ts'
import type { LatencyWant } from '../suite/expectations.ts'
import type { Check, PodSite, Seen, Sent, Verdict } from './check.ts'
import { sightingsIn } from './copies.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { podOf } from './places.ts'
import { unsettled } from './proof.ts'
import { eachPair, type Pair } from './receivers.ts'
import { clockErrorFigure, clockFault, figures, overBound } from './timing.ts'
import type { Selection } from './window.ts'

/** Kernel receive stamp at the pod end minus that at the node end of the sender's veth (RFC 1242 §3.8, store and forward). */
export const latency: Check<LatencyWant> = {
  name: 'latency',
  about:
    'time from the veth of the sender to each receiving pod, of every copy; recorded, bounded only under --profile timing',
  judge(want, sent, seen): Verdict {
    const all: Float64Array[] = []
    const findings = eachPair(want, want.to, sent, seen, pair => atPod(want, pair, sent, seen, all))
    const clock = clockFault(seen)
    if (clock) findings.push(inconclusive(`latency of ${want.stream}: ${clock}`))
    const clockErrorNs = worstClockErrorNs(want, sent, seen)
    const measurements = { ...figures('latency', together(all)), ...clockErrorFigure('latency', clockErrorNs) }
    const verdict = conclude(findings, `latency of ${want.stream}: ${summary(measurements)}`)
    return { ...verdict, measurements }
  },
}

function summary(figure: Record<string, number>): string {
  const of = (name: string) => `${figure[`latencyUs${name}`]?.toFixed(1)} us`
  return `min ${of('Min')}, p50 ${of('P50')}, p99 ${of('P99')}, max ${of('Max')}`
}

function atPod(
  want: LatencyWant,
  { selection, pod, stimulus }: Pair,
  sent: Sent,
  seen: Seen,
  all: Float64Array[],
): Finding {
  const { stream } = selection
  if (stimulus) return inconclusive(stimulus)
  const left = stimulusTimes(selection, seen)
  const first = stream.spec.firstSequence ?? 0
  const delaysUs = new Float64Array(sightingCount(seen, stream.number, pod.podTap))
  let copies = 0
  let slowest = -1
  let worstUs = -Infinity
  for (const i of sightingsIn(seen, selection, seen.tapIndex(pod.podTap), DIRECTION.in)) {
    if (seen.ledger.fragmentOffset(i) !== 0) continue
    const us = (seen.ledger.timeNs(i) - left[seen.ledger.sequence(i) - first]!) / 1000
    if (Number.isNaN(us)) continue
    delaysUs[copies++] = us
    if (us > worstUs) {
      worstUs = us
      slowest = i
    }
  }
  if (slowest < 0) return inconclusive(`no copy of ${stream.name} came to ${pod.name}: no latency to measure`)
  all.push(delaysUs.subarray(0, copies))
  const over = overBound(want, worstUs, clockErrorOf(seen, stream.pod, pod))
  if (!over) {
    // The slowest copy may be the one that is not there yet.
    const doubt = unsettled(seen, sent, selection, pod)
    return doubt ? inconclusive(`latency of ${stream.name} at ${pod.name}: ${doubt}`) : pass()
  }
  const note = `${stream.name} ${seen.ledger.sequence(slowest)} took ${worstUs.toFixed(1)} us`
  return {
    status: 'fail',
    message: `latency of ${stream.name} at ${pod.name}: ${over}`,
    frames: [{ frame: seen.ledger.frame(slowest), note }],
  }
}

function clockErrorOf(seen: Seen, sender: string, receiver: PodSite): number {
  return seen.clockErrorNs({ taps: [podOf(seen, sender)?.nodeTap ?? '', receiver.podTap] })
}

function worstClockErrorNs(want: LatencyWant, sent: Sent, seen: Seen): number {
  const errors = sent.of(want.stream).flatMap(stream =>
    want.to.map(name => {
      const pod = podOf(seen, name)
      return pod ? clockErrorOf(seen, stream.pod, pod) : 0
    }),
  )
  return Math.max(0, ...errors)
}

function sightingCount(seen: Seen, stream: number, tap: string): number {
  return seen.tapIndex(tap) < 0 ? 0 : seen.ledger.sightings(seen.tapIndex(tap), stream, DIRECTION.in).length
}

function together(parts: readonly Float64Array[]): Float64Array {
  const whole = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** When each sequence index reached the sender's node end; NaN when it did not. */
function stimulusTimes(selection: Selection, seen: Seen): Float64Array {
  const { stream } = selection
  const times = new Float64Array(stream.count).fill(Number.NaN)
  const sender = podOf(seen, stream.pod)
  const first = stream.spec.firstSequence ?? 0
  for (const i of sightingsIn(seen, selection, seen.tapIndex(sender?.nodeTap ?? ''), DIRECTION.in)) {
    const k = seen.ledger.sequence(i) - first
    if (seen.ledger.fragmentOffset(i) === 0 && Number.isNaN(times[k]!)) times[k] = seen.ledger.timeNs(i)
  }
  return times
}
