import { existsSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createLogUpdate } from 'log-update'
import { openCapture } from '../../captures/capture-file.ts'
import { directionOf, isMulticastFlow } from '../../captures/flow-accounts.ts'
import { FlowDecoder, type FlowVisitor } from '../../captures/flow-decoder.ts'
import { eachFlowDatagram, FLOW_PORTS, type FlowFileSummary, readFlowFile } from '../../captures/flow-file.ts'
import { FlowListener } from '../../captures/flow-listener.ts'
import { LINKTYPE_ETHERNET } from '../../captures/pcapng.ts'
import { formatIpv4 } from '../../generators/wire/address.ts'
import { askAnalyser } from '../analyser/ask-analyser.ts'
import { namedNamespace } from '../by-hand.ts'
import { EXIT, strongestExit } from '../exit.ts'
import { type Io, printLine } from '../io.ts'
import { type Claim, claimText, judgeClaims, parseClaims } from '../netflow/claims.ts'
import { eventText, FlowBook } from '../netflow/flow-book.ts'
import { eventJson, flowJson, jsonLine, NETFLOW_FORMAT, recordJson } from '../netflow/flow-json.ts'
import { cacheText, flowRows, recordLine, table } from '../netflow/flow-text.ts'
import { parseListen, parseNames } from '../netflow/listen-address.ts'
import { printable, UserError } from '../suite/errors.ts'
import type { NetflowOptions } from './options.ts'

const REDRAW_MS = 250
const SHOWN_WARNINGS = 12
const SHOWN_FLOWS = 200
const DEFAULT_COLUMNS = 120

/** Passes only when something was decoded and nothing of it is missing: a script must not take a part for the whole. */
export async function netflowCommand(options: NetflowOptions, io: Io): Promise<number> {
  const book = new FlowBook(parseNames(options.name))
  if (options.listen !== undefined && options.capture !== undefined)
    throw new UserError('one-source', 'give a capture or --listen, not both')
  if (options.capture === undefined && options.analyser.length + options.claim.length > 0)
    throw new UserError('no-capture', '--analyser and --claim judge a capture', {
      hint: 'castproof netflow CAPTURE --claim 415=12000',
    })
  if (options.listen !== undefined) return listen(options, options.listen, book, io)
  if (options.capture === undefined) {
    throw new UserError('no-source', 'nothing to read', {
      hint: 'castproof netflow CAPTURE, or castproof netflow --listen udp:2055',
    })
  }
  return readFile(options, options.capture, book, io)
}

async function readFile(options: NetflowOptions, capture: string, book: FlowBook, io: Io): Promise<number> {
  const path = readableCapture(resolve(io.cwd, capture), capture)
  const ports = options.port.length > 0 ? options.port : FLOW_PORTS
  if (options.json) printLine(io, jsonLine({ type: 'start', format: NETFLOW_FORMAT, source: capture }))
  const summary = readFlowFile(path, new FlowDecoder(options.json ? jsonVisitor(book, io) : book), ports)
  tell(book, options, io, fileLines(capture, summary, ports))
  const isWhole = book.isComplete && book.records > 0 && !summary.problem
  const code = isWhole ? EXIT.passed : EXIT.notJudged
  return strongestExit(code, await judgeAnalysers(options, path, book, io))
}

/** Red when an analyser's totals are not what came in. */
async function judgeAnalysers(options: NetflowOptions, path: string, book: FlowBook, io: Io): Promise<number> {
  const asked: [string, Claim[]][] = options.claim.length > 0 ? [['claimed', parseClaims(options.claim)]] : []
  for (const name of options.analyser) {
    const { all, version } = await askAnalyser(name, datagramsOf(path, options.port))
    asked.push([`${name} ${version}`, all])
  }
  const accounts = book.accounts.accounts()
  const findings = asked.flatMap(([who, claims]) => judgeClaims(claims, accounts).map(finding => ({ who, ...finding })))
  const name = (index: number) => book.facts.interfaceName(accounts[0]?.key.exporter ?? 0, index)
  for (const { who, ...finding } of findings)
    printLine(
      io,
      options.json ? jsonLine({ type: 'claim', who, ...finding }) : printable(claimText(who, finding, name)),
    )
  return findings.every(({ meaning }) => meaning === 'right') ? EXIT.passed : EXIT.failed
}

