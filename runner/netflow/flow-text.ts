import { readingOf } from '../../captures/flow-accounting.ts'
import { type FlowAccount, type FlowEntry, isMulticastFlow } from '../../captures/flow-accounts.ts'
import type { FlowRecord } from '../../captures/flow-record.ts'
import { type ExporterFacts, exporterText } from './flow-names.ts'

const PROTOCOLS: Readonly<Record<number, string>> = { 1: 'icmp', 2: 'igmp', 6: 'tcp', 17: 'udp', 50: 'esp', 103: 'pim' }
const COLUMN_GAP = '  '
const MIN_COLUMNS = 60

/** Columns as wide as their widest cell; those of numbers alone, but for their head, to the right. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const columns = (rows[0] ?? []).map((_, i) => rows.map(row => row[i] ?? ''))
  const widths = columns.map(cells => Math.max(...cells.map(cell => cell.length)))
  const isRight = columns.map(cells => cells.slice(1).every(cell => /^(>= )?[\d.]+$|^-$/.test(cell)))
  const cell = (text: string, i: number) => (isRight[i] ? text.padStart(widths[i] ?? 0) : text.padEnd(widths[i] ?? 0))
  return rows.map(row => row.map(cell).join(COLUMN_GAP).trimEnd())
}

function protocolText(protocol: number | undefined): string {
  return protocol === undefined ? '-' : (PROTOCOLS[protocol] ?? String(protocol))
}

function endText(address: FlowRecord['src'], port: number | undefined): string {
  return port === undefined ? exporterText(address) : `${exporterText(address)}:${port}`
}

/** One line for each multicast flow: what came in, what went out, how often each packet was copied. */
export function flowRows(accounts: readonly FlowAccount[], facts: ExporterFacts): string[][] {
  const head = ['source', 'group', 'proto', 'in', 'accounting', 'packets in', 'copies out', 'factor', 'outputs']
  return [head, ...accounts.map(account => flowRow(account, facts))]
}

function flowRow(account: FlowAccount, facts: ExporterFacts): string[] {
  const { key } = account
  const reading = readingOf(account)
  const name = (index: number | undefined) => facts.interfaceName(key.exporter, index)
  const outputs = [...(reading.outputs ?? [])].map(([output, { packets }]) => `${name(output)} ${packets}`)
  return [
    endText(key.src, key.srcPort),
    endText(key.dst, key.dstPort),
    protocolText(key.protocol),
    name(key.input),
    reading.situation,
    `${reading.in.isLowerBound ? '>= ' : ''}${reading.in.packets}`,
    reading.out === undefined ? '-' : String(reading.out.packets),
    reading.meanFactor === undefined ? '-' : String(reading.meanFactor),
    outputs.join(', ') || '-',
  ]
}

/** The flow cache as the router shows it: a column for each entry, as many side by side as fit. */
export function cacheText(accounts: readonly FlowAccount[], facts: ExporterFacts, columns: number): string[] {
  const entries = accounts.flatMap(account => account.entries.map(entry => cacheColumn(account, entry, facts)))
  const lines: string[] = []
  for (let from = 0; from < entries.length; ) {
    const count = fitting(entries.slice(from), Math.max(columns, MIN_COLUMNS))
    if (lines.length > 0) lines.push('')
    lines.push(
      ...table(
        CACHE_FIELDS.map((field, i) => [field, ...entries.slice(from, from + count).map(entry => entry[i] ?? '')]),
      ),
    )
    from += count
  }
  return lines
}

/** The document's record: match fields, then collect fields. */
const CACHE_FIELDS = [
  ...['ipv4 source address', 'ipv4 destination address', 'transport source-port', 'transport destination-port'],
  ...['ipv4 protocol', 'ipv4 tos', 'interface input', 'interface output', 'routing is-multicast', 'flow direction'],
  ...['multicast replication-factor', 'counter bytes', 'counter packets', 'counter bytes replicated'],
  ...['counter packets replicated', 'timestamp first', 'timestamp last'],
]

function cacheColumn({ key }: FlowAccount, entry: FlowEntry, facts: ExporterFacts): string[] {
  const number = (value: number | bigint | undefined) => (value === undefined ? '-' : String(value))
  const { factor, replicated, isMulticast: flag } = entry
  return [
    exporterText(key.src),
    exporterText(key.dst),
    number(key.srcPort),
    number(key.dstPort),
    number(key.protocol),
    key.tos === undefined ? '-' : hex(key.tos),
    facts.interfaceName(key.exporter, key.input),
    facts.interfaceName(key.exporter, entry.output),
    flag === undefined ? (isMulticastFlow(key) ? '(Yes)' : '(No)') : `${flag === 0 ? 'No' : 'Yes'} ${hex(flag)}`,
    entry.direction === 'ingress' ? 'Input' : 'Output',
    factor === undefined
      ? '-'
      : factor.lowest === factor.highest
        ? number(factor.lowest)
        : `${factor.lowest} to ${factor.highest}`,
    number(entry.bytes),
    number(entry.packets),
    number(replicated?.bytes),
    number(replicated?.packets),
    timeText(entry.firstMs),
    timeText(entry.lastMs),
  ]
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(2, '0')}`
}

/** UTC, to the millisecond. */
export function timeText(ms: number | undefined): string {
  if (ms === undefined) return '-'
  const date = new Date(ms)
  return Number.isNaN(date.getTime()) ? '?' : date.toISOString().replace('T', ' ').slice(0, -1)
}

function fitting(entries: readonly string[][], columns: number): number {
  const label = Math.max(...CACHE_FIELDS.map(field => field.length))
  let [width, count] = [label, 0]
  for (const entry of entries) {
    width += COLUMN_GAP.length + Math.max(...entry.map(cell => cell.length))
    if (count > 0 && width > columns) break
    count++
  }
  return count
}

/** One line for a record as it comes, for a pipe. */
export function recordLine(record: FlowRecord, direction: string, facts: ExporterFacts): string {
  const name = (index: number | undefined) => facts.interfaceName(record.exporter, index)
  const copies = record.replicatedPackets === undefined ? '' : `, ${record.replicatedPackets} packets replicated`
  const factor = record.replicationFactor === undefined ? '' : `, factor ${record.replicationFactor}`
  const flow = `${endText(record.src, record.srcPort)} > ${endText(record.dst, record.dstPort)} ${protocolText(record.protocol)}`
  return `${timeText(record.lastMs)} ${exporterText(record.exporter)} ${flow} ${direction} ${name(record.input)} > ${name(record.output)}: ${record.packets ?? '-'} packets, ${record.bytes ?? '-'} bytes${factor}${copies}`
}
