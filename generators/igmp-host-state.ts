import type { GroupRecordFields, IgmpFields } from './frame-spec.ts'
import { currentStateRecord, isMember, NOT_A_MEMBER, packRecords, type SourceFilter } from './igmp-filter.ts'
import { GroupState, NEVER_MS } from './igmp-group-state.ts'
import { ALL_SYSTEMS, IGMP_TYPE } from './wire/igmp.ts'

export type IgmpVersion = 1 | 2 | 3

export interface IgmpHostOptions {
  /** The highest version it speaks; 3 unless given. */
  version?: IgmpVersion
  /** Falls back to the version of an older querier (RFC 3376 §7.2.1); otherwise it speaks `version` whatever it hears. */
  followsQuerier?: boolean
  /** How often a change is told, until a Query's QRV says otherwise (RFC 3376 §8.1); 2 unless given. */
  robustness?: number
  /** v1/v2: a report of somebody else makes ours needless (RFC 2236 §3); true unless given. */
  suppression?: boolean
  /** Retransmissions come within this; 1 s for v3, 10 s for v1 and v2 (RFC 3376 §8.11, RFC 2236 §8.10). */
  unsolicitedReportIntervalMs?: number
  /** Until a Query's QQIC says otherwise (RFC 3376 §8.2). */
  queryIntervalMs?: number
}

/** A Query as the host hears it. */
export interface HeardQuery {
  version: IgmpVersion
  /** 0: General Query. */
  group: number
  sources: readonly number[]
  maxRespTimeMs: number
  /** v3 only; 0 = not told. */
  qrv: number
  qqiMs: number
}

const DEFAULT_ROBUSTNESS = 2
const DEFAULT_QUERY_INTERVAL_MS = 125_000
const QUERY_RESPONSE_INTERVAL_MS = 10_000

/**
 * One IGMP host as a pure state machine: events and the time go in, messages to send at once come out, `deadlineMs` says when
 * `tick` is wanted. Randomness comes from the function given.
 */
export class IgmpHostState {
  readonly #options: IgmpHostOptions
  readonly #random: () => number
  readonly #groups = new Map<number, GroupState>()
  #robustness: number
  #queryIntervalMs: number
  /** Older Version Querier Present timers: until when (RFC 3376 §7.2.1). */
  #v1QuerierUntilMs = 0
  #v2QuerierUntilMs = 0
  #mode: IgmpVersion
  /** When the answer to a v3 General Query is due. */
  #generalDueMs = NEVER_MS

  constructor(options: IgmpHostOptions, random: () => number) {
    this.#options = options
    this.#random = random
    this.#robustness = options.robustness ?? DEFAULT_ROBUSTNESS
    this.#queryIntervalMs = options.queryIntervalMs ?? DEFAULT_QUERY_INTERVAL_MS
    this.#mode = options.version ?? 3
  }

  /** Host Compatibility Mode: the version spoken at the last event (RFC 3376 §7.2.1). */
  get version(): IgmpVersion {
    return this.#mode
  }

  filter(group: number): SourceFilter {
    return this.#groups.get(group)?.filter ?? NOT_A_MEMBER
  }

  /** Groups it is a member of. */
  memberships(): number[] {
    return [...this.#groups.values()].filter(state => isMember(state.filter)).map(state => state.group)
  }

  /** The filter wanted from now on; NOT_A_MEMBER leaves. 224.0.0.1 is never reported (RFC 3376 §5). */
  setFilter(group: number, filter: SourceFilter, nowMs: number): IgmpFields[] {
    this.#updateMode(nowMs)
    const state = this.#groups.get(group) ?? new GroupState(group)
    this.#groups.set(group, state)
    const wasMember = isMember(state.filter)
    const changed = state.change(filter, this.#robustness)
    if (group === ALL_SYSTEMS || !changed) return this.#forgetSilently(state)
    if (this.#mode === 3) return this.#tellChange(state, nowMs)
    return this.#tellOlderChange(state, wasMember, nowMs)
  }

  #forgetSilently(state: GroupState): IgmpFields[] {
    if (state.group === ALL_SYSTEMS) state.cancelPending()
    this.#dropIfIdle(state)
    return []
  }

  #tellChange(state: GroupState, nowMs: number): IgmpFields[] {
    const records = state.takeChangeRecords()
    state.changeDueMs = state.hasChangesToTell ? nowMs + this.#within(this.#unsolicitedMs()) : NEVER_MS
    this.#dropIfIdle(state)
    return reportsOf(records)
  }

  /** v1/v2 know members only: joining is told `robustness` times, leaving once and by v2 alone (RFC 2236 §3). */
  #tellOlderChange(state: GroupState, wasMember: boolean, nowMs: number): IgmpFields[] {
    const member = isMember(state.filter)
    const leaves = wasMember && !member && this.#mode === 2 && (state.lastReporter || !this.#suppression())
    if (member === wasMember) return []
    state.cancelPending()
    if (member) {
      state.reportsLeft = this.#robustness
      return this.#olderReport(state, nowMs)
    }
    this.#dropIfIdle(state)
    return leaves ? [{ type: IGMP_TYPE.V2_LEAVE_GROUP, group: state.group }] : []
  }

