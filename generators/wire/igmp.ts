import { checksum16, sum16 } from './checksum.ts'
import { bitsOfU8, header, type Malformed, readU8, readU32, u8, u16, u32 } from './field.ts'

/** The eight octets of IGMPv1 and v2 messages (RFC 1112 appendix I, RFC 2236 §2) and the start of every Query. */
export const igmp = header('igmp', 8, { type: u8(0), maxRespCode: u8(1), checksum: u16(2), group: u32(4) })

/** IGMPv3 Membership Query without its sources (RFC 3376 §4.1). */
export const igmpQuery = header('igmp', 12, {
  ...igmp.fields,
  resv: bitsOfU8(8, 4, 4),
  sFlag: bitsOfU8(8, 3, 1),
  qrv: bitsOfU8(8, 0, 3),
  qqic: u8(9),
  numberOfSources: u16(10),
})

/** IGMPv3 Membership Report without its Group Records (RFC 3376 §4.2). */
export const igmpReport = header('igmp', 8, {
  type: u8(0),
  reserved1: u8(1),
  checksum: u16(2),
  reserved2: u16(4),
  numberOfGroupRecords: u16(6),
})

/** Group Record without sources and auxiliary data (RFC 3376 §4.2.4). */
export const groupRecord = header('groupRecord', 8, {
  recordType: u8(0),
  auxDataLen: u8(1),
  numberOfSources: u16(2),
  multicastAddress: u32(4),
})

/** RFC 3376 §4, RFC 2236 §2.1, RFC 1112 appendix I. */
export const IGMP_TYPE = {
  MEMBERSHIP_QUERY: 0x11,
  V1_MEMBERSHIP_REPORT: 0x12,
  V2_MEMBERSHIP_REPORT: 0x16,
  V2_LEAVE_GROUP: 0x17,
  V3_MEMBERSHIP_REPORT: 0x22,
} as const

/** RFC 3376 §4.2.12. */
export const RECORD_TYPE = {
  MODE_IS_INCLUDE: 1,
  MODE_IS_EXCLUDE: 2,
  CHANGE_TO_INCLUDE_MODE: 3,
  CHANGE_TO_EXCLUDE_MODE: 4,
  ALLOW_NEW_SOURCES: 5,
  BLOCK_OLD_SOURCES: 6,
} as const

export const ALL_SYSTEMS = 0xe000_0001
export const ALL_ROUTERS = 0xe000_0002
/** Where IGMPv3 reports go (RFC 3376 §4.2.14). */
export const ALL_IGMPV3_ROUTERS = 0xe000_0016

/** Max Resp Code to Max Resp Time in tenths of a second; above 127 it is a float (RFC 3376 §4.1.1). */
export function maxRespTimeDs(code: number): number {
  return floatOf(code)
}

/** The largest code whose time is not above `ds`; times above 31744 give 255 (RFC 3376 §4.1.1). */
export function maxRespCodeOf(ds: number): number {
  return codeOf(ds)
}

/** QQIC to the Querier's Query Interval in seconds; the same float (RFC 3376 §4.1.7). */
export function queryIntervalSeconds(qqic: number): number {
  return floatOf(qqic)
}

/** The largest QQIC whose interval is not above `seconds` (RFC 3376 §4.1.7). */
export function qqicOf(seconds: number): number {
  return codeOf(seconds)
}

function floatOf(code: number): number {
  if (code < 128) return code
  const exponent = (code >> 4) & 7
  const mantissa = code & 15
  return (mantissa | 0x10) << (exponent + 3)
}

function codeOf(value: number): number {
  if (value < 128) return Math.max(0, Math.floor(value))
  if (value >= floatOf(255)) return 255
  const exponent = Math.floor(Math.log2(value)) - 7
  const mantissa = (Math.floor(value) >> (exponent + 3)) & 15
  return 0x80 | (exponent << 4) | mantissa
}

/** Over the whole IP payload, trailing octets too (RFC 3376 §4.1.2, RFC 2236 §2.3). */
export function igmpChecksumOk(frame: Uint8Array, at: number, end: number): boolean {
  return sum16(frame, at, end) === 0xffff
}

export function fillIgmpChecksum(frame: Uint8Array, at: number, end: number): void {
  igmp.fields.checksum.set(frame, at, 0)
  igmp.fields.checksum.set(frame, at, checksum16(frame, at, end))
}

/** Version of a Query by its length and Max Resp Code (RFC 3376 §7.1); undefined: must be ignored. */
export function queryVersion(frame: Uint8Array, at: number, end: number): 1 | 2 | 3 | undefined {
  const length = end - at
  if (length >= igmpQuery.length) return 3
  if (length !== igmp.length) return undefined
  return igmp.fields.maxRespCode.get(frame, at) === 0 ? 1 : 2
}

/** Source `i` of a Query at `at`; the caller has checked that it lies inside the message. */
export function querySource(frame: Uint8Array, at: number, i: number): number {
  return readU32(frame, at + igmpQuery.length + 4 * i)
}

/** Source `i` of the Group Record at `at`. */
export function recordSource(frame: Uint8Array, at: number, i: number): number {
  return readU32(frame, at + groupRecord.length + 4 * i)
}

/** The record's length by its own counts: header, sources, and Aux Data Len 32-bit words (RFC 3376 §4.2.6). */
export function recordLength(frame: Uint8Array, at: number): number {
  const sources = groupRecord.fields.numberOfSources.get(frame, at)
  return groupRecord.length + 4 * sources + 4 * readU8(frame, at + 1)
}

/** Walks Group Records; a record that does not fit ends the walk and shows in `malformed`. */
export interface GroupRecordWalk {
  /** Start of the current record, valid after `next()` said true. */
  at: number
  /** 0 for the first. */
  index: number
  malformed: Malformed | undefined
  next(): boolean
}

/**
 * Records of the report at `at`, whose message ends at `end`: as many as Number of Group Records says, octets behind
 * the last are not looked at (RFC 3376 §4.2.11).
 */
export function groupRecords(frame: Uint8Array, at: number, end: number): GroupRecordWalk {
  const stop = Math.min(end, frame.length)
  const count = igmpReport.fields.numberOfGroupRecords.get(frame, at)
  let nextAt = at + igmpReport.length
  const walk: GroupRecordWalk = {
    at: nextAt,
    index: -1,
    malformed: nextAt > stop ? { at, why: 'Membership Report shorter than 8 octets' } : undefined,
    next() {
      if (walk.malformed || walk.index + 1 >= count) return false
      walk.malformed = recordTrouble(frame, nextAt, stop, walk.index + 2, count)
      if (walk.malformed) return false
      walk.index++
      walk.at = nextAt
      nextAt += recordLength(frame, nextAt)
      return true
    },
  }
  return walk
}

function recordTrouble(frame: Uint8Array, at: number, end: number, ordinal: number, count: number) {
  if (at + groupRecord.length > end) return { at, why: `Group Record ${ordinal} of ${count} is not there` }
  if (at + recordLength(frame, at) > end) return { at, why: `Group Record ${ordinal} of ${count} is cut short` }
  return undefined
}
