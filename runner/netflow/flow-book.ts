import { inputTotals, overcount, readingOf } from '../../captures/flow-accounting.ts'
import { FlowAccounts, isMulticastFlow } from '../../captures/flow-accounts.ts'
import type { FlowEvent, FlowEventKind, FlowVisitor } from '../../captures/flow-decoder.ts'
import type { FlowMessage } from '../../captures/flow-message.ts'
import { type FlowRecord, isFlow, readFlowRecord } from '../../captures/flow-record.ts'
import { IS_MULTICAST_V4 } from '../../generators/wire/flow-fields.ts'
import type { DataRecord } from '../../generators/wire/flow-sets.ts'
import { ExporterFacts, exporterText } from './flow-names.ts'

/** Events that leave the sums incomplete: what was lost or could not be read. */
const INCOMPLETE: ReadonlySet<FlowEventKind> = new Set(['malformed', 'gap', 'no-template', 'forgotten'])

/** What happened, by kind: how often, and the first time in words. */
export interface Happening {
  kind: FlowEventKind
  times: number
  first: string
}

/** Everything that `castproof netflow` knows of what it read. */
export class FlowBook implements FlowVisitor {
  records = 0
  options = 0
  readonly accounts = new FlowAccounts()
  readonly facts: ExporterFacts
  readonly happenings = new Map<FlowEventKind, Happening>()

  constructor(names: ReadonlyMap<number, string>) {
    this.facts = new ExporterFacts(names)
  }

  record(record: DataRecord, message: FlowMessage): FlowRecord | undefined {
    this.facts.learn(record, message)
    if (!isFlow(record)) {
      this.options++
      return undefined
    }
    this.records++
    const flow = readFlowRecord(record, message)
    this.accounts.add(flow)
    return flow
  }

  event(event: FlowEvent): void {
    const known = this.happenings.get(event.kind)
    if (known) known.times++
    else this.happenings.set(event.kind, { kind: event.kind, times: 1, first: eventText(event) })
  }

  get isComplete(): boolean {
    return this.accounts.untold === 0 && [...this.happenings.keys()].every(kind => !INCOMPLETE.has(kind))
  }

  /** What a person who trusts the numbers must know, the gravest first. */
  warnings(): string[] {
    const accounts = this.accounts.accounts()
    return [
      ...this.#losses(),
      ...inputTotals(accounts)
        .filter(total => overcount(total) > 1)
        .map(total => overcountText(total, this.facts)),
      ...this.#replication(),
      ...[...this.facts.sampling].map(
        ([stream, interval]) => `${stream} samples 1 packet of ${interval}: counters are as exported, not scaled`,
      ),
      ...(this.accounts.untold > 0
        ? [`${this.accounts.untold} records of further flows are not in the sums: there are too many flows`]
        : []),
    ]
  }

  #losses(): string[] {
    return [...this.happenings.values()].map(({ times, first }) =>
      times === 1 ? first : `${first} (and ${times - 1} more such)`,
    )
  }

  #replication(): string[] {
    const multicast = this.accounts.accounts().filter(({ key }) => isMulticastFlow(key))
    const readings = multicast.map(readingOf)
    const count = (what: number, text: string): string[] =>
      what === 0 ? [] : [`${what} multicast ${what === 1 ? 'flow has' : 'flows have'} ${text}`]
    const odd = multicast.filter(
      ({ key, entries }) =>
        typeof key.dst === 'number' &&
        entries.some(({ isMulticast: flag }) => flag !== undefined && flag !== IS_MULTICAST_V4),
    )
    const zero = readings.filter(({ replication, situation }) => replication.kind === 'zero' && situation !== 'egress')
    const bounds = readings.filter(({ in: { isLowerBound } }) => isLowerBound)
    return [
      ...count(
        zero.length,
        'replication factor and counters of 0: nobody listens, or the router does not support them',
      ),
      ...count(bounds.length, 'egress records alone: what came in is at least the largest output, never the sum'),
      ...count(odd.length, 'is-multicast (field 206) other than 0x01, as IANA draws it for IPv4'),
    ]
  }
}

function overcountText(total: ReturnType<typeof inputTotals>[number], facts: ExporterFacts): string {
  const { exporter, input, naive, in: arrived } = total
  const name = facts.interfaceName(exporter, input)
  const truth = `${arrived.isLowerBound ? 'at least ' : ''}${arrived.packets}`
  const times = overcount(total)
  return `${exporterText(exporter)} interface ${name}: ${truth} packets came in; adding up its records by input interface gives ${naive.packets}, ${arrived.isLowerBound ? 'up to ' : ''}${times} times as many, since each egress record is a copy`
}

/** One line: who, where, what. */
export function eventText({ kind, why, origin, message, at }: FlowEvent): string {
  const source = message ? ` source ID ${message.sourceId}` : ''
  const frame = origin.frameNumber > 0 ? `, message ${origin.frameNumber}` : ''
  const place = kind === 'malformed' || kind === 'padding' ? ` at octet ${at}` : ''
  return `${exporterText(origin.exporter)}${source}${frame}${place}: ${why}`
}
