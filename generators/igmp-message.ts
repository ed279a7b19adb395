import type { GroupRecordFields, IgmpFields } from './frame-spec.ts'
import { hexBytes, hexOf, padded32 } from './hex.ts'
import { formatIpv4 } from './wire/address.ts'
import { checksum16 } from './wire/checksum.ts'
import { type Difference, mismatches, readU16, writeFields, writeU16, writeU32 } from './wire/field.ts'
import {
  groupRecord,
  groupRecords,
  IGMP_TYPE,
  igmp,
  igmpQuery,
  igmpReport,
  querySource,
  recordLength,
  recordSource,
} from './wire/igmp.ts'

type Form = 'eight octets' | 'query' | 'report'

/** Which of the three layouts the fields ask for: RFC 2236 §2, RFC 3376 §4.1, §4.2. */
function formOf(fields: IgmpFields): Form {
  const { reserved1, reserved2, numberOfGroupRecords, records } = fields
  const report = [reserved1, reserved2, numberOfGroupRecords, records].some(isGiven)
  if (report || fields.type === IGMP_TYPE.V3_MEMBERSHIP_REPORT) return 'report'
  const { resv, sFlag, qrv, qqic, numberOfSources, sources } = fields
  return [resv, sFlag, qrv, qqic, numberOfSources, sources].some(isGiven) ? 'query' : 'eight octets'
}

function isGiven(value: unknown): boolean {
  return value !== undefined
}

/** Length of the message that `buildIgmp` makes, trailing octets included. */
export function igmpMessageLength(fields: IgmpFields): number {
  const trailing = hexBytes(fields.trailing ?? '', 'igmp.trailing').length
  return bodyLength(fields) + trailing
}

function bodyLength(fields: IgmpFields): number {
  switch (formOf(fields)) {
    case 'eight octets':
      return igmp.length
    case 'query':
      return igmpQuery.length + 4 * (fields.sources?.length ?? 0)
    case 'report':
      return (fields.records ?? []).reduce((length, record) => length + builtRecordLength(record), igmpReport.length)
  }
}

function builtRecordLength(record: GroupRecordFields): number {
  return groupRecord.length + 4 * (record.sources?.length ?? 0) + auxBytes(record).length
}

/** Auxiliary data fills whole 32-bit words (RFC 3376 §4.2.6). */
function auxBytes(record: GroupRecordFields): Uint8Array {
  return padded32(hexBytes(record.auxData ?? '', 'igmp.records.auxData'))
}

/** The message's bytes; fields left out get the right value, checksum last (RFC 3376 §4.1.2, §4.2.2). */
export function buildIgmp(fields: IgmpFields): Uint8Array {
  const bytes = new Uint8Array(igmpMessageLength(fields))
  const form = formOf(fields)
  if (form === 'eight octets') writeFields(igmp, bytes, 0, eightOctets(fields))
  if (form === 'query') writeQuery(bytes, fields)
  if (form === 'report') writeReport(bytes, fields)
  bytes.set(hexBytes(fields.trailing ?? '', 'igmp.trailing'), bodyLength(fields))
  writeU16(bytes, 2, fields.checksum ?? checksumOf(bytes, 0, bytes.length, fields))
  return bytes
}

function eightOctets(fields: IgmpFields) {
  const type = fields.type ?? (fields.maxRespCode === undefined ? IGMP_TYPE.V2_MEMBERSHIP_REPORT : QUERY)
  return { type, maxRespCode: fields.maxRespCode ?? defaultMaxRespCode(type, fields.group), group: fields.group ?? 0 }
}

const QUERY = IGMP_TYPE.MEMBERSHIP_QUERY

/** Query Response Interval 10 s for General Queries, Last Member Query Interval 1 s (RFC 3376 §8.3, §8.8). */
function defaultMaxRespCode(type: number, group = 0): number {
  if (type !== QUERY) return 0
  return group === 0 ? 100 : 10
}

