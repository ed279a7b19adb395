import { DIRECTION } from '../../captures/record.ts'
import { matchFrame } from '../../generators/frame-match.ts'
import type { FrameSpec } from '../../generators/frame-spec.ts'
import type { Difference as WireDifference } from '../../generators/wire/field.ts'
import type { IgmpWant } from '../suite/expectations.ts'
import { amountText, upper, within } from './amount.ts'
import type { Check, PodSite, Seen, Sent } from './check.ts'
import { groupMacDifference } from './copy-fields.ts'
import { differenceText, readable } from './field-text.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { igmpFrames, igmpIn, igmpVersion } from './igmp-frames.ts'
import { controlFault } from './not-delivered.ts'
import { podOf, tapFault } from './places.ts'
import { counted } from './ranges.ts'
import { intervalOf } from './window.ts'

/** Identity is declared: the suite's own match on type, group and records (RFC 3376 §4, RFC 2236 §2). */
export const igmpCheck: Check<IgmpWant> = {
  name: 'igmp',
  about: 'how many IGMP messages of a description left a pod, or came to it',
  judge(want, sent, seen) {
    const findings = want.pods.map(name => {
      const pod = podOf(seen, name)
      return pod ? atPod(want, pod, sent, seen) : inconclusive(`no pod ${name} in the site`)
    })
    return conclude(
      findings,
      `${amountText(want.count)} matching IGMP messages ${want.direction} at ${counted(want.pods.length, 'pod')}`,
    )
  },
}

const SHOWN = 4

function atPod(want: IgmpWant, pod: PodSite, sent: Sent, seen: Seen): Finding {
  const interval = intervalOf(want, seen)
  if (!interval) return inconclusive(`a step that bounds the window did not come to its end`)
  const place = { tap: seen.tapIndex(pod.podTap), direction: DIRECTION[want.direction], ...interval }
  const near: { frame: number; differences: WireDifference[] }[] = []
  const matching: number[] = []
  for (const i of igmpFrames(seen.recording, place)) {
    const differences = differencesOf(want, seen.recording.bytes(i))
    if (differences.length === 0) matching.push(i)
    else near.push({ frame: i, differences })
  }
  const where = `${pod.podTap} (${want.direction})`
  if (within(want.count, matching.length)) return certain(want, where, pod, matching.length, sent, seen)
  const message = `expected ${amountText(want.count)} matching IGMP messages at ${where}, saw ${matching.length}`
  if (matching.length > upper(want.count)) {
    const frames = matching.slice(0, SHOWN).map(frame => ({ frame, note: `matching IGMP message at ${where}` }))
    return { status: 'fail', message, frames }
  }
  const fault = tapFault(seen, [pod.podTap])
  if (fault) return inconclusive(`${message}; ${fault}`)
  const nearest = near.reduce<(typeof near)[number] | undefined>(
    (a, b) => (!a || b.differences.length < a.differences.length ? b : a),
    undefined,
  )
  const differences = (nearest?.differences ?? []).map(readable)
  const details = nearest
    ? [`nearest of ${near.length}: ${differences.map(differenceText).join('; ')}`]
    : ['no IGMP message at all in the window']
  const frames = nearest
    ? [{ frame: nearest.frame, note: `nearest IGMP message: ${differences.map(differenceText).join('; ')}` }]
    : []
  return { status: 'fail', message, details, differences, frames }
}

/** An upper bound is about what did not come: the tap must have lost nothing, and have seen the control's frames. */
function certain(want: IgmpWant, where: string, pod: PodSite, count: number, sent: Sent, seen: Seen): Finding {
  if (upper(want.count) === Infinity) return pass()
  const fault = tapFault(seen, [pod.podTap])
  if (fault) return inconclusive(`${count} matching IGMP messages at ${where}: ${fault}`)
  const control = want.control && controlFault(want.control, {}, sent, seen)
  if (control) return inconclusive(`absence of IGMP messages at ${where} is not proved: ${control}`)
  return want.control ? pass(`control ${want.control.stream}`) : pass()
}

/** Empty: it matches. Group Records are looked for one by one, so that their order is free. */
function differencesOf(want: IgmpWant, frame: Uint8Array): WireDifference[] {
  const { records, ...rest } = want.igmp
  const outer: FrameSpec = { ...(want.ethernet && { ethernet: want.ethernet }), ...(want.ipv4 && { ipv4: want.ipv4 }) }
  const mac = want.groupMac ? groupMacDifference(frame, 0) : undefined
  const found = [...(mac ? [mac] : []), ...matchFrame({ ...outer, igmp: rest }, frame)]
  for (const record of records ?? []) {
    const differences = matchFrame(
      { igmp: { ...(rest.type !== undefined && { type: rest.type }), records: [record] } },
      frame,
    )
    found.push(...differences.filter(({ field }) => !found.some(other => other.field === field)))
  }
  const place = igmpIn(frame)
  const version = place && igmpVersion(frame, place)
  if (want.version === undefined || version === want.version) return found
  return [{ field: 'igmp.version', at: place?.at ?? 0, expected: want.version, actual: version ?? 'none' }, ...found]
}
