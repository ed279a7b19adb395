import * as assert from 'uvu/assert'
import { fieldValues } from '../../generators/wire/flow-value.ts'
import { inputTotals, readingOf } from '../flow-accounting.ts'
import { FlowAccounts } from '../flow-accounts.ts'
import { FlowDecoder } from '../flow-decoder.ts'
import { readFlowRecord } from '../flow-record.ts'

/** A message as a decoder gets it, for a session that can be had again. */
export interface SessionMessage {
  exporter: number
  srcPort: number
  receivedMs: number
  bytes: Uint8Array
}

const MAX_RECORDS_A_BYTE = 1

/** A decoder that is held to its promises: places lie inside, records cannot outnumber octets, memory is bounded. */
export class FlowSession {
  records = 0
  events = 0
  readonly #accounts = new FlowAccounts(500)
  #frameNumber = 0
  readonly #decoder = new FlowDecoder({
    record: (record, message) => {
      this.records++
      const flow = readFlowRecord(record, message)
      this.#accounts.add(flow)
      if (this.records % 7 === 0) fieldValues(record)
      assert.ok(flow.offset >= 0 && flow.offset + (record.end - record.at) <= 65_535)
    },
    event: ({ at, why }) => {
      this.events++
      assert.ok(at >= 0 && at <= 65_535 && why.length < 300, `${at}: ${why}`)
    },
  })

  message({ exporter, srcPort, receivedMs, bytes }: SessionMessage): void {
    const receivedNs = BigInt(Math.round(receivedMs)) * 1_000_000n
    const [before, waiting] = [this.records, this.#decoder.kept.heldBytes]
    this.#decoder.message(bytes, 0, bytes.length, { exporter, srcPort, receivedNs, frameNumber: ++this.#frameNumber })
    assert.ok(this.records - before <= (bytes.length + waiting) * MAX_RECORDS_A_BYTE)
    const { streams, templateFields, heldBytes } = this.#decoder.kept
    assert.ok(streams <= 4096 && templateFields <= 1 << 17 && heldBytes <= 4 << 20)
  }

  finish(): void {
    this.#decoder.finish()
    const accounts = this.#accounts.accounts()
    for (const account of accounts) readingOf(account)
    inputTotals(accounts)
  }
}

const HEAD_BYTES = 20

/** Messages one after the other, each behind its length and origin: what a find is saved as. */
export function writeSession(messages: readonly SessionMessage[]): Uint8Array {
  return Buffer.concat(
    messages.flatMap(({ exporter, srcPort, receivedMs, bytes }) => {
      const head = Buffer.alloc(HEAD_BYTES)
      head.writeUInt32BE(bytes.length, 0)
      head.writeUInt32BE(exporter, 4)
      head.writeUInt32BE(srcPort, 8)
      head.writeDoubleBE(receivedMs, 12)
      return [head, bytes]
    }),
  )
}

export function readSession(file: Uint8Array): SessionMessage[] {
  const view = Buffer.from(file.buffer, file.byteOffset, file.length)
  const messages: SessionMessage[] = []
  for (let at = 0; at + HEAD_BYTES <= view.length; ) {
    const [length, exporter, srcPort] = [view.readUInt32BE(at), view.readUInt32BE(at + 4), view.readUInt32BE(at + 8)]
    const bytes = view.subarray(at + HEAD_BYTES, at + HEAD_BYTES + length)
    messages.push({ exporter, srcPort, receivedMs: view.readDoubleBE(at + 12), bytes })
    at += HEAD_BYTES + length
  }
  return messages
}