/** Robustness 2 and Query Interval 125 s unless given (RFC 3376 §8.1, §8.2). */
function writeQuery(bytes: Uint8Array, fields: IgmpFields): void {
  const sources = fields.sources ?? []
  writeFields(igmpQuery, bytes, 0, {
    type: fields.type ?? QUERY,
    maxRespCode: fields.maxRespCode ?? defaultMaxRespCode(QUERY, fields.group),
    group: fields.group ?? 0,
    resv: fields.resv ?? 0,
    sFlag: fields.sFlag ?? 0,
    qrv: fields.qrv ?? 2,
    qqic: fields.qqic ?? 125,
    numberOfSources: fields.numberOfSources ?? sources.length,
  })
  writeSources(bytes, igmpQuery.length, sources)
}

function writeSources(bytes: Uint8Array, at: number, sources: number[]): void {
  for (const [i, source] of sources.entries()) writeU32(bytes, at + 4 * i, source)
}

function writeReport(bytes: Uint8Array, fields: IgmpFields): void {
  const records = fields.records ?? []
  writeFields(igmpReport, bytes, 0, {
    type: fields.type ?? IGMP_TYPE.V3_MEMBERSHIP_REPORT,
    reserved1: fields.reserved1 ?? 0,
    reserved2: fields.reserved2 ?? 0,
    numberOfGroupRecords: fields.numberOfGroupRecords ?? records.length,
  })
  let at = igmpReport.length
  for (const record of records) at = writeRecord(bytes, at, record)
}

function writeRecord(bytes: Uint8Array, at: number, record: GroupRecordFields): number {
  const sources = record.sources ?? []
  const aux = auxBytes(record)
  writeFields(groupRecord, bytes, at, {
    recordType: record.recordType,
    auxDataLen: record.auxDataLen ?? aux.length / 4,
    numberOfSources: record.numberOfSources ?? sources.length,
    multicastAddress: record.multicastAddress,
  })
  writeSources(bytes, at + groupRecord.length, sources)
  const auxAt = at + groupRecord.length + 4 * sources.length
  bytes.set(aux, auxAt)
  return auxAt + aux.length
}

/** Right for the octets it is said to cover, then spoilt by `checksumXor`. */
function checksumOf(frame: Uint8Array, at: number, end: number, fields: IgmpFields): number {
  const covered = Math.min(end, at + (fields.checksumLengthBytes ?? end - at))
  return checksum16(frame, at + 4, covered, readU16(frame, at)) ^ (fields.checksumXor ?? 0)
}

/**
 * How the message from `at` to `end` differs from the fields given. Wanted records are looked for in their order, others
 * may stand between them (give `numberOfGroupRecords` to be exact); sources are compared as sets.
 */
export function matchIgmp(fields: IgmpFields, frame: Uint8Array, at: number, end: number): Difference[] {
  const { type, maxRespCode, checksum, group } = fields
  const report = formOf(fields) === 'report'
  const found = report
    ? mismatches(igmpReport, frame, at, { type: type ?? IGMP_TYPE.V3_MEMBERSHIP_REPORT, ...reportFields(fields) })
    : mismatches(igmp, frame, at, { type, maxRespCode, checksum, group })
  if (formOf(fields) === 'query') found.push(...queryDifferences(fields, frame, at, end))
  if (report && found.length === 0) found.push(...recordDifferences(fields.records ?? [], frame, at, end))
  return found.concat(checksumDifference(fields, frame, at, end), trailingDifference(fields, frame, at, end))
}

function reportFields({ reserved1, reserved2, checksum, numberOfGroupRecords }: IgmpFields) {
  return { reserved1, reserved2, checksum, numberOfGroupRecords }
}

function queryDifferences(fields: IgmpFields, frame: Uint8Array, at: number, end: number): Difference[] {
  if (at + igmpQuery.length > end) {
    return [{ field: 'igmp.version', at, expected: 'v3 Query of 12 octets or more', actual: `${end - at} octets` }]
  }
  const { resv, sFlag, qrv, qqic, numberOfSources, sources } = fields
  const found = mismatches(igmpQuery, frame, at, { resv, sFlag, qrv, qqic, numberOfSources })
  const count = igmpQuery.fields.numberOfSources.get(frame, at)
  const actual = listOf(Math.min(count, (end - at - igmpQuery.length) >> 2), i => querySource(frame, at, i))
  return found.concat(sourcesDifference('igmp.sources', at + igmpQuery.length, sources, actual))
}

