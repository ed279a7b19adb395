import type { GroupRecordFields } from './frame-spec.ts'
import { groupRecord, igmpReport, RECORD_TYPE } from './wire/igmp.ts'

/** Reception state of a group at an interface; INCLUDE with no source is "not a member" (RFC 3376 §3.2). */
export interface SourceFilter {
  readonly mode: 'include' | 'exclude'
  readonly sources: ReadonlySet<number>
}

export const NOT_A_MEMBER: SourceFilter = { mode: 'include', sources: new Set() }

export function isMember(filter: SourceFilter): boolean {
  return filter.mode === 'exclude' || filter.sources.size > 0
}

/** Whether packets of the source are wanted; the other sources "must be blocked" (RFC 3376 §5.1). */
export function isForwarded(filter: SourceFilter, source: number): boolean {
  return filter.sources.has(source) === (filter.mode === 'include')
}

/** Sources whose treatment differs within one filter mode: those of the ALLOW and the BLOCK record (RFC 3376 §5.1). */
export function changedSources(from: SourceFilter, to: SourceFilter): number[] {
  const either = new Set([...from.sources, ...to.sources])
  return [...either].filter(source => from.sources.has(source) !== to.sources.has(source))
}

/** Current-State Record of a whole filter (RFC 3376 §5.2). */
export function currentStateRecord(group: number, filter: SourceFilter): GroupRecordFields {
  const { MODE_IS_INCLUDE, MODE_IS_EXCLUDE } = RECORD_TYPE
  return recordOf(filter.mode === 'include' ? MODE_IS_INCLUDE : MODE_IS_EXCLUDE, group, filter.sources)
}

/** The answer to a Group-and-Source-Specific Query; none when no queried source is wanted (RFC 3376 §5.2). */
export function queriedSourcesRecords(
  group: number,
  filter: SourceFilter,
  queried: Iterable<number>,
): GroupRecordFields[] {
  const wanted = [...queried].filter(source => isForwarded(filter, source))
  return wanted.length === 0 ? [] : [recordOf(RECORD_TYPE.MODE_IS_INCLUDE, group, wanted)]
}

export function recordOf(recordType: number, group: number, sources: Iterable<number>): GroupRecordFields {
  return { recordType, multicastAddress: group, sources: [...sources] }
}

/** Room for Group Records in a packet of 1500 bytes with Router Alert: 183 empty records, or 365 sources in one. */
const MAX_RECORD_BYTES = 1500 - 24 - igmpReport.length

/**
 * Records distributed over as few reports as their order allows. A record too long for one report is split, but of IS_EX and TO_EX
 * only the first part is sent, since a second would replace it (RFC 3376 §4.2.16).
 */
export function packRecords(records: readonly GroupRecordFields[]): GroupRecordFields[][] {
  const reports: GroupRecordFields[][] = []
  let room = 0
  for (const record of records.flatMap(fitting)) {
    const bytes = groupRecord.length + 4 * (record.sources?.length ?? 0)
    if (bytes > room) {
      reports.push([])
      room = MAX_RECORD_BYTES
    }
    reports.at(-1)?.push(record)
    room -= bytes
  }
  return reports
}

const MAX_SOURCES = (MAX_RECORD_BYTES - groupRecord.length) / 4

function fitting(record: GroupRecordFields): GroupRecordFields[] {
  const sources = record.sources ?? []
  if (sources.length <= MAX_SOURCES) return [record]
  const parts = Array.from({ length: Math.ceil(sources.length / MAX_SOURCES) }, (_, i) => ({
    ...record,
    sources: sources.slice(i * MAX_SOURCES, (i + 1) * MAX_SOURCES),
  }))
  const { MODE_IS_EXCLUDE, CHANGE_TO_EXCLUDE_MODE } = RECORD_TYPE
  const whole = record.recordType === MODE_IS_EXCLUDE || record.recordType === CHANGE_TO_EXCLUDE_MODE
  return whole ? parts.slice(0, 1) : parts
}
