import type { JoinDelayWant } from '../suite/expectations.ts'
import type { Check, FrameNote, PodSite, Seen, SentStream, Verdict } from './check.ts'
import { arrivals, changeNs, endsTooSoon, judgeDelays, spanNs } from './delay.ts'
import { type Finding, inconclusive, pass } from './findings.ts'
import { tapFault } from './places.ts'
import { overBound } from './timing.ts'

/** Group Join Delay, RFC 3918 §6.1: the stream runs when the report leaves; the first copy ends the delay. */
export const joinDelay: Check<JoinDelayWant> = {
  name: 'join-delay',
  about:
    'time from the report at the veth of the joiner to the first copy at that pod; recorded, bounded only under --profile timing',
  judge(want, sent, seen): Verdict {
    const words = { delay: 'join delay', figure: 'joinDelay', passed: 'joined' }
    return judgeDelays(want, sent, seen, words, (stream, pod, delaysUs) => ofPod(want, stream, pod, seen, delaysUs))
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
