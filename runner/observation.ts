/** What is not a packet: time-stamped tables, counters and step times. One JSON object a line in `observations.jsonl`. */
export type Observation = {
  /** CLOCK_REALTIME nanoseconds, decimal. */
  tNs: string
  stage: string
  /** Absent: of the whole stage. */
  case?: string
  attempt?: number
} & Fact

export type Fact =
  | { kind: 'step'; step: string; action: string; phase: 'start' | 'end'; ok: boolean; detail?: string; threw?: true }
  | { kind: 'stream'; number: number; name: string; role: StreamRole; of?: number; pod: string }
  | { kind: 'tables'; step: string; node: string; groups: GroupTable[] }
  | { kind: 'drops'; step: string; node: string; reasons: Record<string, number> }
  /** Kernel witnesses of loss: cumulative counters, sampled at the start and the end of a case. */
  | { kind: 'witness'; phase: 'start' | 'end'; counters: Record<string, number> }
  | { kind: 'tap'; file: string; received: number; dropped: number }
  | { kind: 'program'; step: string; pod: string; program: string; event: 'stdout' | 'stderr' | 'exit'; text: string }
  /** Somebody set CLOCK_REALTIME while the case ran. */
  | { kind: 'clock'; stepNs: string }

export type StreamRole = 'test' | 'prime' | 'probe' | 'fence' | 'echo' | 'control'

/** A group as the SUT's tables tell it. */
export interface GroupTable {
  group: string
  subscribers: {
    subscriber: string
    type: 'Local Endpoint' | 'Remote Node' | 'Outgoing Interface'
    mode?: 'include' | 'exclude'
    sources?: string[]
  }[]
}
