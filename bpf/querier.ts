import { groupMac } from '../generators/wire/address.ts'
import { ETHER_TYPE, ethernet, MIN_FRAME_BYTES } from '../generators/wire/ethernet.ts'
import { writeFields, writeU32 } from '../generators/wire/field.ts'
import {
  ALL_SYSTEMS,
  fillIgmpChecksum,
  IGMP_TYPE,
  igmp,
  igmpQuery,
  maxRespCodeOf,
  qqicOf,
} from '../generators/wire/igmp.ts'
import { fillIpv4Checksum, IP_PROTOCOL, ipv4 } from '../generators/wire/ipv4.ts'
import type { QuerierTimers } from './datapath.ts'

/** What a Query asks: everything (group 0), a group, or some sources of a group (RFC 3376 §4.1.9). */
export interface Question {
  group: number
  sources: readonly number[]
}

export interface Asker {
  /** The node's address: the querier's. */
  address: number
  /** The veth's node end. */
  mac: number
  timers: QuerierTimers
}

const IP_HEADER_BYTES = 24
const ROUTER_ALERT = 0x9404_0000
const INTERNETWORK_CONTROL = 0xc0
/** An MTU of 1500 less 24 of IP and 12 of the Query, in words (RFC 3376 §4.1.8). */
const SOURCES_MAX = 366

/** A Membership Query as a frame. Version 2 has no way to ask for sources: it asks for the group (RFC 2236 §2). */
export function queryFrame(asker: Asker, question: Question): Uint8Array {
  const sources = asker.timers.version === 3 ? question.sources.slice(0, SOURCES_MAX) : []
  const igmpBytes = asker.timers.version === 3 ? igmpQuery.length + 4 * sources.length : igmp.length
  const ipAt = ethernet.length
  const igmpAt = ipAt + IP_HEADER_BYTES
  const end = igmpAt + igmpBytes
  const frame = new Uint8Array(Math.max(MIN_FRAME_BYTES, end))
  const destination = question.group || ALL_SYSTEMS
  writeFields(ethernet, frame, 0, { dst: groupMac(destination), src: asker.mac, etherType: ETHER_TYPE.IPV4 })
  writeFields(ipv4, frame, ipAt, {
    version: 4,
    ihl: IP_HEADER_BYTES / 4,
    tos: INTERNETWORK_CONTROL,
    totalLength: end - ipAt,
    ttl: 1,
    protocol: IP_PROTOCOL.IGMP,
    src: asker.address,
    dst: destination,
  })
  writeU32(frame, ipAt + ipv4.length, ROUTER_ALERT)
  fillIpv4Checksum(frame, ipAt, IP_HEADER_BYTES)
  writeMessage(frame, igmpAt, asker.timers, question.group, sources)
  fillIgmpChecksum(frame, igmpAt, end)
  return frame
}

/** For a fault: No Operation options where Router Alert was. */
export function replaceRouterAlert(frame: Uint8Array): void {
  const ipAt = ethernet.length
  writeU32(frame, ipAt + ipv4.length, 0x0101_0101)
  fillIpv4Checksum(frame, ipAt, IP_HEADER_BYTES)
}

function writeMessage(
  frame: Uint8Array,
  at: number,
  timers: QuerierTimers,
  group: number,
  sources: readonly number[],
): void {
  const responseMs = group ? timers.lastMemberQueryIntervalMs : timers.queryResponseIntervalMs
  // A code of 0 would make it a Query of version 1 (RFC 3376 §7.1).
  const maxRespCode = Math.max(1, maxRespCodeOf(Math.round(responseMs / 100)))
  writeFields(igmp, frame, at, { type: IGMP_TYPE.MEMBERSHIP_QUERY, maxRespCode, group })
  if (timers.version !== 3) return
  writeFields(igmpQuery, frame, at, {
    // More than 7 does not fit and is sent as 0 (RFC 3376 §4.1.6).
    qrv: timers.robustness > 7 ? 0 : timers.robustness,
    qqic: qqicOf(Math.round(timers.queryIntervalMs / 1000)),
    numberOfSources: sources.length,
  })
  for (const [i, source] of sources.entries()) writeU32(frame, at + igmpQuery.length + 4 * i, source)
}
