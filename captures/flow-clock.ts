import type { FlowMessage } from './flow-message.ts'

/** Whole seconds in the header and a message on its way: less than this is no step. */
const TOLERANCE_MS = 1500
/** IPFIX has only the time of arrival to be held against. */
const ARRIVAL_TOLERANCE_MS = 5000

export interface ClockFinding {
  kind: 'restart' | 'clock-step'
  why: string
}

/** The exporter's two clocks, sysUpTime and UNIX time, from message to message. */
export class FlowClock {
  #last: FlowMessage | undefined

  /** sysUpTime is modulo 2^32 ms, 49.7 days: its wrap is no finding. */
  step(message: FlowMessage): ClockFinding | undefined {
    const last = this.#last
    this.#last = message
    if (!last) return undefined
    if (message.sysUpTimeMs === undefined || last.sysUpTimeMs === undefined) return againstArrival(last, message)
    const uptimeMs = (message.sysUpTimeMs - last.sysUpTimeMs) | 0
    const clockMs = message.exportedMs - last.exportedMs
    if (Math.abs(clockMs - uptimeMs) <= TOLERANCE_MS) return undefined
    if (uptimeMs < 0) return { kind: 'restart', why: `sysUpTime went back ${-uptimeMs} ms` }
    return { kind: 'clock-step', why: `its clock moved ${clockMs} ms while sysUpTime moved ${uptimeMs} ms` }
  }
}

function againstArrival(last: FlowMessage, message: FlowMessage): ClockFinding | undefined {
  const clockMs = message.exportedMs - last.exportedMs
  const arrivalMs = Number((message.receivedNs - last.receivedNs) / 1_000_000n)
  if (Math.abs(clockMs - arrivalMs) <= ARRIVAL_TOLERANCE_MS) return undefined
  return { kind: 'clock-step', why: `its clock moved ${clockMs} ms, and the messages came ${arrivalMs} ms apart` }
}
