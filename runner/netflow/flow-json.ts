import { readingOf } from '../../captures/flow-accounting.ts'
import { directionOf, type FlowAccount, isMulticastFlow } from '../../captures/flow-accounts.ts'
import type { FlowEvent } from '../../captures/flow-decoder.ts'
import type { FlowMessage } from '../../captures/flow-message.ts'
import { isFlow, readFlowRecord } from '../../captures/flow-record.ts'
import type { DataRecord } from '../../generators/wire/flow-sets.ts'
import { fieldValues } from '../../generators/wire/flow-value.ts'
import { exporterText } from './flow-names.ts'

/** The format of `castproof netflow --json`: an object a line, `type` says which. */
export const NETFLOW_FORMAT = 'castproof-netflow/1'

/** Numbers beyond 2^53 become decimal text: no reader of JSON would keep them. */
export function jsonLine(value: object): string {
  return JSON.stringify(value, (_key, one: unknown) => (typeof one === 'bigint' ? numberOrText(one) : one))
}

function numberOrText(value: bigint): number | string {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : String(value)
}

export function recordJson(record: DataRecord, message: FlowMessage): object {
  const place = { exporter: exporterText(message.exporter), version: message.version, sourceId: message.sourceId }
  const where = { sequence: message.sequence, message: message.frameNumber, offset: record.at - message.at }
  const base = { ...place, ...where, template: record.template.id, fields: fieldValues(record) }
  if (!isFlow(record)) return { type: 'options', ...base }
  const flow = readFlowRecord(record, message)
  return { type: 'record', ...base, direction: directionOf(flow), firstMs: flow.firstMs, lastMs: flow.lastMs }
}

export function eventJson({ kind, at, why, amount, origin, message }: FlowEvent): object {
  const source = message ? { version: message.version, sourceId: message.sourceId, sequence: message.sequence } : {}
  return {
    type: 'event',
    kind,
    why,
    exporter: exporterText(origin.exporter),
    ...source,
    message: origin.frameNumber,
    offset: at,
    amount,
  }
}

export function flowJson(account: FlowAccount): object {
  const { key } = account
  const { in: arrived, outputs, replication, ...rest } = readingOf(account)
  return {
    type: 'flow',
    ...{ ...key, exporter: exporterText(key.exporter), src: exporterText(key.src), dst: exporterText(key.dst) },
    ...{ isMulticast: isMulticastFlow(key), in: arrived, replication, ...rest },
    outputs: outputs && [...outputs].map(([output, amount]) => ({ output, ...amount })),
    entries: account.entries,
  }
}