function datagramsOf(path: string, ports: readonly number[]): Uint8Array[] {
  const found: Uint8Array[] = []
  eachFlowDatagram(path, (bytes, at, end) => found.push(bytes.slice(at, end)), ports.length > 0 ? ports : FLOW_PORTS)
  return found
}

function fileLines(
  capture: string,
  { frames, datagrams, cut, problem }: FlowFileSummary,
  ports: readonly number[],
): string[] {
  return [
    `${capture}: ${frames} frames, ${datagrams} datagrams to UDP port ${ports.join(', ')}`,
    ...(datagrams === 0 ? ['  there is no NetFlow in it: --port says where it was sent to'] : []),
    ...(cut > 0 ? [`  ${cut} datagrams were cut short by the capture: capture whole frames (-s 0)`] : []),
    ...(problem ? [`  reading ended at byte ${problem.at}: ${problem.why}`] : []),
  ]
}

/** Known format, and Ethernet: found before anything is printed. */
function readableCapture(path: string, shown: string): string {
  if (!existsSync(path)) throw new UserError('no-such-file', `there is no file ${shown}`)
  if (!statSync(path).isFile()) throw new UserError('not-a-file', `${shown} is not a regular file`)
  const capture = openCapture(path)
  try {
    if (capture.format === 'unknown') throw new UserError('not-a-capture', `${shown}: ${capture.problem?.why}`)
    capture.read(() => {})
    const other = capture.interfaces.find(({ linkType }) => linkType !== LINKTYPE_ETHERNET)
    if (!other) return path
    throw new UserError('link-type', `${shown} holds link type ${other.linkType}, this reads Ethernet (1)`, {
      hint: 'capture on one interface instead of any: tcpdump -i eth0 -w',
    })
  } finally {
    capture.close()
  }
}

async function listen(options: NetflowOptions, place: string, book: FlowBook, io: Io): Promise<number> {
  const { address, port } = parseListen(place)
  const namespace = namedNamespace(options.netns)
  const isLive = io.stdout.isTTY === true && !options.json
  const decoder = new FlowDecoder(options.json ? jsonVisitor(book, io) : isLive ? book : lineVisitor(book, io))
  try {
    const listener = await openListener(decoder, address, port, namespace)
    try {
      const where = `udp:${formatIpv4(address)}:${port}`
      if (options.json) printLine(io, jsonLine({ type: 'start', format: NETFLOW_FORMAT, source: where }))
      else printLine(io, `listening on ${where}; Ctrl-C stops`)
      await untilTold(listener, options, io, isLive ? liveTable(book, listener, io) : undefined)
      decoder.finish()
      const lost = listener.dropped
      const loss = lost === 0 ? [] : [`  ${lost} datagrams were lost here: this machine was too slow for them`]
      tell(book, options, io, [`${listener.datagrams} datagrams came`, ...loss])
      return book.isComplete && book.records > 0 && lost === 0 ? EXIT.passed : EXIT.notJudged
    } finally {
      await listener.close()
    }
  } finally {
    namespace?.close()
  }
}

const ADDRESS_ERRORS: Readonly<Record<string, [string, string]>> = {
  EADDRINUSE: ['is taken', 'another collector listens there: ss -ulnp tells which; stop it, or take another port'],
  EADDRNOTAVAIL: ['is on no interface here', 'ip address shows what is; udp:PORT listens on all'],
}

async function openListener(
  decoder: FlowDecoder,
  address: number,
  port: number,
  namespace: ReturnType<typeof namedNamespace>,
) {
  try {
    return await FlowListener.open(decoder, address, port, namespace)
  } catch (error) {
    const known = ADDRESS_ERRORS[(error as NodeJS.ErrnoException).code ?? '']
    if (!known) throw error
    throw new UserError('cannot-listen', `udp:${formatIpv4(address)}:${port} ${known[0]}`, { hint: known[1] })
  }
}

