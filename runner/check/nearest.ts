import { DIRECTION } from '../../captures/record.ts'
import { ipv4 } from '../../generators/wire/ipv4.ts'
import { HAND_OVER_SLACK_NS, unidentifiedAt } from './altered.ts'
import { contentDifference } from './bytes-compare.ts'
import type { FrameNote, NodeSite, PodSite, Seen, SentStream } from './check.ts'
import { frameOfUnit, type Units } from './copies.ts'
import { fieldText } from './field-text.ts'
import { innerIpAt, sentIpAt } from './inner.ts'
import { nodeOf, podOf } from './places.ts'

/** Where a datagram that never reached `receiver` was last seen, a guess why it went no further, and the nearest frame. */
export interface Nearest {
  lines: string[]
  frames: FrameNote[]
}

interface Stop {
  tap: string
  direction: 'in' | 'out'
  /** What it means when this is the last place. */
  guess: string
  /** A datapath may go round it (`bpf_redirect_peer`): not seen here says nothing. */
  optional?: boolean
}

export function nearestMiss(seen: Seen, units: Units, unit: number, receiver: PodSite): Nearest {
  const { stream } = units
  const sender = podOf(seen, stream.pod)
  if (!sender) return { lines: [], frames: [] }
  const last = lastSeen(seen, units, unit, stopsOf(seen, sender, receiver))
  const sequence = units.sequenceOf(unit)
  const lines = last
    ? [`${sequence} was last seen at ${last.stop.tap} (${last.stop.direction}): ${last.stop.guess}`]
    : [`${sequence} was seen at no tap of the path`]
  const frames = last
    ? [{ frame: last.frame, note: `${stream.name} ${sequence}: last seen here, never at ${receiver.podTap}` }]
    : []
  const disguised = disguisedCopy(seen, stream, unit, units, receiver)
  if (!disguised) return { lines, frames }
  return { lines: [...lines, disguised.line], frames: [...frames, disguised.note] }
}

function stopsOf(seen: Seen, sender: PodSite, receiver: PodSite): Stop[] {
  const local = 'taken in but not handed to the pod: not a member there, or dropped on the node'
  const start: Stop = { tap: sender.nodeTap, direction: 'in', guess: local }
  const end: Stop = {
    tap: receiver.nodeTap,
    direction: 'out',
    guess: 'handed to the veth but not received by the pod',
    optional: true,
  }
  const from = nodeOf(seen, sender.node)
  const to = nodeOf(seen, receiver.node)
  if (sender.node === receiver.node || !from || !to) return [start, end]
  return [
    { ...start, guess: `not sent on by ${from.name}: it does not count ${to.name} as a member, or dropped it` },
    ...between(from, to, local),
    end,
  ]
}

/** What lies between two nodes. Which way routers take only they know, so all their interfaces are looked at. */
function between(from: NodeSite, to: NodeSite, local: string): Stop[] {
  const routed = [from, to].flatMap(node =>
    (node.interfaceTaps ?? []).map(
      (tap): Stop => ({ tap, direction: 'out', guess: 'lost on the way', optional: true }),
    ),
  )
  const tunnelled: (Omit<Stop, 'tap'> & { tap: string | undefined })[] = [
    { tap: from.overlayTap, direction: 'out', guess: 'not encapsulated', optional: true },
    { tap: from.uplinkTap, direction: 'out', guess: `lost on the underlay, or not addressed to ${to.name}` },
    { tap: to.uplinkTap, direction: 'in', guess: 'not decapsulated: outer header, VNI or outer source refused' },
    { tap: to.overlayTap, direction: 'in', guess: local },
  ]
  return [...routed, ...tunnelled.flatMap(({ tap, ...stop }) => (tap === undefined ? [] : [{ tap, ...stop }]))]
}

function lastSeen(seen: Seen, units: Units, unit: number, stops: readonly Stop[]) {
  for (const stop of [...stops].reverse()) {
    const frame = frameOfUnit(seen, units, unit, seen.tapIndex(stop.tap), DIRECTION[stop.direction])
    if (frame >= 0) return { stop, frame }
  }
  return undefined
}

/** A frame at the pod with the datagram's IP addresses and ID that the stamp no longer identifies: altered on the way. */
function disguisedCopy(seen: Seen, stream: SentStream, unit: number, units: Units, receiver: PodSite) {
  const k = units.sequenceOf(unit) - (stream.spec.firstSequence ?? 0)
  const original = stream.frames(k)[0]
  const originalIp = original ? sentIpAt(stream, original) : -1
  const tap = seen.tapIndex(receiver.podTap)
  if (!original || originalIp < 0 || tap < 0) return undefined
  for (const i of unidentifiedAt(seen, tap)) {
    if (seen.recording.timeNs(i) < stream.timeNs(k) - HAND_OVER_SLACK_NS) continue
    const frame = seen.recording.bytes(i)
    const ipAt = innerIpAt(frame, 0)
    if (ipAt < 0 || !sameDatagram(original, originalIp, frame, ipAt)) continue
    const difference = contentDifference(original, originalIp, frame, ipAt)
    const what = difference
      ? `${difference.field} expected ${fieldText(difference.field, difference.expected)}, saw ${fieldText(difference.field, difference.actual)}`
      : 'its stamp is not readable'
    return {
      line: `nearest frame at ${receiver.podTap}: ${what}`,
      note: { frame: i, note: `nearest to ${stream.name} ${units.sequenceOf(unit)}: ${what}` },
    }
  }
  return undefined
}

function sameDatagram(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): boolean {
  const { dst, src, protocol, fragmentOffset } = ipv4.fields
  return [dst, src, protocol, fragmentOffset].every(field => field.get(a, aAt) === field.get(b, bAt))
}
