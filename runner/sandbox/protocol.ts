import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import type { Listener, StageJob, StageOutcome } from '../stage-record.ts'

/** To the recorder in the guest, one JSON object a line: a stage to record. */
export interface Order {
  job: StageJob
  /** CLOCK_REALTIME of the host: no frame may be older than its run. */
  nowNs: string
}

type Events = Listener['progress']

/** From it: events of the stage as they happen, then what came of it. */
export type Report =
  | { [Name in keyof Events]: { event: Name; data: Parameters<Events[Name]>[0] } }[keyof Events]
  | { warning: string }
  | { bug: string; stack: string }
  | { outcome: StageOutcome }
  /** As a person would have read it, with the exit code that goes with it. */
  | { error: string; exitCode: number }

export function writeMessage(stream: Writable, message: Order | Report): void {
  stream.write(`${JSON.stringify(message)}\n`)
}

export async function* messages<Message extends Order | Report>(stream: Readable): AsyncGenerator<Message> {
  for await (const line of createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY }))
    yield JSON.parse(line) as Message
}
