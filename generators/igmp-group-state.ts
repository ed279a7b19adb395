import type { GroupRecordFields } from './frame-spec.ts'
import {
  changedSources,
  currentStateRecord,
  isForwarded,
  isMember,
  NOT_A_MEMBER,
  queriedSourcesRecords,
  recordOf,
  type SourceFilter,
} from './igmp-filter.ts'
import { RECORD_TYPE } from './wire/igmp.ts'

/** No deadline. */
export const NEVER_MS = Number.POSITIVE_INFINITY

/** One group at one IGMPv3 host: its filter, what of it is still to be told, and the answer it owes (RFC 3376 §5.1, §5.2). */
export class GroupState {
  readonly group: number
  filter: SourceFilter = NOT_A_MEMBER
  /** When the next State-Change Report is due. */
  changeDueMs = NEVER_MS
  /** When the answer to a Group-Specific or Group-and-Source-Specific Query, or a v1/v2 report, is due. */
  answerDueMs = NEVER_MS
  /** v1/v2: this host sent the last report it knows of, so a leave is its to tell (RFC 2236 §3). */
  lastReporter = false
  /** v1/v2: unsolicited reports still to be sent. */
  reportsLeft = 0
  #modeReportsLeft = 0
  /** Sources with retransmission state, and how often each is still to be told. */
  readonly #sourceReportsLeft = new Map<number, number>()
  /** Sources of pending Group-and-Source-Specific Queries; empty: the whole state is asked for. */
  #queried = new Set<number>()

  constructor(group: number) {
    this.group = group
  }

  /** Takes the new filter and notes what must be told `robustness` times; false when nothing changed (RFC 3376 §5.1). */
  change(filter: SourceFilter, robustness: number): boolean {
    const previous = this.filter
    const changed = changedSources(previous, filter)
    if (previous.mode === filter.mode && changed.length === 0) return false
    this.filter = filter
    if (previous.mode !== filter.mode) {
      this.#modeReportsLeft = robustness
      this.#sourceReportsLeft.clear()
    } else for (const source of changed) this.#sourceReportsLeft.set(source, robustness)
    return true
  }

  get hasChangesToTell(): boolean {
    return this.#modeReportsLeft > 0 || this.#sourceReportsLeft.size > 0
  }

  /** Records of the State-Change Report that goes out now; counts it (RFC 3376 §5.1, the last table). */
  takeChangeRecords(): GroupRecordFields[] {
    const records = this.#modeReportsLeft > 0 ? [this.#filterModeChange()] : this.#sourceListChanges()
    this.#modeReportsLeft = Math.max(0, this.#modeReportsLeft - 1)
    for (const [source, left] of this.#sourceReportsLeft) {
      if (left > 1) this.#sourceReportsLeft.set(source, left - 1)
      else this.#sourceReportsLeft.delete(source)
    }
    return records
  }

  #filterModeChange(): GroupRecordFields {
    const { CHANGE_TO_INCLUDE_MODE, CHANGE_TO_EXCLUDE_MODE } = RECORD_TYPE
    const type = this.filter.mode === 'include' ? CHANGE_TO_INCLUDE_MODE : CHANGE_TO_EXCLUDE_MODE
    return recordOf(type, this.group, this.filter.sources)
  }

  #sourceListChanges(): GroupRecordFields[] {
    const pending = [...this.#sourceReportsLeft.keys()]
    const allowed = pending.filter(source => isForwarded(this.filter, source))
    const blocked = pending.filter(source => !isForwarded(this.filter, source))
    const records = [
      recordOf(RECORD_TYPE.ALLOW_NEW_SOURCES, this.group, allowed),
      recordOf(RECORD_TYPE.BLOCK_OLD_SOURCES, this.group, blocked),
    ]
    return records.filter(record => (record.sources ?? []).length > 0)
  }

  /** A query for this group, to be answered at `dueMs` at the latest; rules 3 to 5 of RFC 3376 §5.2. */
  schedule(dueMs: number, sources: readonly number[]): void {
    const pending = this.answerDueMs !== NEVER_MS
    if (!pending) this.#queried = new Set(sources)
    else if (sources.length === 0 || this.#queried.size === 0) this.#queried.clear()
    else for (const source of sources) this.#queried.add(source)
    this.answerDueMs = Math.min(this.answerDueMs, dueMs)
  }

  /** The answer that was due; nothing when the state asked for is empty (RFC 3376 §5.2). */
  takeAnswerRecords(): GroupRecordFields[] {
    const queried = this.#queried
    this.#queried = new Set()
    this.answerDueMs = NEVER_MS
    if (!isMember(this.filter)) return []
    if (queried.size > 0) return queriedSourcesRecords(this.group, this.filter, queried)
    return [currentStateRecord(this.group, this.filter)]
  }

  /** Forgets everything that is pending (RFC 3376 §7.2.1, a change of compatibility mode). */
  cancelPending(): void {
    this.changeDueMs = NEVER_MS
    this.answerDueMs = NEVER_MS
    this.reportsLeft = 0
    this.#modeReportsLeft = 0
    this.#sourceReportsLeft.clear()
    this.#queried.clear()
  }
}