function recordDifferences(wanted: GroupRecordFields[], frame: Uint8Array, at: number, end: number): Difference[] {
  const records = groupRecords(frame, at, end)
  const nearest: Difference[][] = []
  let done = 0
  while (done < wanted.length && records.next()) {
    const differences = recordMismatch(wanted[done]!, frame, records.at, done)
    if (differences.length === 0) done++
    else nearest[done] ??= differences
  }
  if (done === wanted.length) return []
  const missing = {
    field: `igmp.records[${done}]`,
    at,
    expected: 'a Group Record',
    actual: records.malformed?.why ?? 'none',
  }
  return nearest[done] ?? [missing]
}

function recordMismatch(want: GroupRecordFields, frame: Uint8Array, at: number, index: number): Difference[] {
  const { recordType, auxDataLen, numberOfSources, multicastAddress } = want
  const found = mismatches(groupRecord, frame, at, { recordType, auxDataLen, numberOfSources, multicastAddress })
  const count = groupRecord.fields.numberOfSources.get(frame, at)
  const sources = listOf(count, i => recordSource(frame, at, i))
  const prefix = `igmp.records[${index}]`
  const named = found.map(difference => ({ ...difference, field: difference.field.replace('groupRecord', prefix) }))
  named.push(...sourcesDifference(`${prefix}.sources`, at + groupRecord.length, want.sources, sources))
  if (want.auxData === undefined) return named
  const auxAt = at + groupRecord.length + 4 * count
  const aux = frame.subarray(auxAt, at + recordLength(frame, at))
  return named.concat(hexDifference(`${prefix}.auxData`, auxAt, padded32(hexBytes(want.auxData, 'auxData')), aux))
}

function listOf(count: number, item: (i: number) => number): number[] {
  return Array.from({ length: count }, (_, i) => item(i))
}

function sourcesDifference(field: string, at: number, want: number[] | undefined, actual: number[]): Difference[] {
  if (want === undefined) return []
  const [expected, seen] = [sourceText(want), sourceText(actual)]
  return expected === seen ? [] : [{ field, at, expected, actual: seen }]
}

function sourceText(sources: number[]): string {
  return `{${[...sources]
    .sort((a, b) => a - b)
    .map(formatIpv4)
    .join(', ')}}`
}

function checksumDifference(fields: IgmpFields, frame: Uint8Array, at: number, end: number): Difference[] {
  if (fields.checksumXor === undefined && fields.checksumLengthBytes === undefined) return []
  const expected = checksumOf(frame, at, end, fields)
  const actual = igmp.fields.checksum.get(frame, at)
  return expected === actual ? [] : [{ field: 'igmp.checksum', at: at + 2, expected, actual }]
}

function trailingDifference(fields: IgmpFields, frame: Uint8Array, at: number, end: number): Difference[] {
  if (fields.trailing === undefined) return []
  const trailingAt = messageEnd(frame, at, end)
  return hexDifference(
    'igmp.trailing',
    trailingAt,
    hexBytes(fields.trailing, 'igmp.trailing'),
    frame.subarray(trailingAt, end),
  )
}

/** Where the message ends by its own counts; behind it are additional data (RFC 3376 §4.1.10, §4.2.11). */
function messageEnd(frame: Uint8Array, at: number, end: number): number {
  const type = igmp.fields.type.get(frame, at)
  if (type === IGMP_TYPE.V3_MEMBERSHIP_REPORT) {
    const records = groupRecords(frame, at, end)
    let last = at + igmpReport.length
    while (records.next()) last = records.at + recordLength(frame, records.at)
    return Math.min(last, end)
  }
  if (type !== QUERY || end - at < igmpQuery.length) return Math.min(at + igmp.length, end)
  return Math.min(at + igmpQuery.length + 4 * igmpQuery.fields.numberOfSources.get(frame, at), end)
}

/** At most one difference, at the first byte that differs. */
export function hexDifference(field: string, at: number, want: Uint8Array, actual: Uint8Array): Difference[] {
  const expected = hexOf(want)
  const seen = hexOf(actual)
  if (expected === seen) return []
  let i = 0
  while (i < want.length && want[i] === actual[i]) i++
  return [{ field, at: at + i, expected, actual: seen }]
}
