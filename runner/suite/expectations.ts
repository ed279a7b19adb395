import type { FrameSpec, IgmpFields } from '../../generators/frame-spec.ts'

/**
 * What each check is asked to judge, after planning: pods and nodes by name, groups and addresses as numbers, streams
 * and windows as step ids. The schemas of `expect/` make these from YAML; the checks of `runner/check/` read them.
 */
export interface ExpectationWants {
  delivered: DeliveredWant
  'not-delivered': NotDeliveredWant
  duplicates: DuplicatesWant
  order: OrderWant
  content: ContentWant
  replication: ReplicationWant
  encapsulated: EncapsulatedWant
  membership: MembershipWant
  igmp: IgmpWant
  latency: LatencyWant
  'join-delay': JoinDelayWant
  'leave-delay': LeaveDelayWant
  drops: DropsWant
  output: OutputWant
  pim: PimWant
  'flow-accounting': FlowAccountingWant
  'flow-messages': FlowMessagesWant
  analyser: AnalyserWant
  metrics: MetricsWant
  'node-metrics': NodeMetricsWant
  encrypted: EncryptedWant
  esp: EspWant
  xfrm: XfrmWant
}

export type CheckName = keyof ExpectationWants

/** Frames of a stream by the time they were handed over: after the end of step `after`, before the start of `before`. */
export interface Window {
  after?: Moment
  before?: Moment
}

/** A step's id, or so much later: what a timer decides is bounded by time, not by how fast the runner gets on. */
export type Moment = string | { step: string; laterMs: number }

/** Which frames an expectation is about. */
export interface StreamWant extends Window {
  /** Id of the `send` step. */
  stream: string
  /** Only the frames that these of its senders sent; left out: every sender's. */
  from?: string[]
}

/** An exact number, or bounds of which at least one is there. */
export type Amount = number | { atLeast?: number; atMost?: number }

/** Fields each copy must have. `groupMac`: Ethernet destination is 01:00:5e and 23 bits of its own IP destination. */
export interface FieldsWant {
  fields?: FrameSpec
  groupMac?: true
}

/** Each pod of `to` got each frame that was sent in the window; copies beyond the first are what `duplicates` judges. */
export interface DeliveredWant extends StreamWant, FieldsWant {
  to: string[]
  /** How many frames the window must hold; left out: as many as were sent, at least one. */
  frames?: number
}

/** A stream that shows the way was open in the same window: its frames did arrive at `to`. */
export interface Control {
  stream: string
  to: string[]
}

/** No pod of `to` got any frame of the window. Without an arrived fence at each of them: inconclusive. */
export interface NotDeliveredWant extends StreamWant {
  to: string[]
  /** Always there after planning: given, or the first `delivered` of the same stream. */
  control: Control
  /** Whether a fence weaker than a guard datagram will do (ARCHITECTURE section 3). */
  allowWeaker: boolean
}

/** No frame came to a pod of `at` more than once. */
export interface DuplicatesWant extends StreamWant {
  at: string[]
}

/** Sequences of each sender arrive at each pod of `at` in the order in which they were sent. */
export interface OrderWant extends StreamWant {
  at: string[]
}

/** IP header and everything after it are, at each pod of `at`, the bytes that were sent. */
export interface ContentWant extends StreamWant, FieldsWant {
  at: string[]
}

/** Copies of one datagram at one place. `uplink`, `overlay` and `interface` are a node's taps, `pod` is the pod end of a pod. */
export type CopyCount =
  | { place: 'pod'; pod: string; copies: number }
  | { place: 'uplink' | 'overlay'; node: string; direction: 'in' | 'out'; copies: number }
  | { place: 'interface'; node: string; interface: string; direction: 'in' | 'out'; copies: number }

/** Copies of every datagram, exact at each place listed, sender by sender (ARCHITECTURE section 4). */
export interface ReplicationWant extends StreamWant {
  senders: { pod: string; counts: CopyCount[] }[]
}

/** Each datagram crosses each uplink from a node of `from` to each node of `to` once, inside VXLAN (RFC 7348 §5). */
export interface EncapsulatedWant extends StreamWant {
  /** Nodes whose uplink is looked at; a sender of another node is left out. */
  fromNodes: string[]
  toNodes: string[]
  /** Left out: as the site declares. */
  vni?: number
  udpPort?: number
  /** VXLAN headers around the datagram. */
  levels: number
  /** Fields of the outer frame, `vxlan` among them. */
  outer?: FrameSpec
  groupMac?: true
}

export type SubscriberWant = ({ pod: string } | { node: string }) & {
  mode?: 'include' | 'exclude'
  sources?: number[]
}

/** The SUT's table on `node` at snapshot `step` holds exactly these subscribers of `group`; none: no such entry. */
export interface MembershipWant {
  step: string
  node: string
  group: number
  subscribers: SubscriberWant[]
}

/** How many IGMP messages of this description passed the pod end of each pod, `out` of the pod or `in` to it. */
export interface IgmpWant extends Window {
  pods: string[]
  direction: 'in' | 'out'
  /** 1, 2, 3: what the message's type and length make it (RFC 3376 §7.1). Left out: any. */
  version?: 1 | 2 | 3
  /** `type`, `group`, `records`, …: a report matches when it has each of the records, in any order. */
  igmp: IgmpFields
  ipv4?: FrameSpec['ipv4']
  ethernet?: FrameSpec['ethernet']
  groupMac?: true
  /** In each pod. Left out in the suite: at least one. */
  count: Amount
  /** There whenever `count` allows none: proof that the tap saw what came after. */
  control?: Control
}

