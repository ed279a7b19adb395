import type { Recording } from '../../captures/record.ts'
import { groupRecord, groupRecords, IGMP_TYPE, igmp, queryVersion } from '../../generators/wire/igmp.ts'
import { IP_PROTOCOL, ipv4, ipv4End, ipv4HeaderLength } from '../../generators/wire/ipv4.ts'
import { innerIpAt } from './inner.ts'

/** Where an IGMP message lies in a frame. */
export interface IgmpPlace {
  ipAt: number
  at: number
  end: number
}

/** Undefined when the frame carries no IGMP message of at least eight octets (RFC 3376 §4). */
export function igmpIn(frame: Uint8Array): IgmpPlace | undefined {
  const ipAt = innerIpAt(frame, 0)
  if (ipAt < 0 || ipv4.fields.protocol.get(frame, ipAt) !== IP_PROTOCOL.IGMP) return undefined
  const at = ipAt + ipv4HeaderLength(frame, ipAt)
  const end = ipv4End(frame, ipAt, frame.length)
  return at + igmp.length <= end ? { ipAt, at, end } : undefined
}

/** Frames at one tap in one direction and time that carry IGMP, by index in the recording, in time order. */
export function igmpFrames(
  recording: Recording,
  where: { tap: number; direction: number; afterNs: number; beforeNs: number },
): number[] {
  const frames = igmpByTap(recording).get(where.tap) ?? []
  return frames
    .filter(i => recording.direction(i) === where.direction)
    .filter(i => recording.timeNs(i) >= where.afterNs && recording.timeNs(i) < where.beforeNs)
    .sort((a, b) => recording.timeNs(a) - recording.timeNs(b))
}

const indices = new WeakMap<Recording, Map<number, number[]>>()

/** One pass over the bytes for all pods and checks of a stage; what is found never changes. */
function igmpByTap(recording: Recording): Map<number, number[]> {
  const known = indices.get(recording)
  if (known) return known
  const byTap = new Map<number, number[]>()
  for (let i = 0; i < recording.count; i++) {
    if (!igmpIn(recording.bytes(i))) continue
    const tap = recording.tap(i)
    const frames = byTap.get(tap)
    if (frames) frames.push(i)
    else byTap.set(tap, [i])
  }
  indices.set(recording, byTap)
  return byTap
}

/** What type and length make the message (RFC 3376 §7.1); undefined: none of the three. */
export function igmpVersion(frame: Uint8Array, { at, end }: IgmpPlace): 1 | 2 | 3 | undefined {
  switch (igmp.fields.type.get(frame, at)) {
    case IGMP_TYPE.V1_MEMBERSHIP_REPORT:
      return 1
    case IGMP_TYPE.V2_MEMBERSHIP_REPORT:
    case IGMP_TYPE.V2_LEAVE_GROUP:
      return 2
    case IGMP_TYPE.V3_MEMBERSHIP_REPORT:
      return 3
    case IGMP_TYPE.MEMBERSHIP_QUERY:
      return queryVersion(frame, at, end)
    default:
      return undefined
  }
}

/** Whether a report or leave is about the group; queries never are. */
export function reports(frame: Uint8Array, { at, end }: IgmpPlace, group: number): boolean {
  const type = igmp.fields.type.get(frame, at)
  if (type === IGMP_TYPE.MEMBERSHIP_QUERY) return false
  if (type !== IGMP_TYPE.V3_MEMBERSHIP_REPORT) return igmp.fields.group.get(frame, at) === group
  const records = groupRecords(frame, at, end)
  while (records.next()) if (groupRecord.fields.multicastAddress.get(frame, records.at) === group) return true
  return false
}