async function untilTold(listener: FlowListener, options: NetflowOptions, io: Io, draw?: () => void): Promise<void> {
  const endMs = performance.now() + (options.seconds ?? Number.POSITIVE_INFINITY) * 1000
  const enough = options.count ?? Number.POSITIVE_INFINITY
  while (listener.datagrams < enough && performance.now() < endMs && !io.signal.aborted) {
    await delay(draw ? REDRAW_MS : 20)
    draw?.()
  }
}

/** The flows as they stand, redrawn in place; what is told at the end takes its place. */
function liveTable(book: FlowBook, listener: FlowListener, io: Io): () => void {
  const screen = createLogUpdate(io.stdout as NodeJS.WritableStream, { showCursor: true })
  return () => {
    const rows = (io.stdout.rows ?? 24) - 4
    const busiest = multicastAccounts(book).slice(0, Math.max(4, rows - SHOWN_WARNINGS))
    const lines = [
      `${listener.datagrams} datagrams, ${book.records} flow records, ${listener.dropped} datagrams lost here`,
    ]
    lines.push(...table(flowRows(busiest, book.facts)), ...warningLines(book).slice(0, SHOWN_WARNINGS))
    screen(lines.map(line => printable(line).slice(0, (io.stdout.columns ?? DEFAULT_COLUMNS) - 1)).join('\n'))
    if (io.signal.aborted) screen.clear()
  }
}

function multicastAccounts(book: FlowBook) {
  return book.accounts.accounts().filter(({ key }) => isMulticastFlow(key))
}

function warningLines(book: FlowBook): string[] {
  return book.warnings().map(text => `warning: ${text}`)
}

/** Everything as it comes, a JSON object a line. */
function jsonVisitor(book: FlowBook, io: Io): FlowVisitor {
  return {
    record(record, message) {
      book.record(record, message)
      printLine(io, jsonLine(recordJson(record, message)))
    },
    event(event) {
      book.event(event)
      printLine(io, jsonLine(eventJson(event)))
    },
  }
}

/** Everything as it comes, a line for a person each. */
function lineVisitor(book: FlowBook, io: Io): FlowVisitor {
  return {
    record(record, message) {
      const flow = book.record(record, message)
      if (flow) printLine(io, printable(recordLine(flow, directionOf(flow), book.facts)))
    },
    event(event) {
      book.event(event)
      printLine(io, printable(`warning: ${eventText(event)}`))
    },
  }
}

/** What there is to say at the end, in either form. */
function tell(book: FlowBook, options: NetflowOptions, io: Io, lines: readonly string[]): void {
  if (options.json) tellJson(book, io, lines)
  else for (const line of finalLines(book, io, lines)) printLine(io, printable(line))
}

function tellJson(book: FlowBook, io: Io, lines: readonly string[]): void {
  for (const account of book.accounts.accounts()) printLine(io, jsonLine(flowJson(account)))
  const { records, options, isComplete } = book
  printLine(io, jsonLine({ type: 'summary', records, options, isComplete, warnings: book.warnings(), notes: lines }))
}

function finalLines(book: FlowBook, io: Io, lines: readonly string[]): string[] {
  const multicast = multicastAccounts(book)
  const others = book.accounts.accounts().length - multicast.length
  const shown = multicast.slice(0, SHOWN_FLOWS)
  const more =
    multicast.length > shown.length
      ? [`  ${multicast.length - shown.length} more multicast flows: --json has them all`]
      : []
  return [
    ...lines,
    `${book.records} flow records, ${book.options} options records: ${multicast.length} multicast flows, ${others} others`,
    ...(shown.length > 0 ? ['', ...table(flowRows(shown, book.facts)), ...more, ''] : []),
    ...(shown.length > 0 ? [...cacheText(shown, book.facts, io.stdout.columns ?? DEFAULT_COLUMNS), ''] : []),
    ...warningLines(book),
  ]
}
