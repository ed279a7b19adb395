import type { FlowRecord } from '../../captures/flow-record.ts'
import { formatIpv4, isMulticast } from '../../generators/wire/address.ts'
import type { FlowAccountingWant } from '../suite/expectations.ts'
import { within } from './amount.ts'
import type { Check, FrameNote, NodeSite, Seen } from './check.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { type Export, type ExportedRecord, exportOf } from './flow-export.ts'
import { copiesPerPacket, type FlowIdentity, identityText, type WireFlow, wireFlows } from './flow-wire.ts'
import { nodeOf, tapFault } from './places.ts'

/**
 * Flow records against the wire (facts of RFC 3954 §8 and IANA's fields 1 2 10 14 19 20 61 99 206): for each flow and interface
 * the sums over all records are what the taps at the router's own interfaces saw.
 */
export const flowAccounting: Check<FlowAccountingWant> = {
  name: 'flow-accounting',
  about: "the exporter's records add up to what passed the router's interfaces",
  judge(want, _, seen) {
    const node = nodeOf(seen, want.node)
    if (!node?.interfaceIndices) return conclude([inconclusive(`${want.node} is no router`)], '')
    const exported = exportOf(seen, want.exporter)
    if (!exported) return conclude([inconclusive(`exporter ${want.exporter} did not start`)], '')
    return conclude(new Accounting(want, node, exported, seen).findings(), passMessage(want, exported))
  },
}

function passMessage({ situation }: FlowAccountingWant, { records, product }: Export): string {
  return `${records.length} records of ${product} add up to what passed the wire (${situation})`
}

/** What records of one flow at one place should add up to. */
interface Row {
  flow: WireFlow
  input: string
  /** Undefined: an ingress record. */
  output: string | undefined
  packets: number
  bytes: number
  copies: number
  copiedBytes: number
  firstNs: number
  lastNs: number
}

interface Sum {
  records: ExportedRecord[]
  packets: number
  bytes: number
  copies: number
  copiedBytes: number
}

const TIME_TOLERANCE_NS = 1_000_000_000
const OVERLAP_TOLERANCE_NS = 50_000_000

class Accounting {
  private readonly want: FlowAccountingWant
  private readonly node: NodeSite
  private readonly exported: Export
  private readonly seen: Seen

  constructor(want: FlowAccountingWant, node: NodeSite, exported: Export, seen: Seen) {
    this.want = want
    this.node = node
    this.exported = exported
    this.seen = seen
  }

  findings(): Finding[] {
    const doubt = this.doubt()
    if (doubt) return [inconclusive(doubt)]
    const flows = wireFlows(this.seen, this.node, new Set(this.want.groups), {
      fromNs: this.exported.fromNs,
      toNs: this.exported.toNs,
    })
    if (flows.length === 0) return [inconclusive(`nothing to ${this.groupsText()} passed ${this.node.name}`)]
    const rows = flows.flatMap(flow => this.rowsOf(flow))
    const unsupported = this.unsupported(rows)
    if (unsupported) return [unsupported]
    const sums = this.sums()
    const found = rows.map(row => this.compare(row, sums))
    return [...found, ...this.unexpected(sums)]
  }

  /** Records that never came prove nothing about those that were made. */
  private doubt(): string | undefined {
    const { events, product } = this.exported
    const gap = events.find(({ event }) => event.kind === 'gap')
    if (gap) return `messages of ${product} are missing: ${gap.event.why}`
    const collector = this.seen.site.collector?.tap ?? ''
    return tapFault(this.seen, [collector, ...(this.node.interfaceTaps ?? [])])
  }

  private groupsText(): string {
    return this.want.groups.map(formatIpv4).join(', ')
  }

  private rowsOf(flow: WireFlow): Row[] {
    const { situation, inputs, input, outputs } = this.want
    const rows: Row[] = []
    if (situation !== 'egress') for (const name of inputs) rows.push(...this.ingressRow(flow, name))
    if (situation !== 'ingress')
      for (const name of outputs) {
        const out = flow.out.get(name)
        if (out) rows.push({ flow, input, output: name, ...out, copies: 0, copiedBytes: 0 })
      }
    return rows
  }

  private ingressRow(flow: WireFlow, name: string): Row[] {
    const passed = flow.in.get(name)
    if (!passed) return []
    // Copies are booked where a stream comes in as it should; what comes from the wrong side has none.
    const out = name === this.want.input && isMulticast(flow.dst) ? [...flow.out.values()] : []
    const copies = out.reduce((sum, one) => sum + one.packets, 0)
    const copiedBytes = out.reduce((sum, one) => sum + one.bytes, 0)
    return [{ flow, input: name, output: undefined, ...passed, copies, copiedBytes }]
  }

