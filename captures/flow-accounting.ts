import { isMulticast } from '../generators/wire/address.ts'
import { FLOW_DIRECTION } from '../generators/wire/flow-fields.ts'
import type { FlowAddress, FlowRecord } from './flow-record.ts'

/** Packets and their IP octets. */
export interface Amount {
  packets: bigint
  bytes: bigint
}

/** What makes a flow one flow, whatever its direction: an ingress record and its egress records share it. */
export type FlowKey = Pick<
  FlowRecord,
  'exporter' | 'sourceId' | 'src' | 'dst' | 'srcPort' | 'dstPort' | 'protocol' | 'tos' | 'input'
>

/** Sums over all records of a key; `situation` says which directions the exporter accounts for. */
export interface FlowAccount {
  key: FlowKey
  isMulticast: boolean
  situation: 'ingress' | 'egress' | 'both'
  /** Sums of fields 2 and 1: over the ingress records, and by output interface over the egress records. */
  ingress: Amount
  egress: ReadonlyMap<number, Amount>
  /** Sums of fields 19 and 20 over the ingress records, over all where there are only egress records; undefined if no template has them. */
  replicated: Amount | undefined
  /** Field 99, lowest and highest; undefined if no template has it. */
  factor: { lowest: number; highest: number } | undefined
  /** Values of field 206. */
  flags: ReadonlySet<number>
  records: number
  firstMs: number | undefined
  lastMs: number | undefined
}

/**
 * Whether a record counts packets that came in or copies that went out. Without field 61: an output interface of 0 is ingress, and of a
 * multicast flow any other is egress, since ingress accounting cannot name one output of several.
 */
export function directionOf(record: FlowRecord): 'ingress' | 'egress' {
  if (record.direction !== undefined) return record.direction === FLOW_DIRECTION.EGRESS ? 'egress' : 'ingress'
  return isMulticastFlow(record) && (record.output ?? 0) !== 0 ? 'egress' : 'ingress'
}

/** By destination: field 206 is what an exporter says about it. */
export function isMulticastFlow({ dst }: Pick<FlowRecord, 'dst'>): boolean {
  return typeof dst === 'number' ? isMulticast(dst) : dst !== undefined && dst >> 120n === 0xffn
}

interface OpenAccount extends FlowAccount {
  egress: Map<number, Amount>
  flags: Set<number>
  ingressRecords: number
  replicatedEgress: Amount | undefined
  replicatedIngress: Amount | undefined
}

/** Adds records up by key. More than `maxKeys` flows are counted and not kept. */
export class FlowAccounts {
  /** Records of flows that came when there was no more room. */
  untold = 0
  readonly #accounts = new Map<string, OpenAccount>()
  readonly #maxKeys: number

  constructor(maxKeys = 65_536) {
    this.#maxKeys = maxKeys
  }

  add(record: FlowRecord): void {
    const account = this.#accountOf(record)
    if (!account) {
      this.untold++
      return
    }
    account.records++
    addTo(account, record)
    account.firstMs = least(account.firstMs, record.firstMs)
    account.lastMs = greatest(account.lastMs, record.lastMs)
    if (record.isMulticast !== undefined) account.flags.add(record.isMulticast)
    if (record.replicationFactor !== undefined) widen(account, record.replicationFactor)
  }

  /** As they stand, in the order in which their flows were first seen. */
  accounts(): FlowAccount[] {
    return [...this.#accounts.values()].map(finished)
  }

  #accountOf(record: FlowRecord): OpenAccount | undefined {
    const { exporter, sourceId, src, dst, srcPort, dstPort, protocol, tos, input } = record
    const name = `${exporter} ${sourceId} ${src} ${dst} ${srcPort} ${dstPort} ${protocol} ${tos} ${input}`
    const known = this.#accounts.get(name)
    if (known || this.#accounts.size >= this.#maxKeys) return known
    const account = emptyAccount({ exporter, sourceId, src, dst, srcPort, dstPort, protocol, tos, input })
    this.#accounts.set(name, account)
    return account
  }
}

function emptyAccount(key: FlowKey): OpenAccount {
  return {
    ...{ key, isMulticast: isMulticastFlow(key), situation: 'ingress', ingress: nothing(), egress: new Map() },
    ...{
      replicated: undefined,
      factor: undefined,
      flags: new Set(),
      records: 0,
      firstMs: undefined,
      lastMs: undefined,
    },
    ...{ ingressRecords: 0, replicatedEgress: undefined, replicatedIngress: undefined },
  }
}

function nothing(): Amount {
  return { packets: 0n, bytes: 0n }
}

function plus(amount: Amount, packets: bigint | undefined, bytes: bigint | undefined): Amount {
  return { packets: amount.packets + (packets ?? 0n), bytes: amount.bytes + (bytes ?? 0n) }
}

function addTo(account: OpenAccount, record: FlowRecord): void {
  const { packets, bytes, replicatedPackets, replicatedBytes } = record
  const isIngress = directionOf(record) === 'ingress'
  if (isIngress) {
    account.ingressRecords++
    account.ingress = plus(account.ingress, packets, bytes)
  } else {
    const output = record.output ?? 0
    account.egress.set(output, plus(account.egress.get(output) ?? nothing(), packets, bytes))
  }
  if (replicatedPackets === undefined && replicatedBytes === undefined) return
  const name = isIngress ? 'replicatedIngress' : 'replicatedEgress'
  account[name] = plus(account[name] ?? nothing(), replicatedPackets, replicatedBytes)
}

function widen(account: OpenAccount, factor: number): void {
  const { lowest = factor, highest = factor } = account.factor ?? {}
  account.factor = { lowest: Math.min(lowest, factor), highest: Math.max(highest, factor) }
}

function finished(open: OpenAccount): FlowAccount {
  const { ingressRecords, replicatedIngress, replicatedEgress, ...account } = open
  const situation = ingressRecords === 0 ? 'egress' : account.egress.size === 0 ? 'ingress' : 'both'
  const replicated = ingressRecords > 0 ? replicatedIngress : replicatedEgress
  return { ...account, egress: new Map(account.egress), flags: new Set(account.flags), situation, replicated }
}

function least(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || (b !== undefined && b < a) ? b : a
}

function greatest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || (b !== undefined && b > a) ? b : a
}

