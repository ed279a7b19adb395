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
  /** What a node's agent serves to Prometheus, as it is. */
  | { kind: 'scrape'; step: string; node: string; text: string }
  /** Kernel witnesses of loss: cumulative counters, sampled at the start and the end of a case. */
  | { kind: 'witness'; phase: 'start' | 'end'; counters: Record<string, number> }
  /** XFRM of an encrypted site's node: at the start and the end of a case, and at a snapshot with its states. Counters are cumulative. */
  | { kind: 'xfrm'; at: string; node: string; errors: Record<string, number>; states?: XfrmState[] }
  | { kind: 'tap'; file: string; received: number; dropped: number }
  | { kind: 'program'; step: string; pod: string; program: string; event: 'stdout' | 'stderr' | 'exit'; text: string }
  /** A flow exporter's time of work; its messages are in the collector's capture. */
  | { kind: 'exporter'; step: string; node: string; phase: 'start' | 'flushed' | 'end'; product: string }
  /** What a collector made of the messages of the exporter that a step started, by input interface. */
  | {
      kind: 'analyser'
      exporter: string
      analyser: 'nfdump' | 'nfacctd'
      version: string
      /** Messages that it was given, and those that it had no room for. */
      datagrams: number
      dropped: number
      all: InputClaimFact[]
      ingressOnly: InputClaimFact[]
      egressOnly: InputClaimFact[]
    }
  /** Somebody set CLOCK_REALTIME while the case ran. */
  | { kind: 'clock'; stepNs: string }

export type StreamRole = 'test' | 'prime' | 'probe' | 'fence' | 'echo' | 'control'

/** What came in at an interface, as a collector has it; counters in decimal. */
export interface InputClaimFact {
  input: number
  packets: string
  bytes: string
}

/** A state of XFRM (RFC 4303: an SA) as its node tells it, without its keys. */
export interface XfrmState {
  /** Tunnel ends, dotted. */
  src: string
  dst: string
  spi: number
  direction: 'out' | 'in'
  layer: 'overlay' | 'pod'
  /** The last number sent and the highest received, high half included. */
  oseq: number
  seq: number
  esn: boolean
  windowPackets: number
}

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
