import type { LeaveDelayWant } from '../suite/expectations.ts'
import type { Check, FrameNote, PodSite, Seen, Sent, SentStream, Verdict } from './check.ts'
import { arrivals, changeNs, endsTooSoon, judgeDelays, spanNs } from './delay.ts'
import { type Finding, inconclusive, pass } from './findings.ts'
import { tapFault } from './places.ts'
import { closedAtPod } from './proof.ts'
import { overBound } from './timing.ts'
import { select } from './window.ts'

/** Group Leave Delay, RFC 3918 §6.2: from the leave to the last copy, while the stream goes on. */
export const leaveDelay: Check<LeaveDelayWant> = {
  name: 'leave-delay',
  about:
    'time from the leave at the veth of the leaver to the last copy at that pod; recorded, bounded only under --profile timing',
  judge(want, sent, seen): Verdict {
    const words = { delay: 'leave delay', figure: 'leaveDelay', passed: 'left' }
    return judgeDelays(want, sent, seen, words, (stream, pod, delaysUs) =>
      ofPod(want, stream, pod, sent, seen, delaysUs),
    )
  },
}

/** Frames that must still have been sent after the last copy, or it may only have been the stream's end. */
const FRAMES_AFTER = 1

function ofPod(
  want: LeaveDelayWant,
  stream: SentStream,
  pod: PodSite,
  sent: Sent,
  seen: Seen,
  delaysUs: number[],
): Finding {
  const fault = tapFault(seen, [pod.nodeTap, pod.podTap])
  if (fault) return inconclusive(`leave delay of ${pod.name}: ${fault}`)
  const change = changeNs(seen, want.step, pod)
  if (!change) return inconclusive(`no leave of step ${want.step} was seen at ${pod.nodeTap}`)
  if (stream.count === 0) return inconclusive(`stream ${stream.name} was not sent`)
  if (spanNs(stream).firstNs > change.ns || spanNs(stream).lastNs < change.ns) {
    return inconclusive(`${stream.name} was not under way when ${pod.name} left`)
  }
  const copies = arrivals(seen, stream, pod)
  if (copies.length === 0) return inconclusive(`no copy of ${stream.name} came to ${pod.name}: nothing to leave`)
  const last = copies.at(-1) as { ns: number; frame: number }
  const frames: FrameNote[] = [{ frame: last.frame, note: `last copy at ${pod.podTap}` }]
  if (change.frame !== undefined) frames.unshift({ frame: change.frame, note: `leave of ${pod.name}` })
  const after = framesSentAfter(stream, last.ns - seen.clockErrorNs({ taps: [pod.podTap], pods: [stream.pod] }))
  if (after < FRAMES_AFTER) {
    const message = `expected ${stream.name} to stop at ${pod.name} after its leave, saw it to the end`
    const soon = endsTooSoon(want, stream, change.ns)
    return { status: soon ? 'inconclusive' : 'fail', message: soon ? `${message}; ${soon}` : message, frames }
  }
  const us = Math.max(0, last.ns - change.ns) / 1000
  delaysUs.push(us)
  const over = overBound(want, us, seen.clockErrorNs({ taps: [pod.nodeTap, pod.podTap] }))
  if (over) return { status: 'fail', message: `leave delay of ${pod.name}: ${over}`, frames }
  // A copy that is still on the way would be the last one; a pod that is gone since gets none.
  const before = select(stream, { afterNs: -Infinity, beforeNs: change.ns })
  const closure = closedAtPod(seen, sent, before, pod)
  return 'reason' in closure ? inconclusive(`leave delay of ${pod.name}: ${closure.reason}`) : pass()
}

function framesSentAfter(stream: SentStream, ns: number): number {
  let k = stream.count
  while (k > 0 && stream.timeNs(k - 1) > ns) k--
  return stream.count - k
}