  #olderReport(state: GroupState, nowMs: number): IgmpFields[] {
    state.lastReporter = true
    state.answerDueMs = NEVER_MS
    state.reportsLeft = Math.max(0, state.reportsLeft - 1)
    state.changeDueMs = state.reportsLeft > 0 ? nowMs + this.#within(this.#unsolicitedMs()) : NEVER_MS
    const type = this.#mode === 1 ? IGMP_TYPE.V1_MEMBERSHIP_REPORT : IGMP_TYPE.V2_MEMBERSHIP_REPORT
    return [{ type, group: state.group }]
  }

  /** A Query has been heard; the answers come by `tick` after a random delay (RFC 3376 §5.2, RFC 2236 §3). */
  query(query: HeardQuery, nowMs: number): void {
    this.#learn(query, nowMs)
    this.#updateMode(nowMs)
    if (this.#mode === 3) this.#scheduleAnswer(query, nowMs)
    else this.#scheduleOlderAnswers(query, nowMs)
  }

  #learn(query: HeardQuery, nowMs: number): void {
    if (query.version === 3 && (this.#options.version ?? 3) === 3) {
      this.#robustness = query.qrv || (this.#options.robustness ?? DEFAULT_ROBUSTNESS)
      if (query.qqiMs > 0) this.#queryIntervalMs = query.qqiMs
    }
    // RFC 3376 §8.12.
    const untilMs = nowMs + this.#robustness * this.#queryIntervalMs + QUERY_RESPONSE_INTERVAL_MS
    if (query.version === 1) this.#v1QuerierUntilMs = untilMs
    if (query.version === 2 && query.group === 0) this.#v2QuerierUntilMs = untilMs
  }

  /** A new mode cancels all pending answers and retransmissions (RFC 3376 §7.2.1). */
  #updateMode(nowMs: number): void {
    const highest = this.#options.version ?? 3
    let mode = highest
    if (this.#options.followsQuerier ?? true) {
      if (this.#v2QuerierUntilMs > nowMs) mode = Math.min(mode, 2) as IgmpVersion
      if (this.#v1QuerierUntilMs > nowMs) mode = 1
    }
    if (mode === this.#mode) return
    this.#mode = mode
    this.#generalDueMs = NEVER_MS
    for (const state of this.#groups.values()) {
      state.cancelPending()
      this.#dropIfIdle(state)
    }
  }

  /** Rules 1 to 5 of RFC 3376 §5.2. */
  #scheduleAnswer(query: HeardQuery, nowMs: number): void {
    const dueMs = nowMs + this.#within(query.maxRespTimeMs)
    if (this.#generalDueMs < dueMs || query.group === ALL_SYSTEMS) return
    if (query.group === 0) this.#generalDueMs = dueMs
    else this.#groups.get(query.group)?.schedule(dueMs, query.sources)
  }

  /** A running timer is set anew only when it would outlast the Max Response Time (RFC 2236 §3). */
  #scheduleOlderAnswers(query: HeardQuery, nowMs: number): void {
    for (const state of this.#groups.values()) {
      const asked = query.group === 0 || query.group === state.group
      if (!asked || !isMember(state.filter) || state.group === ALL_SYSTEMS) continue
      if (state.answerDueMs <= nowMs + query.maxRespTimeMs) continue
      state.answerDueMs = nowMs + this.#within(query.maxRespTimeMs)
    }
  }

  /** Somebody else's v1 or v2 report of the group (RFC 2236 §3). */
  reportHeard(group: number): void {
    const state = this.#groups.get(group)
    if (!state || this.#mode === 3 || !this.#suppression()) return
    state.lastReporter = false
    state.answerDueMs = NEVER_MS
    state.changeDueMs = NEVER_MS
    state.reportsLeft = 0
  }

  /** When `tick` is next wanted; Infinity when nothing is pending. */
  deadlineMs(): number {
    let dueMs = this.#generalDueMs
    for (const state of this.#groups.values()) dueMs = Math.min(dueMs, state.changeDueMs, state.answerDueMs)
    return dueMs
  }

  /** Messages that are due, records packed into as few reports as possible (RFC 3376 §5.2). */
  tick(nowMs: number): IgmpFields[] {
    this.#updateMode(nowMs)
    return this.#mode === 3 ? this.#tickV3(nowMs) : this.#tickOlder(nowMs)
  }

  #tickV3(nowMs: number): IgmpFields[] {
    const messages: IgmpFields[] = []
    const answers = this.#generalDueMs <= nowMs ? this.#generalAnswer() : []
    for (const state of [...this.#groups.values()]) {
      if (state.changeDueMs <= nowMs) messages.push(...this.#tellChange(state, nowMs))
      if (state.answerDueMs <= nowMs) answers.push(...state.takeAnswerRecords())
      this.#dropIfIdle(state)
    }
    return messages.concat(reportsOf(answers))
  }

  #generalAnswer(): GroupRecordFields[] {
    this.#generalDueMs = NEVER_MS
    const told = [...this.#groups.values()].filter(({ group, filter }) => group !== ALL_SYSTEMS && isMember(filter))
    return told.map(({ group, filter }) => currentStateRecord(group, filter))
  }

  #tickOlder(nowMs: number): IgmpFields[] {
    const due = [...this.#groups.values()].filter(state => Math.min(state.answerDueMs, state.changeDueMs) <= nowMs)
    return due.flatMap(state => this.#olderReport(state, nowMs))
  }

  #dropIfIdle(state: GroupState): void {
    const idle = state.changeDueMs === NEVER_MS && !state.hasChangesToTell
    if (idle && !isMember(state.filter)) this.#groups.delete(state.group)
  }

  #suppression(): boolean {
    return this.#options.suppression ?? true
  }

  #unsolicitedMs(): number {
    return this.#options.unsolicitedReportIntervalMs ?? (this.#mode === 3 ? 1000 : 10_000)
  }

  /** Uniform in (0, intervalMs]. */
  #within(intervalMs: number): number {
    return (1 - this.#random()) * intervalMs
  }
}

function reportsOf(records: readonly GroupRecordFields[]): IgmpFields[] {
  return packRecords(records).map(packed => ({ type: IGMP_TYPE.V3_MEMBERSHIP_REPORT, records: packed }))
}