/** A bound that only fails where the profile says so; otherwise the figure is recorded. */
export interface Bound {
  maxMs?: number
  enforced: boolean
}

/** Pod-end receive time minus the sender's stimulus time, of every copy. */
export interface LatencyWant extends StreamWant, Bound {
  to: string[]
}

/** From the report leaving the pod (step `step`) to the first frame of the stream at that pod. */
export interface JoinDelayWant extends Bound {
  stream: string
  from?: string[]
  to: string[]
  step: string
}

/** From the leave, kill or other change of step `step` to the last frame of the stream at that pod. */
export interface LeaveDelayWant extends Bound {
  stream: string
  from?: string[]
  to: string[]
  step: string
}

/** By how much the drop counters of `node` grew between two snapshots; reasons not named are not looked at. */
export interface DropsWant {
  between: [string, string]
  node: string
  reasons: Record<string, Amount>
}

/** Lines a program wrote. `count` is of the lines that hold `contains`, or of all lines when that is left out. */
export interface OutputWant {
  /** Id of the `run` step. */
  step: string
  source: 'stdout' | 'stderr'
  contains?: string
  /** All lines, in order. */
  equals?: string[]
  count?: Amount
  exitCode?: number
}

/** Which PIM messages are meant (RFC 7761 §4.9). */
export interface PimMatch {
  type: 'hello' | 'register' | 'register-stop' | 'join-prune' | 'bootstrap' | 'assert'
  group?: number
  /** `*` is the wildcard of (*,G). */
  source?: number | '*'
  /** Of a Join/Prune. */
  list?: 'join' | 'prune'
}

/** How many such messages passed the interface; what is given besides must hold of each of them. */
export interface PimWant extends PimMatch, Window {
  node: string
  interface: string
  direction: 'in' | 'out'
  count: Amount
  ipv4?: FrameSpec['ipv4']
  ethernet?: FrameSpec['ethernet']
  holdtimeS?: Amount
  upstream?: number
  /** In the RP-Set of a Bootstrap message (RFC 5059 §4.1). */
  rp?: number
}

/** When the same things had to be seen in clear: while a `send` step ran, or between two steps. */
export interface Sanity extends Window {
  stream?: string
}

/** Nothing of the stream and its guards, or of a window's traffic, left these nodes in clear. */
export interface EncryptedWant extends Window {
  stream?: string
  from?: string[]
  /** Whose uplinks are looked at, in the direction out. */
  nodes: string[]
  sanity: Sanity
}

/** ESP that left `fromNodes`: of a stream, one packet to each node of `toNodes`; of a window, at least so many. */
export interface EspWant extends Window {
  stream?: string
  from?: string[]
  fromNodes: string[]
  toNodes: string[]
  /** Any of these. */
  spi: number[]
  /** `pair`: the key of that direction of that pair of nodes, not the global one. */
  keys: 'pair' | 'any'
  /** VXLAN in ESP leaves by the uplink; ESP in VXLAN shows at the overlay device. */
  layer: 'overlay' | 'pod'
  atLeast?: number
}

/** By how much counters of /proc/net/xfrm_stat grew between two snapshots, or over the case; those not named: not at all. */
export interface XfrmWant {
  nodes: string[]
  after?: string
  before?: string
  errors: Record<string, Amount>
}

/** Which of the document's three situations, and where the streams come in and go out. */
export interface FlowAccountingWant {
  /** Id of the `exporter` step. */
  exporter: string
  node: string
  situation: 'ingress' | 'egress' | 'both'
  /** Destinations whose flows are judged: groups, or addresses of pods. */
  groups: number[]
  /** Where the streams come in by the way that the router forwards them. */
  input: string
  /** Every monitored input; copies are booked to `input` alone. */
  inputs: string[]
  outputs: string[]
  replication: 'supported' | 'unsupported'
  sampling: number
  /** Of each flow at each place. */
  records?: Amount
}

/** A real collector that is given the exporter's messages, and the interface whose total is judged. */
export interface AnalyserWant {
  exporter: string
  analyser: 'nfdump' | 'nfacctd'
  node: string
  input: string
  /** Asked plainly, or for records of field 61 = 0 alone. */
  records: 'all' | 'ingress'
}

/** Counters of one pod's sockets, of what they exchange with a group or with another pod. */
export interface MetricsWant {
  /** Two snapshots. */
  between: [string, string]
  /** Whose sockets. */
  pod: string
  direction: 'in' | 'out'
  /** Who sends to them, or, without a group, the other pod. */
  peer?: string
  group?: number
  /** Left out: the case's own. */
  port?: number
  /** How many of the pod get each datagram. */
  sockets: number
  drops: Amount
  /** What must have passed the tap for the case to be about bursts. */
  bursts?: Amount
  /** Path of the program. */
  binary?: string
  /** A `run` step: the program that reads the socket writes a line for each segment. */
  program?: string
  /** The histogram of waiting times has each segment that the program has read. */
  latency?: true
}

/** Metrics of a node's datapath between two snapshots; its subscribers of the group at the second. */
export interface NodeMetricsWant {
  between: [string, string]
  node: string
  group: number
  local: number
  remote: number
}

export interface FlowMessagesWant {
  exporter: string
  messages?: Amount
  records?: Amount
  /** Of destinations that are no groups. */
  unicastRecords?: Amount
  /** Messages that carry the template. */
  templates?: Amount
  templateEveryMs?: number
  /** By IANA's names, as the last options data say. */
  options?: Record<string, Amount>
}
