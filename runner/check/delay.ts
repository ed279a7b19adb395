import { DIRECTION } from '../../captures/record.ts'
import type { Bound } from '../suite/expectations.ts'
import type { PodSite, Seen, Sent, SentStream, Verdict } from './check.ts'
import { sightingsIn } from './copies.ts'
import { conclude, type Finding, inconclusive } from './findings.ts'
import { igmpFrames, igmpIn, reports } from './igmp-frames.ts'
import { podOf } from './places.ts'
import { allSteps } from './proof.ts'
import { clockFault, figures } from './timing.ts'

/** `join delay`, `joinDelay` and `joined`: how a delay is called in findings, in measurements and when all is well. */
export interface DelayWords {
  delay: string
  figure: string
  passed: string
}

/** Each stream at each pod of `to`; `atPod` adds the delay that it measured. */
export function judgeDelays(
  want: { stream: string; from?: string[]; to: readonly string[] },
  sent: Sent,
  seen: Seen,
  { delay, figure, passed }: DelayWords,
  atPod: (stream: SentStream, pod: PodSite, delaysUs: number[]) => Finding,
): Verdict {
  const delaysUs: number[] = []
  const findings = streamsFor(want, sent).flatMap(stream =>
    want.to.map(name => {
      const pod = podOf(seen, name)
      return pod ? atPod(stream, pod, delaysUs) : inconclusive(`no pod ${name} in the site`)
    }),
  )
  const clock = clockFault(seen)
  if (clock) findings.push(inconclusive(`${delay}: ${clock}`))
  const measurements = {
    ...figures(figure, Float64Array.from(delaysUs)),
    ...(delaysUs.length > 0 && { [`${figure}Us`]: Math.max(...delaysUs) }),
  }
  return { ...conclude(findings, `${passed} within ${(Math.max(...delaysUs) / 1000).toFixed(3)} ms`), measurements }
}

/**
 * When the change of step `id` reached the SUT from `pod`: the first report or leave about a group of the step at the
 * node end of the pod's veth; for a change that is no message (kill, link, group), the step's own start.
 */
export function changeNs(seen: Seen, id: string, pod: PodSite): { ns: number; frame?: number } | undefined {
  const startNs = seen.stepTimeNs(id, 'start')
  const step = allSteps(seen.plan.steps).find(each => each.id === id)
  if (startNs === undefined || !step) return undefined
  if (step.action !== 'join' && step.action !== 'leave') return { ns: startNs }
  const groups = step.groups ?? [step.group]
  const errorNs = seen.clockErrorNs({ taps: [pod.nodeTap], runner: true })
  const afterNs = startNs - errorNs
  const beforeNs = nextChangeNs(seen, groups, pod, startNs) + errorNs
  const where = { tap: seen.tapIndex(pod.nodeTap), direction: DIRECTION.in, afterNs, beforeNs }
  for (const frame of igmpFrames(seen.recording, where)) {
    const bytes = seen.recording.bytes(frame)
    const place = igmpIn(bytes)
    if (place && groups.some(group => reports(bytes, place, group))) return { ns: seen.recording.timeNs(frame), frame }
  }
  return undefined
}

/** When the pod's next join or leave of these groups starts: the message of that one must not pass for this one's. */
function nextChangeNs(seen: Seen, groups: readonly number[], pod: PodSite, startNs: number): number {
  const starts = allSteps(seen.plan.steps).flatMap(step => {
    if ((step.action !== 'join' && step.action !== 'leave') || !step.pods.includes(pod.name)) return []
    if (!(step.groups ?? [step.group]).some(group => groups.includes(group))) return []
    return [seen.stepTimeNs(step.id, 'start') ?? Infinity]
  })
  return Math.min(...starts.filter(ns => ns > startNs), Infinity)
}

function streamsFor(want: { stream: string; from?: string[] }, sent: Sent): SentStream[] {
  return sent.of(want.stream).filter(stream => !want.from || want.from.includes(stream.pod))
}

/** Times of a stream's copies at a pod, ascending, with their frames. */
export function arrivals(seen: Seen, stream: SentStream, pod: PodSite): { ns: number; frame: number }[] {
  const selection = { stream, from: 0, to: stream.count }
  const found: { ns: number; frame: number }[] = []
  for (const i of sightingsIn(seen, selection, seen.tapIndex(pod.podTap), DIRECTION.in)) {
    found.push({ ns: seen.ledger.timeNs(i), frame: seen.ledger.frame(i) })
  }
  return found
}

/** A stream that stops soon after a change cannot tell a slow change from none, and slow is a fail only where a bound says so. */
const DECIDES_MS = 50

/** Why the rest of the stream after `changeNs` is too short to say that nothing changed. */
export function endsTooSoon(bound: Bound, stream: SentStream, changeNs: number): string | undefined {
  const wantedMs = bound.enforced && bound.maxMs !== undefined ? bound.maxMs : DECIDES_MS
  const leftMs = (spanNs(stream).lastNs - changeNs) / 1e6
  if (leftMs >= wantedMs) return undefined
  return `${stream.name} went on for ${leftMs.toFixed(3)} ms after it, ${wantedMs} ms would decide`
}

/** Hand-over times of a stream's first and last frame. */
export function spanNs(stream: SentStream): { firstNs: number; lastNs: number } {
  return { firstNs: stream.timeNs(0), lastNs: stream.timeNs(stream.count - 1) }
}