/** What a flow's records say came in and went out, by the only arithmetic that holds in its situation. */
export interface FlowReading {
  /** Of egress records alone only a lower bound is known: some output may have been joined for a while only. */
  in: Amount & { isLowerBound: boolean }
  /** By output interface; undefined where ingress records alone cannot tell. */
  outputs: ReadonlyMap<number, Amount> | undefined
  /** Copies on all outputs together; undefined where nothing tells. */
  out: Amount | undefined
  /** Copies for each packet that came in: the mean over the time of the flow. */
  meanFactor: number | undefined
}

export function readingOf(account: FlowAccount): FlowReading {
  const { situation, ingress, egress, replicated } = account
  const outputs = situation === 'ingress' ? undefined : egress
  const arrived =
    situation === 'egress' ? { ...largest(egress), isLowerBound: true } : { ...ingress, isLowerBound: false }
  const out = outputs ? sum(outputs.values()) : hasReplication(account) === 'told' ? replicated : undefined
  const meanFactor =
    out && !arrived.isLowerBound && arrived.packets > 0n ? ratio(out.packets, arrived.packets) : undefined
  return { in: arrived, outputs, out, meanFactor }
}

/** `absent`: no template has fields 19, 20 or 99. `zero`: all of them are 0, as where the platform cannot (Picture 4) or nobody listens. */
export function hasReplication({ replicated, factor }: FlowAccount): 'told' | 'zero' | 'absent' {
  if (!replicated && !factor) return 'absent'
  const isZero = (replicated?.packets ?? 0n) === 0n && (replicated?.bytes ?? 0n) === 0n && (factor?.highest ?? 0) === 0
  return isZero ? 'zero' : 'told'
}

/** What fields 19, 20 and 99 are worth, held against the copies that are known to have gone out. */
export type ReplicationFinding = 'right' | 'wrong' | 'unsupported' | 'absent'

export function judgeReplication(account: FlowAccount, out: Amount, bytesKnown = true): ReplicationFinding {
  const told = hasReplication(account)
  if (told === 'absent') return 'absent'
  if (told === 'zero') return out.packets > 0n ? 'unsupported' : 'right'
  if (!account.replicated) return out.packets > 0n ? 'right' : 'wrong'
  const { packets, bytes } = account.replicated
  return packets === out.packets && (!bytesKnown || bytes === out.bytes) ? 'right' : 'wrong'
}

/** Which truth a counter agrees with. Some routers count in fields 1 and 2 what went out, even on ingress. */
export type CounterMeaning = 'in' | 'out' | 'in and out' | 'neither'

/** Holds the sum of field 2 (or 1) against what came in and what went out on all outputs. */
export function meaningOf(counted: bigint, arrived: bigint, out: bigint): CounterMeaning {
  if (counted === arrived) return arrived === out ? 'in and out' : 'in'
  return counted === out ? 'out' : 'neither'
}

/** An input interface, what came in there, and what adding up all records by field 10 gives. */
export interface InputTotal {
  exporter: FlowAddress
  input: number | undefined
  in: Amount & { isLowerBound: boolean }
  /** The document's pitfall: egress records name the input interface too, once for each copy. */
  naive: Amount
}

export function inputTotals(accounts: readonly FlowAccount[]): InputTotal[] {
  const totals = new Map<string, InputTotal>()
  for (const account of accounts) {
    const { exporter, input } = account.key
    const name = `${exporter} ${input}`
    const total = totals.get(name) ?? { exporter, input, in: { ...nothing(), isLowerBound: false }, naive: nothing() }
    const reading = readingOf(account)
    const isLowerBound = total.in.isLowerBound || reading.in.isLowerBound
    total.in = { ...plus(total.in, reading.in.packets, reading.in.bytes), isLowerBound }
    const egress = sum(account.egress.values())
    total.naive = plus(total.naive, account.ingress.packets + egress.packets, account.ingress.bytes + egress.bytes)
    totals.set(name, total)
  }
  return [...totals.values()]
}

/** How often packets are counted that came in once; 1 is right. With a lower bound it is at most this. */
export function overcount(total: InputTotal): number {
  return total.in.packets === 0n ? 1 : ratio(total.naive.packets, total.in.packets)
}

export function sum(amounts: Iterable<Amount>): Amount {
  let total = nothing()
  for (const { packets, bytes } of amounts) total = plus(total, packets, bytes)
  return total
}

function largest(amounts: ReadonlyMap<number, Amount>): Amount {
  return [...amounts.values()].reduce((most, one) => (one.packets > most.packets ? one : most), nothing())
}

/** To three places, exact for any size. */
function ratio(a: bigint, b: bigint): number {
  return Number((a * 1000n) / b) / 1000
}
