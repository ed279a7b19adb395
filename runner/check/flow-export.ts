import { FlowDecoder, type FlowEvent } from '../../captures/flow-decoder.ts'
import type { FlowMessage } from '../../captures/flow-message.ts'
import { type FlowRecord, isFlow, readFlowRecord } from '../../captures/flow-record.ts'
import { DIRECTION } from '../../captures/record.ts'
import { FIRST_DATA_SET_ID, flowSets } from '../../generators/wire/flow-sets.ts'
import { type FlowValue, fieldValues } from '../../generators/wire/flow-value.ts'
import { IP_PROTOCOL, ipv4, ipv4End, ipv4HeaderLength } from '../../generators/wire/ipv4.ts'
import { netflow9 } from '../../generators/wire/netflow9.ts'
import { udp } from '../../generators/wire/udp.ts'
import type { Observation } from '../observation.ts'
import type { Seen } from './check.ts'
import { innerIpAt } from './inner.ts'

/** A flow record and when, on the clock of the taps, its first and last packet passed. */
export interface ExportedRecord {
  record: FlowRecord
  /** ns since the recording's base, from sysUpTime and the arrival of the message; undefined without time stamps. */
  firstNs: number | undefined
  lastNs: number | undefined
  /** Index in the recording. */
  frame: number
}

export interface ExportedMessage {
  frame: number
  timeNs: number
  hasTemplate: boolean
  /** Data FlowSets, decoded or not. */
  hasData: boolean
}

/** All that an exporter of a case sent to the collector, decoded from the capture there. */
export interface Export {
  product: string
  fromNs: number
  /** Until when traffic is in the records: the flush, or the end. */
  toNs: number
  records: ExportedRecord[]
  messages: ExportedMessage[]
  options: Record<string, FlowValue>[]
  events: { event: FlowEvent; frame: number }[]
}

/** Undefined when the exporter never started, or there is no collector to listen at. */
export function exportOf(seen: Seen, step: string): Export | undefined {
  const told = seen.observations.filter(o => o.kind === 'exporter' && o.step === step)
  const at = (phase: string) => told.find(o => o.kind === 'exporter' && o.phase === phase)
  const start = at('start')
  const { collector } = seen.site
  if (start?.kind !== 'exporter' || !collector) return undefined
  // It sends its template before it is said to have started.
  const fromNs = seen.stepTimeNs(step, 'start') ?? timeNs(start, seen)
  const ended = at('end')
  const endNs = ended ? timeNs(ended, seen) : Number.POSITIVE_INFINITY
  const flushed = at('flushed')
  const toNs = flushed ? timeNs(flushed, seen) : endNs
  const found: Export = { product: start.product, fromNs, toNs, records: [], messages: [], options: [], events: [] }
  decode(found, seen, { tap: seen.tapIndex(collector.tap), port: collector.port, endNs })
  return found
}

function timeNs(observation: Observation, seen: Seen): number {
  return Number(BigInt(observation.tNs) - seen.recording.baseNs)
}

function decode(into: Export, seen: Seen, { tap, port, endNs }: { tap: number; port: number; endNs: number }): void {
  const { recording } = seen
  let frame = -1
  const decoder = new FlowDecoder({
    record(record, message) {
      if (!isFlow(record)) into.options.push(fieldValues(record))
      else into.records.push({ record: readFlowRecord(record, message), frame, ...times(record, message) })
    },
    event(event) {
      into.events.push({ event, frame })
    },
  })
  const times = (record: Parameters<typeof readFlowRecord>[0], message: FlowMessage) => {
    const { firstMs, lastMs } = readFlowRecord(record, message)
    const ns = (ms: number | undefined) =>
      ms === undefined ? undefined : Number(message.receivedNs - recording.baseNs) + (ms - message.exportedMs) * 1e6
    return { firstNs: ns(firstMs), lastNs: ns(lastMs) }
  }
  for (let i = 0; i < recording.count; i++) {
    const when = recording.timeNs(i)
    if (recording.tap(i) !== tap || recording.direction(i) !== DIRECTION.in) continue
    if (when < into.fromNs || when > endNs) continue
    const bytes = recording.bytes(i)
    const payload = payloadOf(bytes, port)
    if (!payload) continue
    frame = i
    const origin = {
      exporter: payload.exporter,
      srcPort: payload.srcPort,
      receivedNs: recording.baseNs + BigInt(Math.round(when)),
      frameNumber: recording.frameNumber(i),
    }
    decoder.message(bytes, payload.at, payload.end, origin)
    into.messages.push({ ...messageOf(bytes, payload), frame: i, timeNs: when })
  }
  decoder.finish()
}

function payloadOf(frame: Uint8Array, port: number) {
  const at = innerIpAt(frame, 0)
  if (at < 0 || ipv4.fields.protocol.get(frame, at) !== IP_PROTOCOL.UDP) return undefined
  const udpAt = at + ipv4HeaderLength(frame, at)
  if (udp.fields.dstPort.get(frame, udpAt) !== port) return undefined
  return {
    exporter: ipv4.fields.src.get(frame, at),
    srcPort: udp.fields.srcPort.get(frame, udpAt),
    at: udpAt + udp.length,
    end: ipv4End(frame, at, frame.length),
  }
}

/** Whether templates and data are in a v9 message: FlowSet 0, and those from 256 on (RFC 3954 §5). */
function messageOf(frame: Uint8Array, { at, end }: { at: number; end: number }) {
  const found = { hasTemplate: false, hasData: false }
  const walk = flowSets(frame, at + netflow9.length, end)
  while (walk.next()) {
    if (walk.id === 0) found.hasTemplate = true
    if (walk.id >= FIRST_DATA_SET_ID) found.hasData = true
  }
  return found
}
