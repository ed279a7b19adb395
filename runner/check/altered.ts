import { DIRECTION, type Recording } from '../../captures/record.ts'
import { IP_PROTOCOL, ipv4, ipv4HeaderLength } from '../../generators/wire/ipv4.ts'
import { udp } from '../../generators/wire/udp.ts'
import { innermost } from '../suite/streams.ts'
import type { Seen, SentStream } from './check.ts'
import { innerIpAt } from './inner.ts'
import { podOf, tapFault } from './places.ts'
import { allSteps } from './proof.ts'

/** Hand-over times are spread evenly over a batch: a frame may leave a little before its own. */
export const HAND_OVER_SLACK_NS = 10_000_000

/**
 * Frames that came in at a tap with the addresses and ports of the stream and no stamp that can be read: copies that were
 * altered on the way. Not being known again must not hide them. Empty where the case itself sends the like.
 */
export function alteredAt(seen: Seen, stream: SentStream, tap: number, fromNs: number, beforeNs = Infinity): number[] {
  if (!stream.spec.stamped || sendsLike(seen, stream)) return []
  const { recording } = seen
  return likeAt(seen, stream, tap).filter(i => {
    const timeNs = recording.timeNs(i)
    return timeNs >= fromNs - HAND_OVER_SLACK_NS && timeNs < beforeNs
  })
}

function likeAt(seen: Seen, stream: SentStream, tap: number): number[] {
  return unidentifiedAt(seen, tap).filter(i => isLike(stream, seen.recording.bytes(i)))
}

/** Whether the sender's pod may have sent such frames itself: it sends some without a stamp, and the node saw one like these. */
function sendsLike(seen: Seen, stream: SentStream): boolean {
  if (!sendsUnstamped(seen, stream.pod)) return false
  const sender = podOf(seen, stream.pod)
  if (!sender || tapFault(seen, [sender.nodeTap])) return true
  return likeAt(seen, stream, seen.tapIndex(sender.nodeTap)).length > 0
}

function sendsUnstamped(seen: Seen, pod: string): boolean {
  return allSteps(seen.plan.steps).some(step => {
    if (step.action === 'run') return step.pod === pod
    return (
      step.action === 'send' && !step.stream.stamped && step.stream.frame.igmp === undefined && step.pods.includes(pod)
    )
  })
}

function isLike({ spec }: SentStream, frame: Uint8Array): boolean {
  const at = innerIpAt(frame, 0)
  if (at < 0 || ipv4.fields.protocol.get(frame, at) !== IP_PROTOCOL.UDP) return false
  const sent = innermost(spec.frame)
  const places = spec.destinations ?? [{ group: sent.ipv4?.dst, port: sent.udp?.dstPort }]
  const from = ipv4.fields.src.get(frame, at)
  const to = ipv4.fields.dst.get(frame, at)
  const port = portOf(frame, at)
  return from === sent.ipv4?.src && places.some(place => place.group === to && (port ?? place.port) === place.port)
}

/** Undefined for a later fragment, which has none. */
function portOf(frame: Uint8Array, at: number): number | undefined {
  const udpAt = at + ipv4HeaderLength(frame, at)
  if (ipv4.fields.fragmentOffset.get(frame, at) !== 0 || udpAt + udp.length > frame.length) return undefined
  return udp.fields.dstPort.get(frame, udpAt)
}

const indices = new WeakMap<Recording, Map<number, number[]>>()

/** Frames that came in at a tap and that the ledger does not know, in order of the recording. */
export function unidentifiedAt(seen: Seen, tap: number): readonly number[] {
  let byTap = indices.get(seen.recording)
  if (!byTap) {
    byTap = unidentified(seen)
    indices.set(seen.recording, byTap)
  }
  return byTap.get(tap) ?? []
}

function unidentified({ recording, ledger }: Seen): Map<number, number[]> {
  const known = new Uint8Array(recording.count)
  for (let i = 0; i < ledger.count; i++) known[ledger.frame(i)] = 1
  const byTap = new Map<number, number[]>()
  for (let i = 0; i < recording.count; i++) {
    if (known[i] === 1 || recording.direction(i) === DIRECTION.out) continue
    const frames = byTap.get(recording.tap(i))
    if (frames) frames.push(i)
    else byTap.set(recording.tap(i), [i])
  }
  return byTap
}