  private sums(): Map<string, Sum> {
    const sums = new Map<string, Sum>()
    const groups = new Set<unknown>(this.want.groups)
    for (const exported of this.exported.records) {
      const { record } = exported
      if (!groups.has(record.dst)) continue
      const key = recordKey(record)
      const sum = sums.get(key) ?? { records: [], packets: 0, bytes: 0, copies: 0, copiedBytes: 0 }
      sums.set(key, sum)
      sum.records.push(exported)
      sum.packets += Number(record.packets ?? 0n)
      sum.bytes += Number(record.bytes ?? 0n)
      sum.copies += Number(record.replicatedPackets ?? 0n)
      sum.copiedBytes += Number(record.replicatedBytes ?? 0n)
    }
    return sums
  }

  /** All three zero, or not there, while copies were made: the feature is not there (picture 4 of the document), not wrong. */
  private unsupported(rows: readonly Row[]): Finding | undefined {
    const ingress = this.exported.records.filter(
      ({ record }) => this.want.groups.includes(Number(record.dst)) && !isEgress(record),
    )
    const copies = rows.reduce((sum, row) => sum + row.copies, 0)
    const isThere = ingress.some(({ record }) =>
      [record.replicationFactor, record.replicatedPackets, record.replicatedBytes].some(
        value => Number(value ?? 0) > 0,
      ),
    )
    if (ingress.length === 0 || copies === 0 || isThere || this.want.situation === 'egress') return undefined
    const message = `replication is not supported: factor, replicated packets and octets are 0 while ${copies} copies were made`
    return this.want.replication === 'unsupported'
      ? undefined
      : { status: 'fail', message, frames: notes(ingress, message) }
  }

  private compare(row: Row, sums: Map<string, Sum>): Finding {
    const key = keyOf(row, this.node)
    const sum = sums.get(key)
    sums.delete(key)
    const where = describe(row)
    if (!sum)
      return {
        status: 'fail',
        message: `no record of ${where}, ${row.packets} packets passed`,
        details: this.nearest(row),
      }
    const wrong = this.wrong(row, sum)
    if (wrong.length === 0) return pass()
    return {
      status: 'fail',
      message: `${where}: ${wrong[0]}`,
      details: wrong.slice(1),
      frames: notes(sum.records, wrong[0] ?? ''),
    }
  }

  private wrong(row: Row, sum: Sum): string[] {
    return [
      ...this.counters(row, sum),
      // Where the times are wrong, the copies in that time are too.
      ...times(row, sum.records),
      ...this.factors(row, sum.records),
      ...this.flags(row, sum.records),
      ...(this.want.records === undefined || within(this.want.records, sum.records.length)
        ? []
        : [`${sum.records.length} records, expected ${JSON.stringify(this.want.records)}`]),
    ]
  }

  private counters(row: Row, sum: Sum): string[] {
    const { sampling, replication } = this.want
    const found = [
      this.counter('packets', sum.packets, row.packets, sampling),
      this.counter('octets', sum.bytes, row.bytes, sampling),
    ]
    const wantsCopies = row.output === undefined && replication === 'supported'
    const copies = wantsCopies ? [row.copies, row.copiedBytes] : [0, 0]
    // In an egress record the fields say nothing: the flow is the copy.
    if (row.output === undefined)
      found.push(
        this.counter('replicated packets', sum.copies, copies[0] ?? 0, sampling),
        this.counter('replicated octets', sum.copiedBytes, copies[1] ?? 0, sampling),
      )
    return found.filter(text => text !== undefined)
  }

  /** Sampled counters are not scaled; what they stand for is within four standard deviations. */
  private counter(name: string, told: number, wire: number, sampling: number): string | undefined {
    if (sampling === 1) return told === wire ? undefined : `${name} ${told}, on the wire ${wire}${hint(told, wire)}`
    if (name !== 'packets') return undefined
    const slack = 4 * Math.sqrt(wire * (sampling - 1))
    return Math.abs(told * sampling - wire) <= slack
      ? undefined
      : `${name} ${told} times ${sampling} is not ${wire} within ${Math.round(slack)}`
  }

  private factors(row: Row, records: readonly ExportedRecord[]): string[] {
    if (row.output !== undefined || this.want.replication === 'unsupported') return []
    for (const { record, firstNs, lastNs } of records) {
      const time = { fromNs: (firstNs ?? 0) - 2e6, toNs: (lastNs ?? Number.POSITIVE_INFINITY) + 2e6 }
      const { fewest, most } =
        row.input === this.want.input && isMulticast(row.flow.dst)
          ? copiesPerPacket(row.flow, row.input, time)
          : { fewest: 0, most: 0 }
      const factor = record.replicationFactor
      if (factor === undefined || factor < fewest || factor > most)
        return [
          `replication factor ${factor ?? 'none'}, on the wire ${fewest === most ? most : `${fewest} to ${most}`} copies of a packet`,
        ]
    }
    return []
  }

