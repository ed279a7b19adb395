import type { EspKey } from '../../captures/esp-opener.ts'
import type { EspView } from '../../captures/esp-recording.ts'
import type { Ledger } from '../../captures/ledger-types.ts'
import type { Recording } from '../../captures/record.ts'
import type { StreamSpec } from '../../generators/stream-spec.ts'
import type { Difference, LedgerRow, Status } from '../../reports/result.ts'
import type { Observation, StreamRole } from '../observation.ts'
import type { CheckName } from '../suite/expectations.ts'
import type { EncryptionTopology, PlannedCase } from '../suite/plan-types.ts'

/**
 * One expectation's judge: a pure function of what was wanted, what left, and what was seen. It opens no socket,
 * never sleeps, reads no clock, and asks the recording for bytes only by frame index.
 */
export interface Check<P> {
  /** Its key in the YAML; the shape of `want` is that key's in `ExpectationWants`. */
  name: CheckName
  /** One line for `explain` and the editor. */
  about: string
  judge(want: P, sent: Sent, seen: Seen): Verdict
}

export interface Verdict {
  status: Status
  message: string
  details?: string[]
  differences?: Difference[]
  /** Frames that show it, by index in the recording. */
  frames?: FrameNote[]
  method?: string
  measurements?: Record<string, number>
  rows?: LedgerRow[]
}

export interface FrameNote {
  frame: number
  note: string
}

/** A stream as it was handed to the kernel. */
export interface SentStream {
  number: number
  /** The step's id: `s1`; with several senders `s1/<pod>`. */
  name: string
  role: StreamRole
  /** The test stream that a prime, fence, echo or control stream serves. */
  of?: number
  pod: string
  spec: StreamSpec
  /** Frames handed to the kernel: sequences firstSequence … firstSequence + count - 1. */
  count: number
  /** Of the runner's clock: ns since the recording's baseNs when sequence index k was handed over. */
  timeNs(k: number): number
  /** How far those may be off against times of the runner itself: 0 for a sender with the same clock. */
  clockErrorNs: number
  /** The bytes of sequence index k, rebuilt from template and slots; fragments in the order sent. */
  frames(k: number): Uint8Array[]
}

/** What this case (this attempt) sent. */
export interface Sent {
  readonly streams: readonly SentStream[]
  /** Test streams of a step, one for each sender. */
  of(step: string): SentStream[]
  /** Streams of a role that serve a test stream. */
  serving(stream: number, role: StreamRole): SentStream[]
}

export interface NodeSite {
  name: string
  address: number
  /** Of its uplink, where the site knows it. */
  mac?: number
  /** Towards the other nodes, where they share one underlay and one overlay; routers have neither. */
  uplinkTap?: string
  overlayTap?: string
  /** The inner end of tunnels between pods' nodes, where ESP is inside VXLAN: the address of `cilium_host`. */
  routerAddress?: number
  /** Every interface of a router, each a tap `<node>/<interface>`. */
  interfaceTaps?: string[]
  /** By interface name: the numbers that flow records use. */
  interfaceIndices?: Record<string, number>
}

export interface PodSite {
  name: string
  node: string
  address: number
  mac: number
  /** Where its unicast frames go first; left out: not known, suites have to give it. */
  gatewayMac?: number
  podTap: string
  /** What metrics call it, where the site knows. */
  labels?: { pod: string; namespace?: string; workload?: string }
  nodeTap: string
  /** Where unicast frames to an address go first, by dotted address, where it is not the gateway for all. */
  nextHops?: Record<string, number>
  /** The clock of what it sends, by name; left out: the runner's. */
  clock?: string
}

/** Where things stand: pods, nodes and their taps. */
export interface SiteMap {
  nodes: NodeSite[]
  pods: PodSite[]
  /** Where flow records go: the tap there, and the UDP port. */
  collector?: { tap: string; port: number }
  /** Where nodes are joined by VXLAN. */
  overlay?: { udpPort: number; vni: number }
  /** How nodes encrypt what they send to each other; left out: not at all. */
  encryption?: Pick<EncryptionTopology, 'mode'>
}

/** ESP of the run: the keys it was opened with, and what opened. */
export interface SeenEsp {
  keys: readonly EspKey[]
  view: EspView
}

export interface Seen {
  /** With keys, what was inside of each ESP packet is one more frame, at the tap that captured it. */
  recording: Recording
  ledger: Ledger
  /** Left out: no keys are known, and ESP stays closed. */
  esp?: SeenEsp
  site: SiteMap
  /** Of this case and attempt, and those of the whole stage. */
  observations: readonly Observation[]
  plan: PlannedCase
  /** Index of a tap by name, or -1. A pod that was made anew has one tap all the same. */
  tapIndex(name: string): number
  /** When a step started or ended, ns since baseNs; undefined if it never did. */
  stepTimeNs(step: string, phase: 'start' | 'end'): number | undefined
  /** How far times of these may be off against each other: 0 where all are of one clock. */
  clockErrorNs(of: { taps?: readonly string[]; pods?: readonly string[]; runner?: boolean }): number
  /** Frames that the tap's ring lost; any loss makes absence and exactness there inconclusive. */
  tapDropped(name: string): number
  /** Why the tap's file does not hold all that passed (it ends early, it cannot be read), in one line. */
  tapTrouble(name: string): string | undefined
}
