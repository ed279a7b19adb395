import type { JoinDelayWant } from '../suite/expectations.ts'
import type { Check, FrameNote, PodSite, Seen, SentStream, Verdict } from './check.ts'
import { arrivals, changeNs, endsTooSoon, spanNs, streamsFor } from './delay.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { podOf, tapFault } from './places.ts'
import { clockFault, figures, overBound } from './timing.ts'

/** Group Join Delay, RFC 3918 §6.1: the stream runs when the report leaves; the first copy ends the delay. */
export const joinDelay: Check<JoinDelayWant> = {
  name: 'join-delay',
  about:
    'time from the report at the veth of the joiner to the first copy at that pod; recorded, bounded only under --profile timing',
  judge(want, sent, seen): Verdict {
    const delaysUs: number[] = []
    const streams = streamsFor(want, sent)
    const findings = streams.flatMap(stream =>
      want.to.map(name => {
        const pod = podOf(seen, name)
        return pod ? ofPod(want, stream, pod, seen, delaysUs) : inconclusive(`no pod ${name} in the site`)
      }),
    )
    const clock = clockFault(seen)
    if (clock) findings.push(inconclusive(`join delay: ${clock}`))
    const measurements = {
      ...figures('joinDelay', Float64Array.from(delaysUs)),
      ...(delaysUs.length > 0 && { joinDelayUs: Math.max(...delaysUs) }),
    }
    return { ...conclude(findings, `joined within ${(Math.max(...delaysUs) / 1000).toFixed(3)} ms`), measurements }
  },
}

function ofPod(want: JoinDelayWant, stream: SentStream, pod: PodSite, seen: Seen, delaysUs: number[]): Finding {
  const fault = tapFault(seen, [pod.nodeTap, pod.podTap])
  if (fault) return inconclusive(`join delay of ${pod.name}: ${fault}`)
  const change = changeNs(seen, want.step, pod)
  if (!change) return inconclusive(`no report of step ${want.step} was seen at ${pod.nodeTap}`)
  if (stream.count === 0) return inconclusive(`stream ${stream.name} was not sent`)
  const { firstNs, lastNs } = spanNs(stream)
  if (firstNs > change.ns || lastNs < change.ns)
    return inconclusive(`${stream.name} was not under way when ${pod.name} joined`)
  const first = arrivals(seen, stream, pod).find(({ ns }) => ns >= change.ns)
  if (!first) {
    const message = `expected ${stream.name} at ${pod.name} after its report, saw no copy`
    const soon = endsTooSoon(want, stream, change.ns)
    return {
      status: soon ? 'inconclusive' : 'fail',
      message: soon ? `${message}; ${soon}` : message,
      ...(change.frame !== undefined && { frames: [{ frame: change.frame, note: `report of ${pod.name}` }] }),
    }
  }
  const us = (first.ns - change.ns) / 1000
  delaysUs.push(us)
  const over = overBound(want, us, seen.clockErrorNs({ taps: [pod.nodeTap, pod.podTap] }))
  if (!over) return pass()
  const frames: FrameNote[] = [
    { frame: first.frame, note: `first copy at ${pod.podTap}, ${us.toFixed(1)} us after the report` },
  ]
  if (change.frame !== undefined) frames.unshift({ frame: change.frame, note: `report of ${pod.name}` })
  return { status: 'fail', message: `join delay of ${pod.name}: ${over}`, frames }
}
