import { buildFrame } from './frame.ts'
import type { FrameSpec, IgmpFields } from './frame-spec.ts'
import { NOT_A_MEMBER, type SourceFilter } from './igmp-filter.ts'
import { NEVER_MS } from './igmp-group-state.ts'
import { type HeardQuery, type IgmpHostOptions, IgmpHostState } from './igmp-host-state.ts'
import { seededRandom } from './random.ts'
import { formatIpv4, isMulticast } from './wire/address.ts'
import { ETHER_TYPE, ethernet, isVlanType, vlan } from './wire/ethernet.ts'
import { readU16 } from './wire/field.ts'
import {
  ALL_SYSTEMS,
  IGMP_TYPE,
  igmp,
  igmpChecksumOk,
  igmpQuery,
  maxRespTimeDs,
  queryIntervalSeconds,
  querySource,
  queryVersion,
} from './wire/igmp.ts'
import { IP_PROTOCOL, ipv4, ipv4End, ipv4HeaderLength, isFragment } from './wire/ipv4.ts'

export interface IgmpHostsOptions {
  /** Puts a frame on the interface. */
  send(frame: Uint8Array): void
  /** Of every random delay; 1 unless given. */
  seed?: number
  /** Ethernet, VLAN and so on of everything sent, under the host's own addresses. */
  defaults?: FrameSpec
  /** Something went wrong in a timer: the interface is gone. */
  onError(error: unknown): void
  /** Called once by `close`. */
  onClose?(): void
}

export interface IgmpHostSpec extends IgmpHostOptions {
  address: number
  /** 02:00 and the address unless given. */
  mac?: number
  /** Whether it answers queries and heeds others' reports; true unless given. */
  answers?: boolean
}

interface Host {
  spec: IgmpHostSpec
  state: IgmpHostState
}

