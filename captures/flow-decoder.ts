import { FLOW_FIELD } from '../generators/wire/flow-fields.ts'
import {
  type DataRecord,
  dataRecords,
  FIRST_DATA_SET_ID,
  type FlowDialect,
  flowSets,
  isZero,
  templates,
} from '../generators/wire/flow-sets.ts'
import type { FlowTemplate } from '../generators/wire/flow-template.ts'
import { numberOf } from '../generators/wire/flow-value.ts'
import { IPFIX_SET, ipfix } from '../generators/wire/ipfix.ts'
import { netflow5Records } from '../generators/wire/netflow5.ts'
import { NETFLOW9_SET, netflow9 } from '../generators/wire/netflow9.ts'
import { FlowClock } from './flow-clock.ts'
import { type FlowMessage, type FlowOrigin, lengthTrouble, readFlowMessage } from './flow-message.ts'
import { FlowSequence, type SequenceStep } from './flow-sequence.ts'
import { FlowTemplates, type HeldFlowSet, HeldFlowSets } from './flow-templates.ts'

/** Something that a reader of the numbers must know. */
export type FlowEventKind =
  | 'malformed'
  /** Not NetFlow at all. */
  | 'foreign'
  /** Messages (v9) or records (v5, IPFIX) that never came. */
  | 'gap'
  | 'late'
  | 'duplicate'
  | 'restart'
  | 'clock-step'
  | 'redefined'
  | 'withdrawn'
  /** The header of v9 counts another number of records than there are. */
  | 'count'
  | 'padding'
  /** Data that was never decoded. */
  | 'no-template'
  /** Several senders use one exporter address and Source ID. */
  | 'shared-source-id'
  /** More streams than can be kept. */
  | 'forgotten'

export interface FlowEvent {
  kind: FlowEventKind
  /** Octets from the start of the message. */
  at: number
  why: string
  origin: FlowOrigin
  /** Undefined while the header could not be read. */
  message: FlowMessage | undefined
  /** gap: how many; no-template: octets. */
  amount: number
}

/** Who is told. `record` gets the decoder's own objects: they are valid until it returns. */
export interface FlowVisitor {
  record(record: DataRecord, message: FlowMessage): void
  event(event: FlowEvent): void
}

/** Exporters × Source IDs. */
const MAX_STREAMS = 4096
const TEMPLATE_LIFE_SECONDS = 4 * 3600

/** What is known of one exporter address and Source ID. */
interface Stream {
  key: string
  sequence: FlowSequence
  clock: FlowClock
  srcPort: number
  /** Ports that were seen before the present one. */
  ports: number[]
  messages: number
  systemInitMs: number | undefined
}

/** How a message came out. */
interface Tally {
  records: number
  templates: number
  /** Something could not be decoded, so the sums say nothing. */
  isPartial: boolean
}

/**
 * Decodes NetFlow v5, v9 and IPFIX messages as they come, whatever they hold: it never throws, always ends, and keeps a bounded amount.
 * Templates belong to an exporter's address and Source ID (RFC 3954 §5.1); data before its template waits for it (§9).
 */
export class FlowDecoder {
  readonly #visitor: FlowVisitor
  readonly #templates: FlowTemplates
  readonly #held = new HeldFlowSets()
  readonly #streams = new Map<string, Stream>()

  constructor(visitor: FlowVisitor, options: { templateLifeSeconds?: number } = {}) {
    this.#visitor = visitor
    this.#templates = new FlowTemplates(options.templateLifeSeconds ?? TEMPLATE_LIFE_SECONDS)
  }

