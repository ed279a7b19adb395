import { IP_PROTOCOL, IPV4_FLAG, ipv4 } from '../generators/wire/ipv4.ts'
import { stampRun, stampSequence, stampStream } from '../generators/wire/stamp.ts'
import { Background, backgroundName } from './background.ts'
import { Dissection, dissect, PROTOCOL, portTable, VXLAN_PORTS } from './dissect.ts'
import type { EspKey } from './esp-opener.ts'
import { type EspView, openEsp } from './esp-recording.ts'
import { type DatagramKey, FragmentHeads } from './fragment-heads.ts'
import { SightingIndex } from './ledger-index.ts'
import type { Ledger } from './ledger-types.ts'
import { locateStamp, type StampPlace } from './locate.ts'
import type { Recording } from './record.ts'
import { openRecording, type RecordingOptions } from './recording.ts'
import { SightingColumns } from './sighting-columns.ts'
import { timeOrder } from './time-order.ts'

export interface LedgerOptions {
  /** Stamps of other runs are background. */
  runId: number
  /** UDP destination ports behind which VXLAN is looked for. */
  vxlanPorts?: readonly number[]
  /** ESP is opened with these, and what was inside is known at taps of its own. */
  keys?: readonly EspKey[]
}

/** The ledger of frames that were read before; reads all bytes again, so `openLedger` is faster. */
export function buildLedger(recording: Recording, options: LedgerOptions): Ledger {
  const builder = new LedgerBuilder(options)
  for (let i = 0; i < recording.count; i++) {
    const bytes = recording.bytes(i)
    builder.add(i, bytes, 0, bytes.length, recording.originalLength(i))
  }
  return builder.finish(recording)
}

/** Recording and ledger in one pass over the files; arguments as for `openRecording`. */
export function openLedger(
  directory: string,
  files: readonly string[] | undefined,
  options: LedgerOptions & Omit<RecordingOptions, 'visit'>,
): { recording: Recording; ledger: Ledger; esp?: EspView } {
  const builder = new LedgerBuilder(options)
  const recording = openRecording(directory, files ? [...files] : undefined, {
    ...(options.baseNs === undefined ? {} : { baseNs: options.baseNs }),
    ...(options.runnerNs === undefined ? {} : { runnerNs: options.runnerNs }),
    visit: (i, frame) => builder.add(i, frame.bytes, frame.at, frame.length, frame.originalLength),
  })
  if (!options.keys) return { recording, ledger: builder.finish(recording) }
  const opened = openEsp(recording, options.keys, options.vxlanPorts)
  for (let i = recording.count; i < opened.recording.count; i++) {
    const bytes = opened.recording.bytes(i)
    builder.add(i, bytes, 0, bytes.length, bytes.length)
  }
  builder.addClosed(opened.esp.closed.length)
  return { ...opened, ledger: builder.finish(opened.recording) }
}

/** A later fragment that waits for its head: heads may come after tails. */
interface Tail extends DatagramKey {
  frame: number
  innerAt: number
  fragmentOffset: number
  levels: number
}

/** Takes frames in recording order, then makes the ledger. */
export class LedgerBuilder {
  readonly #runId: number
  readonly #vxlanPorts: Uint8Array
  readonly #opensEsp: boolean
  readonly #rows = new SightingColumns()
  readonly #background = new Background()
  readonly #layers = new Dissection()
  readonly #place: StampPlace = { stampAt: 0, innerAt: 0, levels: 0 }
  readonly #heads: (DatagramKey & { row: number })[] = []
  readonly #tails: Tail[] = []

  constructor(options: LedgerOptions) {
    this.#runId = options.runId
    this.#vxlanPorts = portTable(options.vxlanPorts ?? VXLAN_PORTS)
    this.#opensEsp = options.keys !== undefined
  }