/** Any number of IGMP hosts on one interface: real reports at real times, from states that are pure. */
export class IgmpHosts {
  readonly #options: IgmpHostsOptions
  readonly #random: () => number
  readonly #hosts = new Map<number, Host>()
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: IgmpHostsOptions) {
    this.#options = options
    this.#random = seededRandom(options.seed ?? 1)
  }

  /** A second host of the same address is refused by RangeError. */
  add(spec: IgmpHostSpec): void {
    if (this.#hosts.has(spec.address)) throw new RangeError(`there is a host ${formatIpv4(spec.address)} already`)
    this.#hosts.set(spec.address, { spec, state: new IgmpHostState(spec, this.#random) })
  }

  has(address: number): boolean {
    return this.#hosts.has(address)
  }

  /** Gone without a word, as a host that lost power. */
  remove(address: number): void {
    this.#hosts.delete(address)
    this.#schedule()
  }

  /** Sends what the change asks for before it returns; repetitions come by timers. */
  setFilter(address: number, group: number, filter: SourceFilter): void {
    const host = this.#hostOf(address)
    this.#sendAll(host, host.state.setFilter(group, filter, nowMs()))
    this.#schedule()
  }

  /** Every source, unless a filter is given. */
  join(address: number, group: number, filter?: { mode: 'include' | 'exclude'; sources: readonly number[] }): void {
    this.setFilter(address, group, { mode: filter?.mode ?? 'exclude', sources: new Set(filter?.sources) })
  }

  leave(address: number, group: number): void {
    this.setFilter(address, group, NOT_A_MEMBER)
  }

  leaveAll(): void {
    for (const [address, { state }] of this.#hosts) for (const group of state.memberships()) this.leave(address, group)
  }

  /** State of a host for looking at: its groups, its filters, the version it speaks, when it will send next. */
  state(address: number): Pick<IgmpHostState, 'version' | 'filter' | 'memberships' | 'deadlineMs'> {
    return this.#hostOf(address).state
  }

  /** A frame seen on the interface; queries and reports are taken in, all else is ignored, whatever its bytes. */
  receive(frame: Uint8Array): void {
    const heard = this.#closed ? undefined : hear(frame)
    if (!heard) return
    for (const { spec, state } of this.#hosts.values()) {
      if (spec.answers === false || spec.address === heard.source) continue
      if (heard.query && isFor(heard.query, heard.destination, spec.address)) state.query(heard.query, nowMs())
      if (heard.reported !== undefined) state.reportHeard(heard.reported)
    }
    this.#schedule()
  }

  /** Ends all timers; nothing more is sent, no group is left. */
  close(): void {
    if (!this.#closed) this.#options.onClose?.()
    this.#closed = true
    this.#hosts.clear()
    clearTimeout(this.#timer)
  }

  #hostOf(address: number): Host {
    const host = this.#hosts.get(address)
    if (!host) throw new RangeError(`there is no host ${formatIpv4(address)}`)
    return host
  }

  #sendAll({ spec }: Host, messages: readonly IgmpFields[]): void {
    const { defaults } = this.#options
    const ethernetOf = spec.mac === undefined ? defaults?.ethernet : { ...defaults?.ethernet, src: spec.mac }
    for (const message of messages) {
      const own: FrameSpec = { ipv4: { src: spec.address }, igmp: message }
      if (defaults?.vlan) own.vlan = defaults.vlan
      this.#options.send(buildFrame(own, { ...defaults, ...(ethernetOf && { ethernet: ethernetOf }) }))
    }
  }

  #schedule(): void {
    clearTimeout(this.#timer)
    let dueMs = NEVER_MS
    for (const { state } of this.#hosts.values()) dueMs = Math.min(dueMs, state.deadlineMs())
    if (dueMs === NEVER_MS || this.#closed) return
    this.#timer = setTimeout(() => this.#tick(), Math.max(0, Math.min(dueMs - nowMs(), MAX_TIMER_MS)))
  }

  #tick(): void {
    try {
      for (const host of this.#hosts.values()) this.#sendAll(host, host.state.tick(nowMs()))
      this.#schedule()
    } catch (error) {
      this.#options.onError(error)
    }
  }
}

/** setTimeout takes 31 bits. */
const MAX_TIMER_MS = 0x7fff_ffff

function nowMs(): number {
  return performance.now()
}

/** A General Query to a group is ignored (RFC 3376 §9.1); else any address of the host will do, 224.0.0.1 too, where bridges send all (§4.1.12). */
function isFor(query: HeardQuery, destination: number, address: number): boolean {
  if (destination === address) return true
  return destination === ALL_SYSTEMS || (query.group !== 0 && destination === query.group)
}

interface Heard {
  source: number
  destination: number
  query?: HeardQuery
  /** Group of somebody's v1 or v2 report. */
  reported?: number
}

/** What a host would take from the frame; undefined when it must ignore it (RFC 3376 §4, §7.1, §9). */
function hear(frame: Uint8Array): Heard | undefined {
  let ipAt = ethernet.length
  while (isVlanType(readU16(frame, ipAt - 2)) && ipAt + vlan.length <= frame.length) ipAt += vlan.length
  if (readU16(frame, ipAt - 2) !== ETHER_TYPE.IPV4 || ipv4.fields.protocol.get(frame, ipAt) !== IP_PROTOCOL.IGMP) return
  const at = ipAt + ipv4HeaderLength(frame, ipAt)
  const end = ipv4End(frame, ipAt, frame.length)
  if (at + igmp.length > end || isFragment(frame, ipAt) || !igmpChecksumOk(frame, at, end)) return undefined
  const heard: Heard = { source: ipv4.fields.src.get(frame, ipAt), destination: ipv4.fields.dst.get(frame, ipAt) }
  const type = igmp.fields.type.get(frame, at)
  const query = type === IGMP_TYPE.MEMBERSHIP_QUERY ? readQuery(frame, at, end) : undefined
  if (query) heard.query = query
  if (REPORTS.has(type)) heard.reported = igmp.fields.group.get(frame, at)
  return heard
}

const REPORTS = new Set<number>([IGMP_TYPE.V1_MEMBERSHIP_REPORT, IGMP_TYPE.V2_MEMBERSHIP_REPORT])

/** undefined: a length no version has, a group that is none, or sources that are not there (RFC 3376 §4.1.3, §7.1). */
function readQuery(frame: Uint8Array, at: number, end: number): HeardQuery | undefined {
  const version = queryVersion(frame, at, end)
  const group = igmp.fields.group.get(frame, at)
  if (version === undefined || (group !== 0 && !isMulticast(group))) return undefined
  const code = igmp.fields.maxRespCode.get(frame, at)
  const base = { version, group, sources: [], qrv: 0, qqiMs: 0 }
  // RFC 2236 §4: a v1 Query has no Max Response Time, ten seconds are meant.
  if (version === 1) return { ...base, maxRespTimeMs: 10_000 }
  if (version === 2) return { ...base, maxRespTimeMs: code * 100 }
  const count = igmpQuery.fields.numberOfSources.get(frame, at)
  if (at + igmpQuery.length + 4 * count > end) return undefined
  return {
    ...base,
    sources: Array.from({ length: count }, (_, i) => querySource(frame, at, i)),
    maxRespTimeMs: maxRespTimeDs(code) * 100,
    qrv: igmpQuery.fields.qrv.get(frame, at),
    qqiMs: queryIntervalSeconds(igmpQuery.fields.qqic.get(frame, at)) * 1000,
  }
}