  /** What it keeps, for who watches over memory. */
  get kept(): { streams: number; templateFields: number; heldBytes: number } {
    return { streams: this.#streams.size, templateFields: this.#templates.fields, heldBytes: this.#held.bytes }
  }

  /** One UDP payload, `bytes[at] … bytes[end - 1]`. */
  message(bytes: Uint8Array, at: number, end: number, origin: FlowOrigin): void {
    const stop = Math.min(end, bytes.length)
    const message = readFlowMessage(bytes, at, stop, origin)
    if (typeof message === 'string') {
      const kind = message.startsWith('version') ? 'foreign' : 'malformed'
      this.#visitor.event({ kind, at: 0, why: message, origin, message: undefined, amount: 0 })
      return
    }
    const trouble = lengthTrouble(message, bytes, stop)
    if (trouble) this.#tell('malformed', message, message.at + 2, trouble)
    const stream = this.#streamOf(message)
    message.systemInitMs = stream.systemInitMs
    const step = this.#order(stream, message, bytes)
    if (message.arrival === 'duplicate') return
    const tally: Tally = { records: 0, templates: 0, isPartial: trouble !== undefined }
    if (message.version === 5) this.#records(netflow5Records(bytes, message.at, message.end), message, tally)
    else this.#flowSets(stream, message, bytes, tally)
    stream.systemInitMs = message.systemInitMs
    this.#checkCount(message, tally)
    stream.sequence.advance(step, message.sequence, unitsOf(message, tally))
  }

  /** No more will come: what still waits for a template is told. */
  finish(): void {
    this.#giveUp(this.#held.take(), 'its template never came')
  }

  #streamOf(message: FlowMessage): Stream {
    const key = `${message.exporter} ${message.version} ${message.sourceId}`
    const known = this.#streams.get(key)
    if (known) return known
    const stream = {
      key,
      sequence: new FlowSequence(),
      clock: new FlowClock(),
      srcPort: message.srcPort,
      ports: [],
      messages: 0,
      systemInitMs: undefined,
    }
    this.#streams.set(key, stream)
    const [oldest] = this.#streams.keys()
    if (this.#streams.size > MAX_STREAMS && oldest !== undefined) this.#forget(oldest, message)
    return stream
  }

  #forget(key: string, message: FlowMessage): void {
    this.#streams.delete(key)
    this.#templates.clear(key)
    this.#giveUp(this.#held.take(key), 'its exporter was forgotten')
    this.#tell(
      'forgotten',
      message,
      message.at,
      `more than ${MAX_STREAMS} exporters and Source IDs: ${key} was forgotten`,
    )
  }

  /** Sequence, clocks and ports, before the records are read: they decide whether the records count. */
  #order(stream: Stream, message: FlowMessage, bytes: Uint8Array): SequenceStep {
    const finding = stream.clock.step(message)
    const step = stream.sequence.step({
      sequence: message.sequence,
      fingerprint: `${message.exportedMs} ${message.sysUpTimeMs} ${message.end - message.at}`,
      isEmpty: message.version !== 9 && !hasData(message, bytes),
      isRestart: finding?.kind === 'restart',
    })
    message.arrival = step.arrival
    stream.messages++
    this.#watchPorts(stream, message)
    if (step.arrival === 'restart') this.#restart(stream, message, finding?.why)
    else if (finding) this.#tell(finding.kind, message, message.at, finding.why)
    if (step.arrival === 'after-gap') this.#gap(message, step.missing)
    if (step.arrival === 'late') this.#tell('late', message, message.at, `sequence ${message.sequence} came late`)
    if (step.arrival === 'duplicate')
      this.#tell('duplicate', message, message.at, `sequence ${message.sequence} came before: its records do not count`)
    return step
  }

  #gap(message: FlowMessage, missing: number): void {
    const unit = message.version === 9 ? 'export packets' : 'records'
    this.#tell('gap', message, message.at, `${missing} ${unit} missing before sequence ${message.sequence}`, missing)
  }

  /** Template IDs are not kept across a restart (RFC 3954 §7). */
  #restart(stream: Stream, message: FlowMessage, why = `sequence went back to ${message.sequence}`): void {
    this.#templates.clear(stream.key)
    this.#giveUp(this.#held.take(stream.key), 'the exporter restarted before its template came')
    this.#tell('restart', message, message.at, `exporter restarted: ${why}; its templates are forgotten`)
  }

  /** A port that comes back is no restart: two senders share one Source ID, and their sequences and templates mix. */
  #watchPorts(stream: Stream, message: FlowMessage): void {
    const { srcPort } = message
    if (srcPort === stream.srcPort) return
    const isShared = stream.ports.includes(srcPort)
    stream.ports = [stream.srcPort, ...stream.ports.filter(port => port !== stream.srcPort)].slice(0, 8)
    stream.srcPort = srcPort
    if (isShared)
      this.#tell(
        'shared-source-id',
        message,
        message.at,
        `source ports ${stream.ports[0]} and ${srcPort} send in turn as Source ID ${message.sourceId}`,
      )
  }

  #flowSets(stream: Stream, message: FlowMessage, bytes: Uint8Array, tally: Tally): void {
    const dialect = message.version === 9 ? 'netflow9' : 'ipfix'
    const ids = dialect === 'netflow9' ? NETFLOW9_SET : IPFIX_SET
    const sets = flowSets(bytes, message.at + (dialect === 'netflow9' ? netflow9.length : ipfix.length), message.end)
    while (sets.next()) {
      if (sets.id === ids.TEMPLATE) this.#define(stream, message, bytes, sets, dialect, 'template', tally)
      else if (sets.id === ids.OPTIONS_TEMPLATE) this.#define(stream, message, bytes, sets, dialect, 'options', tally)
      else if (sets.id >= FIRST_DATA_SET_ID) this.#data(stream, message, bytes, sets, dialect, tally)
      else this.#broken(message, { at: sets.at, why: `FlowSet ID ${sets.id} is reserved` }, tally)
    }
    if (sets.malformed) this.#broken(message, sets.malformed, tally)
  }

  #define(
    stream: Stream,
    message: FlowMessage,
    bytes: Uint8Array,
    set: { at: number; end: number },
    dialect: FlowDialect,
    kind: 'template' | 'options',
    tally: Tally,
  ): void {
    const walk = templates(bytes, set.at, set.end, dialect, kind)
    while (walk.next()) {
      tally.templates++
      if (walk.isWithdrawal) this.#withdraw(stream, message, walk.at, walk.template.id, kind)
      else this.#learn(stream, message, walk.at, walk.template, tally)
    }
    if (walk.malformed) this.#broken(message, walk.malformed, tally)
  }

  #learn(stream: Stream, message: FlowMessage, at: number, template: FlowTemplate, tally: Tally): void {
    const isOther = this.#templates.set(stream.key, template, message.receivedNs)
    if (isOther) this.#tell('redefined', message, at, `template ${template.id} was defined anew`)
    for (const { message: earlier, bytes } of this.#held.take(stream.key, template.id)) {
      const dialect = earlier.version === 9 ? 'netflow9' : 'ipfix'
      this.#records(dataRecords(bytes, 0, bytes.length, template, dialect), earlier, { ...tally })
    }
  }

  /** The ID of the set withdraws all templates of its kind (RFC 7011 §8.1). */
  #withdraw(stream: Stream, message: FlowMessage, at: number, id: number, kind: 'template' | 'options'): void {
    const isAll = id === (kind === 'template' ? IPFIX_SET.TEMPLATE : IPFIX_SET.OPTIONS_TEMPLATE)
    if (isAll) this.#templates.clear(stream.key, template => template.scopeFieldCount > 0 === (kind === 'options'))
    const isKnown = isAll || this.#templates.delete(stream.key, id)
    this.#tell(
      'withdrawn',
      message,
      at,
      `${isAll ? 'all templates were' : `template ${id} was`} withdrawn${isKnown ? '' : ', which is not known'}`,
    )
  }

  #data(
    stream: Stream,
    message: FlowMessage,
    bytes: Uint8Array,
    set: { id: number; at: number; end: number },
    dialect: FlowDialect,
    tally: Tally,
  ): void {
    const template = this.#templates.get(stream.key, set.id, message.receivedNs)
    if (template) this.#records(dataRecords(bytes, set.at, set.end, template, dialect), message, tally)
    else this.#wait(stream, message, bytes, set, tally)
  }

  #wait(
    stream: Stream,
    message: FlowMessage,
    bytes: Uint8Array,
    set: { id: number; at: number; end: number },
    tally: Tally,
  ): void {
    tally.isPartial = true
    const kept = { ...message, at: message.at - set.at, end: message.end - set.at }
    const gone = this.#held.hold({ stream: stream.key, id: set.id, message: kept, bytes: bytes.slice(set.at, set.end) })
    this.#giveUp(gone, 'too much waits for templates')
  }

  #giveUp(sets: readonly HeldFlowSet[], why: string): void {
    for (const { id, message, bytes } of sets)
      this.#tell(
        'no-template',
        message,
        0,
        `${bytes.length} octets of data of template ${id} not decoded: ${why}`,
        bytes.length,
      )
  }

  #records(walk: ReturnType<typeof dataRecords>, message: FlowMessage, tally: Tally): void {
    const before = tally.records
    const init = message.version === 10 ? walk.template.indexOf.get(FLOW_FIELD.systemInitTimeMilliseconds) : undefined
    while (walk.next()) {
      tally.records++
      if (init !== undefined) message.systemInitMs = numberOf(walk, init)
      this.#visitor.record(walk, message)
    }
    if (walk.malformed) this.#broken(message, walk.malformed, tally)
    else if (tally.records === before && message.version !== 5)
      this.#broken(
        message,
        {
          at: walk.at,
          why: `Data FlowSet ${walk.template.id} is shorter than a record of ${walk.template.recordBytes} octets`,
        },
        tally,
      )
    else if (walk.paddingBytes > 3 || !isZero(walk.bytes, walk.end, walk.end + walk.paddingBytes))
      this.#tell(
        'padding',
        message,
        walk.end,
        `${walk.paddingBytes} octets behind the last record of template ${walk.template.id} that are not padding to 4 octets`,
      )
  }

  #checkCount(message: FlowMessage, { records, templates: defined, isPartial }: Tally): void {
    if (message.version !== 9 || isPartial || records + defined === message.count) return
    this.#tell(
      'count',
      message,
      message.at + 2,
      `header counts ${message.count} records, there are ${records + defined}`,
    )
  }

  #broken(message: FlowMessage, { at, why }: { at: number; why: string }, tally: Tally): void {
    tally.isPartial = true
    this.#tell('malformed', message, at, why)
  }

  #tell(kind: FlowEventKind, message: FlowMessage, at: number, why: string, amount = 0): void {
    this.#visitor.event({ kind, at: at - message.at, why, origin: message, message, amount })
  }
}

/** How far a message takes the sequence of its stream. */
function unitsOf(message: FlowMessage, { records, isPartial }: Tally): number | undefined {
  if (message.version === 9) return 1
  if (message.version === 5) return message.count
  return isPartial ? undefined : records
}

function hasData(message: FlowMessage, bytes: Uint8Array): boolean {
  if (message.version === 5) return message.count !== 0
  const sets = flowSets(bytes, message.at + ipfix.length, message.end)
  while (sets.next()) if (sets.id >= FIRST_DATA_SET_ID) return true
  return false
}