  private flags({ flow, output }: Row, records: readonly ExportedRecord[]): string[] {
    const wanted = isMulticast(flow.dst) ? 1 : 0
    const direction = output === undefined ? 0 : 1
    return records.flatMap(({ record }) => [
      ...(record.isMulticast === undefined || record.isMulticast === wanted
        ? []
        : [
            `is-multicast 0x${record.isMulticast.toString(16)}, expected ${wanted}${record.isMulticast === 0x80 ? ' (IANA counts bits from the other end)' : ''}`,
          ]),
      ...(record.direction === undefined || record.direction === direction
        ? []
        : [`flow direction ${record.direction}, expected ${direction}`]),
    ])
  }

  private unexpected(sums: Map<string, Sum>): Finding[] {
    return [...sums.values()].map(({ records, packets }) => {
      const [first] = records
      const text = `${packets} packets in a flow that was not on the wire: ${first ? recordText(first.record, this.node) : ''}`
      return { status: 'fail', message: text, frames: notes(records, text) }
    })
  }

  /** Records of the same addresses: what differs is most often an interface or the direction. */
  private nearest({ flow }: Row): string[] {
    const near = this.exported.records.filter(({ record }) => record.src === flow.src && record.dst === flow.dst)
    const shown = near.slice(0, 3).map(({ record }) => `there is ${recordText(record, this.node)}`)
    return near.length === 0 ? [`no record of ${formatIpv4(flow.src)} to ${formatIpv4(flow.dst)} at all`] : shown
  }
}

/** The stream's own octets of a wrong sum: which mistake gives it. */
function hint(told: number, wire: number): string {
  if (told === 0 || wire === 0 || told % wire !== 0) return ''
  return ` (${told / wire} times as many)`
}

function times({ firstNs, lastNs }: Row, records: readonly ExportedRecord[]): string[] {
  const spans = records.flatMap(({ firstNs: first, lastNs: last }) =>
    first === undefined || last === undefined ? [] : [{ first, last }],
  )
  if (spans.length === 0) return []
  const backwards = spans.find(({ first, last }) => first > last)
  if (backwards) return ['the first packet of a record is later than its last']
  spans.sort((a, b) => a.first - b.first)
  const overlap = spans.some(({ first }, i) => i > 0 && first < (spans[i - 1]?.last ?? 0) - OVERLAP_TOLERANCE_NS)
  const off = Math.max(
    Math.abs((spans[0]?.first ?? 0) - firstNs),
    Math.abs(Math.max(...spans.map(({ last }) => last)) - lastNs),
  )
  return [
    ...(overlap ? ['records of one flow overlap in time'] : []),
    ...(off > TIME_TOLERANCE_NS ? [`time stamps are ${(off / 1e9).toFixed(1)} s off the wire's`] : []),
  ]
}

/** Without field 61 the output interface tells: an ingress record has none. */
function isEgress({ direction, output }: FlowRecord): boolean {
  return direction === undefined ? (output ?? 0) !== 0 : direction === 1
}

function recordKey(record: FlowRecord): string {
  const { src, dst, srcPort = 0, dstPort = 0, protocol = 0, tos = 0, input = 0, output = 0 } = record
  return `${[src, dst, srcPort, dstPort, protocol, tos].join(' ')} ${input} ${isEgress(record) ? output : 0}`
}

function keyOf({ flow, input, output }: Row, { interfaceIndices = {} }: NodeSite): string {
  return `${identityText(flow)} ${interfaceIndices[input]} ${output === undefined ? 0 : interfaceIndices[output]}`
}

function describe({ flow, input, output }: Row): string {
  return `${flowText(flow)} ${input} to ${output ?? 'Null'}`
}

function flowText({ src, dst, srcPort, dstPort, tos }: FlowIdentity): string {
  return `${formatIpv4(src)}:${srcPort} to ${formatIpv4(dst)}:${dstPort}${tos === 0 ? '' : ` ToS ${tos}`}`
}

function recordText(record: FlowRecord, { interfaceIndices = {} }: NodeSite): string {
  const name = (index: number | undefined) =>
    Object.entries(interfaceIndices).find(([, each]) => each === index)?.[0] ?? (index ? `interface ${index}` : 'Null')
  const { src, dst, srcPort = 0, dstPort = 0, protocol = 0, tos = 0 } = record
  const identity = { src: Number(src ?? 0), dst: Number(dst ?? 0), srcPort, dstPort, protocol, tos }
  return `${flowText(identity)} ${name(record.input)} to ${name(record.output)}, direction ${record.direction ?? 'none'}`
}

const SHOWN = 3

function notes(records: readonly ExportedRecord[], note: string): FrameNote[] {
  return records.slice(0, SHOWN).map(({ frame }) => ({ frame, note }))
}
