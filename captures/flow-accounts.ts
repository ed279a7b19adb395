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
}

/** Adds records up by flow. Of more than `maxFlows` flows the records are counted and not kept. */
export class FlowAccounts {
  /** Records of flows for which there was no more room. */
  untold = 0
  readonly #accounts = new Map<string, OpenAccount>()
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
    return [...this.#accounts.values()]
  }

  #accountOf(record: FlowRecord): OpenAccount | undefined {
    const { exporter, sourceId, src, dst, srcPort, dstPort, protocol, tos, input } = record
    const name = `${exporter} ${sourceId} ${src} ${dst} ${srcPort} ${dstPort} ${protocol} ${tos} ${input}`
    const known = this.#accounts.get(name)
    if (known || this.#accounts.size >= this.#maxFlows) return known
    const account = { key: { exporter, sourceId, src, dst, srcPort, dstPort, protocol, tos, input }, entries: [] }
    this.#accounts.set(name, account)
    return account
  }
}

/** Outputs are few: a list is quicker than a map. */
function entryOf({ entries }: OpenAccount, record: FlowRecord): FlowEntry {
  const direction = directionOf(record)
  const { output } = record
  const known = entries.find(entry => entry.direction === direction && entry.output === output)
  if (known) return known
  const entry: FlowEntry = {
    ...{ direction, output, packets: 0n, bytes: 0n, replicated: undefined, factor: undefined },
    ...{ isMulticast: undefined, records: 0, firstMs: undefined, lastMs: undefined },
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
    const replicated = { packets: record.replicatedPackets ?? 0n, bytes: record.replicatedBytes ?? 0n }
    entry.replicated = entry.replicated ? sum([entry.replicated, replicated]) : replicated
  }
  if (record.replicationFactor !== undefined) widen(entry, record.replicationFactor)
  if (record.firstMs !== undefined) entry.firstMs = Math.min(entry.firstMs ?? record.firstMs, record.firstMs)
  if (record.lastMs !== undefined) entry.lastMs = Math.max(entry.lastMs ?? record.lastMs, record.lastMs)
}

function widen(entry: FlowEntry, factor: number): void {
  const { lowest = factor, highest = factor } = entry.factor ?? {}
  entry.factor = { lowest: Math.min(lowest, factor), highest: Math.max(highest, factor) }
}

export function sum(amounts: Iterable<Amount>): Amount {
  const total = { packets: 0n, bytes: 0n }
  for (const { packets, bytes } of amounts) {
    total.packets += packets
    total.bytes += bytes
  }
  return total
}
