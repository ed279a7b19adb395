import { inspect } from 'node:util'
import { sessionMessages } from '../captures/testdata/flow-mutations.ts'
import { FlowSession } from '../captures/testdata/flow-session.ts'
import type { SessionReport } from './fuzz.ts'

/** One message may not take so long, whatever it holds. */
const SLOW_MS = 5000

function decode(seed: number): SessionReport {
  const session = new FlowSession()
  let [messages, trouble] = [0, undefined as string | undefined]
  try {
    for (const message of sessionMessages(seed)) {
      const startedMs = performance.now()
      session.message(message)
      messages++
      const tookMs = performance.now() - startedMs
      if (tookMs > SLOW_MS) throw new Error(`message ${messages} took ${Math.round(tookMs)} ms`)
    }
    session.finish()
  } catch (error) {
    trouble = inspect(error)
  }
  const { heapUsed, rss } = process.memoryUsage()
  const [heapMib, rssMib] = [Math.round(heapUsed / 2 ** 20), Math.round(rss / 2 ** 20)]
  const counts = { messages, records: session.records, events: session.events, heapMib, rssMib }
  return trouble === undefined ? counts : { ...counts, trouble }
}

process.on('message', seed => process.send?.(decode(seed as number)))
