import { isMulticast } from '../generators/wire/address.ts'
import { FLOW_DIRECTION } from '../generators/wire/flow-fields.ts'
import type { FlowRecord } from './flow-record.ts'

/** Packets and their IP octets. */
export interface Amount {
  packets: bigint
  bytes: bigint
}

export type FlowDirection = 'ingress' | 'egress'

/** What makes a flow one flow, whatever its direction: an ingress record and its egress records share it. */
export type FlowKey = Pick<
  FlowRecord,
  'exporter' | 'sourceId' | 'src' | 'dst' | 'srcPort' | 'dstPort' | 'protocol' | 'tos' | 'input'
>

/** Sums over the records of a flow in one direction at one output interface: a line of a router's flow cache. */
export interface FlowEntry extends Amount {
  direction: FlowDirection
  output: number | undefined
  /** Fields 19 and 20; undefined where no template has them. */
  replicated: Amount | undefined
  /** Field 99, lowest and highest; undefined where no template has it. */
  factor: { lowest: number; highest: number } | undefined
  /** The last value of field 206. */
  isMulticast: number | undefined
  records: number
  firstMs: number | undefined
  lastMs: number | undefined
}

export interface FlowAccount {
  readonly key: FlowKey
  readonly entries: readonly FlowEntry[]
}

/**
 * Whether a record counts packets that came in or copies that went out. Without field 61: an output interface of 0 is ingress, and of a
 * multicast flow any other is egress, since ingress accounting cannot name one output of several.
 */
export function directionOf(record: Pick<FlowRecord, 'dst' | 'direction' | 'output'>): FlowDirection {
  if (record.direction !== undefined) return record.direction === FLOW_DIRECTION.EGRESS ? 'egress' : 'ingress'
  return isMulticastFlow(record) && (record.output ?? 0) !== 0 ? 'egress' : 'ingress'
}

/** By destination: field 206 is only what an exporter says about it. */
export function isMulticastFlow({ dst }: Pick<FlowRecord, 'dst'>): boolean {
  return typeof dst === 'number' ? isMulticast(dst) : dst !== undefined && dst >> 120n === 0xffn
}

interface OpenAccount {
  key: FlowKey
  entries: FlowEntry[]
  /** Of another flow with the same hash. */
  next: OpenAccount | undefined
}

/** Adds records up by flow. Of more than `maxFlows` flows the records are counted and not kept. */
export class FlowAccounts {
  /** Records of flows for which there was no more room. */
  untold = 0
  readonly #accounts: OpenAccount[] = []
  readonly #byHash = new Map<number, OpenAccount>()
  readonly #maxFlows: number

  constructor(maxFlows = 65_536) {
    this.#maxFlows = maxFlows
  }

  add(record: FlowRecord): void {
    const account = this.#accountOf(record)
    if (account) addTo(entryOf(account, record), record)
    else this.untold++
  }

  /** In the order in which their flows were first seen; they go on growing. */
  accounts(): FlowAccount[] {
    return [...this.#accounts]
  }

  #accountOf(record: FlowRecord): OpenAccount | undefined {
    const hash = hashOf(record)
    const first = this.#byHash.get(hash)
    let known = first
    while (known && !isSame(known.key, record)) known = known.next
    if (known || this.#accounts.length >= this.#maxFlows) return known
    const { exporter, sourceId, src, dst, srcPort, dstPort, protocol, tos, input } = record
    const key = { exporter, sourceId, src, dst, srcPort, dstPort, protocol, tos, input }
    const account: OpenAccount = { key, entries: [], next: first }
    this.#byHash.set(hash, account)
    this.#accounts.push(account)
    return account
  }
}

// Hash and comparison by number: a text of all nine parts costs ten times as much as decoding the record.

function hashOf(record: FlowRecord): number {
  let hash = mixed(mixed(0, record.src), record.dst)
  hash = mixed(mixed(hash, record.srcPort), record.dstPort)
  hash = mixed(mixed(hash, record.protocol), record.tos)
  return mixed(mixed(mixed(hash, record.input), record.sourceId), record.exporter)
}

function mixed(hash: number, value: number | bigint | undefined): number {
  const low = typeof value === 'bigint' ? Number(BigInt.asIntN(32, value)) : (value ?? -1) | 0
  return Math.imul(hash ^ low, 0x9e37_79b1) ^ (hash >>> 15)
}

function isSame(a: FlowKey, b: FlowKey): boolean {
  return (
    a.src === b.src &&
    a.dst === b.dst &&
    a.srcPort === b.srcPort &&
    a.dstPort === b.dstPort &&
    a.input === b.input &&
    a.protocol === b.protocol &&
    a.tos === b.tos &&
    a.sourceId === b.sourceId &&
    a.exporter === b.exporter
  )
}

/** Outputs are few: a list is quicker than a map. */
function entryOf({ entries }: OpenAccount, record: FlowRecord): FlowEntry {
  const direction = directionOf(record)
  const { output } = record
  for (const known of entries) if (known.direction === direction && known.output === output) return known
  const entry: FlowEntry = {
    direction,
    output,
    packets: 0n,
    bytes: 0n,
    replicated: undefined,
    factor: undefined,
    isMulticast: undefined,
    records: 0,
    firstMs: undefined,
    lastMs: undefined,
  }
  entries.push(entry)
  return entry
}

function addTo(entry: FlowEntry, record: FlowRecord): void {
  entry.records++
  entry.packets += record.packets ?? 0n
  entry.bytes += record.bytes ?? 0n
  entry.isMulticast = record.isMulticast ?? entry.isMulticast
  if (record.replicatedPackets !== undefined || record.replicatedBytes !== undefined) {
    entry.replicated ??= { packets: 0n, bytes: 0n }
    entry.replicated.packets += record.replicatedPackets ?? 0n
    entry.replicated.bytes += record.replicatedBytes ?? 0n
  }
  if (record.replicationFactor !== undefined) widen(entry, record.replicationFactor)
  if (record.firstMs !== undefined) entry.firstMs = Math.min(entry.firstMs ?? record.firstMs, record.firstMs)
  if (record.lastMs !== undefined) entry.lastMs = Math.max(entry.lastMs ?? record.lastMs, record.lastMs)
}

function widen(entry: FlowEntry, factor: number): void {
  entry.factor ??= { lowest: factor, highest: factor }
  if (factor < entry.factor.lowest) entry.factor.lowest = factor
  if (factor > entry.factor.highest) entry.factor.highest = factor
}

export function sum(amounts: Iterable<Amount>): Amount {
  const total = { packets: 0n, bytes: 0n }
  for (const { packets, bytes } of amounts) {
    total.packets += packets
    total.bytes += bytes
  }
  return total
}
