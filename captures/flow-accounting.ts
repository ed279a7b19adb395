import { type Amount, type FlowAccount, type FlowDirection, type FlowEntry, sum } from './flow-accounts.ts'
import type { FlowAddress } from './flow-record.ts'

/** What the records of one flow say came in and went out, by the only arithmetic that holds in its situation. */
export interface FlowReading {
  /** Which directions the exporter accounts for. */
  situation: 'ingress' | 'egress' | 'both'
  /** Of egress records alone only a lower bound is known: an output may have been joined for a while only. */
  in: Amount & { isLowerBound: boolean }
  /** By output interface; undefined where ingress records alone cannot tell. */
  outputs: ReadonlyMap<number, Amount> | undefined
  /** Copies on all outputs together; undefined where nothing tells. */
  out: Amount | undefined
  /** Copies for each packet that came in: the mean over the time of the flow. */
  meanFactor: number | undefined
  /** Sums of fields 19 and 20, and the range of field 99, of the ingress records; of the egress records where there are no others. */
  replication: Replication
}

/** `absent`: no template has fields 19, 20 or 99. `zero`: all are 0, as where the platform cannot (Picture 4) or nobody listens. */
export interface Replication {
  kind: 'told' | 'zero' | 'absent'
  copies: Amount | undefined
  factor: { lowest: number; highest: number } | undefined
}

export function readingOf(account: FlowAccount): FlowReading {
  const ingress = inDirection(account, 'ingress')
  const egress = inDirection(account, 'egress')
  const situation = ingress.length === 0 ? 'egress' : egress.length === 0 ? 'ingress' : 'both'
  const replication = replicationOf(ingress.length > 0 ? ingress : egress)
  const outputs = situation === 'ingress' ? undefined : byOutput(egress)
  const arrived = { ...(situation === 'egress' ? largest(egress) : sum(ingress)), isLowerBound: situation === 'egress' }
  const out = outputs ? sum(egress) : replication.kind === 'told' ? replication.copies : undefined
  const isKnown = out !== undefined && !arrived.isLowerBound && arrived.packets > 0n
  const meanFactor = isKnown ? ratio(out.packets, arrived.packets) : undefined
  return { situation, in: arrived, outputs, out, meanFactor, replication }
}

function inDirection({ entries }: FlowAccount, direction: FlowDirection): FlowEntry[] {
  return entries.filter(entry => entry.direction === direction)
}

function byOutput(entries: readonly FlowEntry[]): Map<number, Amount> {
  const outputs = new Map<number, Amount>()
  for (const entry of entries) {
    const output = entry.output ?? 0
    outputs.set(output, sum([entry, ...(outputs.has(output) ? [outputs.get(output) as Amount] : [])]))
  }
  return outputs
}

function largest(entries: readonly FlowEntry[]): Amount {
  const none: Amount = { packets: 0n, bytes: 0n }
  const { packets, bytes } = entries.reduce<Amount>((most, one) => (one.packets > most.packets ? one : most), none)
  return { packets, bytes }
}

function replicationOf(entries: readonly FlowEntry[]): Replication {
  const counted = entries.flatMap(entry => entry.replicated ?? [])
  const factors = entries.flatMap(entry => entry.factor ?? [])
  const copies = counted.length > 0 ? sum(counted) : undefined
  const lowest = Math.min(...factors.map(factor => factor.lowest))
  const factor = factors.length > 0 ? { lowest, highest: Math.max(...factors.map(one => one.highest)) } : undefined
  if (!copies && !factor) return { kind: 'absent', copies, factor }
  const isZero = !copies?.packets && !copies?.bytes && !factor?.highest
  return { kind: isZero ? 'zero' : 'told', copies, factor }
}

/** What fields 19, 20 and 99 are worth, held against the copies that are known to have gone out. */
export type ReplicationFinding = 'right' | 'wrong' | 'unsupported' | 'absent'

/** `bytes` of the truth left out: octets are not looked at. */
export function judgeReplication(
  { kind, copies }: Replication,
  out: { packets: bigint; bytes?: bigint },
): ReplicationFinding {
  if (kind === 'absent') return 'absent'
  if (kind === 'zero') return out.packets > 0n ? 'unsupported' : 'right'
  if (!copies) return out.packets > 0n ? 'right' : 'wrong'
  const isRight = copies.packets === out.packets && (out.bytes === undefined || copies.bytes === out.bytes)
  return isRight ? 'right' : 'wrong'
}

/** Which truth a counter agrees with. Some routers count in fields 1 and 2 what went out, on ingress as well. */
export type CounterMeaning = 'in' | 'out' | 'in and out' | 'neither'

/** Holds the sum of field 2 (or 1) against what came in and what went out on all outputs together. */
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
    const before = totals.get(`${exporter} ${input}`)
    const arrived = readingOf(account).in
    totals.set(`${exporter} ${input}`, {
      exporter,
      input,
      in: {
        ...sum(before ? [before.in, arrived] : [arrived]),
        isLowerBound: arrived.isLowerBound || before?.in.isLowerBound === true,
      },
      naive: sum([...(before ? [before.naive] : []), ...account.entries]),
    })
  }
  return [...totals.values()]
}

/** How often packets are counted that came in once: 1 is right. Held against a lower bound it is the worst case. */
export function overcount(total: InputTotal): number {
  return total.in.packets === 0n ? 1 : ratio(total.naive.packets, total.in.packets)
}

/** What an analyser took for packets that came in. */
export type ClaimMeaning = 'right' | 'copies' | 'arrivals and copies' | 'neither'

/** Holds an analyser's total of an input interface against what came in there and what went out of all that. */
export function meaningOfClaim(claimed: bigint, arrived: bigint, copies: bigint): ClaimMeaning {
  if (claimed === arrived) return 'right'
  if (claimed === copies) return 'copies'
  return claimed === arrived + copies ? 'arrivals and copies' : 'neither'
}

/** To three places, exact for any size. */
export function ratio(a: bigint, b: bigint): number {
  return Number((a * 1000n) / b) / 1000
}