  add(frame: number, bytes: Uint8Array, at: number, length: number, originalLength: number): void {
    const place = this.#place
    if (
      locateStamp(bytes, at, at + length, this.#vxlanPorts, place) &&
      stampRun(bytes, place.stampAt) === this.#runId
    ) {
      const { stampAt, innerAt, levels } = place
      this.#rows.push(frame, stampStream(bytes, stampAt), stampSequence(bytes, stampAt), innerAt - at, 0, levels)
    } else this.#addOther(frame, bytes, at, length, originalLength)
  }

  /** ESP that no key opened. */
  addClosed(packets: number): void {
    for (let i = 0; i < packets; i++) this.#background.add('esp not opened')
  }

  finish(recording: Recording): Ledger {
    this.#adoptTails(recording)
    const rows = this.#rows
    const order = timeOrder(rows.count, row => recording.timeNs(rows.frame(row)))
    const rowOf = order ? (i: number) => order[i] ?? -1 : (i: number) => i
    const index = new SightingIndex(rows.count, {
      tap: i => recording.tap(rows.frame(rowOf(i))),
      direction: i => recording.direction(rows.frame(rowOf(i))),
      stream: i => rows.stream(rowOf(i)),
    })
    const ledger: Ledger = {
      count: rows.count,
      frame: i => rows.frame(rowOf(i)),
      tap: i => recording.tap(rows.frame(rowOf(i))),
      stream: i => rows.stream(rowOf(i)),
      sequence: i => rows.sequence(rowOf(i)),
      timeNs: i => recording.timeNs(rows.frame(rowOf(i))),
      direction: i => recording.direction(rows.frame(rowOf(i))),
      levels: i => rows.levels(rowOf(i)),
      innerAt: i => rows.innerAt(rowOf(i)),
      fragmentOffset: i => rows.fragmentOffset(rowOf(i)),
      sightings: (tap, stream, direction) => index.sightings(tap, stream, direction),
      copies: (tap, stream, direction, sequences) => countCopies(ledger, tap, stream, direction, sequences),
      background: this.#background.counts(),
    }
    return ledger
  }

  /** Tagged, fragmented, with IP options, cut by the capture, malformed, or not ours. */
  #addOther(frame: number, bytes: Uint8Array, at: number, length: number, originalLength: number): void {
    const layers = dissect(bytes, at, at + length, this.#layers, originalLength, this.#vxlanPorts)
    const last = layers.count - 1
    if (layers.protocol(last) === PROTOCOL.stamp && stampRun(bytes, layers.at(last)) === this.#runId) {
      this.#addStamped(frame, bytes, at, layers)
    } else if (this.#opensEsp && isEsp(bytes, layers)) return
    else if (layers.protocol(last) === PROTOCOL.fragment && !layers.malformed) this.#addTail(frame, bytes, at, layers)
    else this.#background.add(backgroundName(bytes, layers))
  }

  #addStamped(frame: number, bytes: Uint8Array, at: number, layers: Dissection): void {
    const stampAt = layers.at(layers.count - 1)
    const { innerAt, levels } = layers
    const row = this.#rows.push(
      frame,
      stampStream(bytes, stampAt),
      stampSequence(bytes, stampAt),
      innerAt - at,
      0,
      levels,
    )
    for (let i = 0; i < layers.count; i++) {
      if (layers.protocol(i) !== PROTOCOL.ipv4) continue
      const moreFragments = ipv4.fields.flags.get(bytes, layers.at(i)) & IPV4_FLAG.MF
      if (moreFragments) this.#heads.push({ ...datagramKey(bytes, layers.at(i)), row })
    }
  }

  #addTail(frame: number, bytes: Uint8Array, at: number, layers: Dissection): void {
    const ip = layers.at(layers.count - 2)
    const fragmentOffset = ipv4.fields.fragmentOffset.get(bytes, ip) * 8
    const { innerAt, levels } = layers
    this.#tails.push({ ...datagramKey(bytes, ip), frame, innerAt: innerAt - at, fragmentOffset, levels })
  }

  #adoptTails(recording: Recording): void {
    if (this.#tails.length === 0) return
    const rows = this.#rows
    const heads = new FragmentHeads()
    for (const head of this.#heads) {
      const frame = rows.frame(head.row)
      heads.add(head, head.row, recording.tap(frame), recording.timeNs(frame))
    }
    for (const tail of this.#tails) {
      const head = heads.find(tail, recording.tap(tail.frame), recording.timeNs(tail.frame))
      const { frame, innerAt, fragmentOffset, levels } = tail
      if (head < 0) this.#background.add(levels > 0 ? 'vxlan ipv4 fragment' : 'ipv4 fragment')
      else rows.push(frame, rows.stream(head), rows.sequence(head), innerAt, fragmentOffset, levels)
    }
  }
}

/** ESP, or a fragment of it: what was inside comes as a frame of its own. */
function isEsp(bytes: Uint8Array, layers: Dissection): boolean {
  const last = layers.count - 1
  if (layers.protocol(last) !== PROTOCOL.fragment) return layers.protocol(last) === PROTOCOL.esp
  return ipv4.fields.protocol.get(bytes, layers.at(last - 1)) === IP_PROTOCOL.ESP
}

function datagramKey(bytes: Uint8Array, at: number): DatagramKey {
  const { src, dst, protocol, id } = ipv4.fields
  return { src: src.get(bytes, at), dst: dst.get(bytes, at), protocol: protocol.get(bytes, at), id: id.get(bytes, at) }
}

const MOST_COPIES = 0xffff

function countCopies(ledger: Ledger, tap: number, stream: number, direction: number, sequences: number): Uint16Array {
  const copies = new Uint16Array(sequences)
  const sightings = ledger.sightings(tap, stream, direction)
  for (let j = 0; j < sightings.length; j++) {
    const i = sightings[j] as number
    const sequence = ledger.sequence(i)
    if (sequence >= sequences || ledger.fragmentOffset(i) !== 0) continue
    if ((copies[sequence] as number) < MOST_COPIES) copies[sequence] = (copies[sequence] as number) + 1
  }
  return copies
}
