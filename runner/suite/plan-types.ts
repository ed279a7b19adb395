import type { ExporterSettings, FlowExportConfig } from '../../bpf/flow-config.ts'
import type { FrameSpec } from '../../generators/frame-spec.ts'
import type { StreamSpec } from '../../generators/stream-spec.ts'
import type { RequirementRef } from '../../reports/result.ts'
import type { Derivation } from '../ipsec/derive.ts'
import type { CheckName, ExpectationWants, PimMatch } from './expectations.ts'

/** What is left of YAML after planning: numbers and names, nothing to parse later. Kept as `plan.json`. */
export interface Plan {
  schema: 'castproof-plan/1'
  seed: number
  profiles: string[]
  /** Of the default profile and those asked for; a stage adds its target's own. */
  settings: Settings
  stages: Stage[]
  /** Cases that no stage will run, with the reason (wrong target, filtered out is not listed). */
  skipped: PlannedCase[]
}

/** What profiles add up to for one target, the later ones winning. Timers of queriers are in each stage's topology. */
export interface Settings {
  /** What the SUT is declared to do where the RFCs leave it open: `ttl: unchanged`, `link-local-groups: dropped`. */
  policy: Record<string, string>
  /** Whether `maxMs` bounds can fail a case, and the bounds for expectations that name none. */
  timing: { enforced: boolean; latencyMs?: number; joinDelayMs?: number; leaveDelayMs?: number }
  /** A profile may refuse proofs of absence weaker than a guard datagram. */
  allowWeakerFence: boolean
}

/**
 * A value only the site knows, at `path` inside the step or `want` that carries it; until then 0 or ''. `ip` and `mac`
 * are numbers, `text` is the dotted address.
 */
export interface Binding {
  path: (string | number)[]
  of: { pod: string } | { node: string }
  what: 'ip' | 'mac' | 'text'
}

/** Cases of one target that share one topology. */
export interface Stage {
  /** `reference-1`: file names are made of it. */
  name: string
  target: string
  settings: Settings
  topology: Topology
  cases: PlannedCase[]
}

/** What a target brings up. Equal topologies are one stage. */
export interface Topology {
  nodes: string[]
  pods: { name: string; node: string }[]
  /** ESP between nodes; absent: none. */
  encryption?: EncryptionTopology
  /** Timers of the per-node querier in milliseconds; absent: no querier. */
  querier?: QuerierTimers
  /** Each node's agent serves Prometheus metrics, sockets of pods among them. */
  metrics?: true
  /** How the routers of target `router` route; absent: another target. */
  router?: RouterSetup
  /** Cases with the same text share the stage; a case with `topology.private` has its own. */
  private?: string
}

/** What profiles choose of target `router`. */
export interface RouterSetup {
  /** `static`: every router is told the Rendezvous Point; `bsr`: R1 tells it in Bootstrap messages. */
  multicast: (typeof ROUTER_MULTICAST)[number]
  /** What `exporter` steps start. */
  exporter: (typeof ROUTER_EXPORTERS)[number]
}

export const ROUTER_EXPORTERS = ['reference', 'softflowd', 'uacctd'] as const
export const ROUTER_MULTICAST = ['static', 'bsr'] as const

export interface EncryptionTopology {
  /** VXLAN inside ESP between nodes; or unicast between pods encrypted first, then VXLAN; or both at once. */
  mode: 'overlay-in-esp' | 'esp-in-overlay' | 'both'
  algorithm: 'aes-gcm' | 'aes-gcm-256' | 'aes-cbc-sha256' | 'aes-cbc-sha512'
  /** How the keys of each direction of each pair of nodes are made from the secret. */
  derivation: Derivation
  /** Extended sequence numbers (RFC 4303 §2.2.1). */
  esn: boolean
  /** Anti-replay window (RFC 4303 §3.4.3). */
  windowPackets: number
}

export interface QuerierTimers {
  robustness: number
  queryIntervalMs: number
  queryResponseIntervalMs: number
  lastMemberQueryIntervalMs: number
  version: 2 | 3
}

export interface PlannedCase {
  id: string
  file: string
  line: number
  title: string
  covers: RequirementRef[]
  level: string
  needs: string[]
  params: Record<string, string>
  /** Runs alone in its stage. */
  exclusive: boolean
  /** Role in the YAML → pods of the stage's topology (one, or many for `count:`). */
  endpoints: Record<string, string[]>
  /** Leased groups, `$g` → address; `enabled: false` is left disabled on every node until a step enables it. */
  groups: { name: string; address: number; enabled: boolean }[]
  /** UDP port of this case alone: streams that name none use it. */
  port: number
  steps: PlannedStep[]
  expect: PlannedExpectation[]
  skipReason?: string
}

/** Every step has an id (given, or `step3`) and its YAML line. Endpoints are pod names. */
export type PlannedStep = { id: string; line: number; bind?: Binding[] } & Action

export type Action =
  | {
      action: 'join'
      pods: string[]
      group: number
      /** All of them, `group` first, when it is more than one: joined (or left) one after the other. */
      groups?: number[]
      igmpVersion: 1 | 2 | 3
      filter?: { mode: 'include' | 'exclude'; sources: number[] }
      /** Hosts behind the pod's veth, by address; left out: the pod itself. */
      hosts?: number[]
      /** How often each state-change report is sent (RFC 3376 §8.1 Robustness Variable). */
      robustness: number
      /** `emulator` sends raw reports; `socket` asks the pod's kernel (IP_ADD_MEMBERSHIP). */
      via: 'emulator' | 'socket'
      /** Whether the emulated host goes on to answer queries. */
      answers: boolean
    }
  | { action: 'leave'; pods: string[]; group: number; groups?: number[]; hosts?: number[] }
  | {
      action: 'send'
      pods: string[]
      /** Without `number` and `name`: one stream for each pod, numbered when it starts. */
      stream: Omit<StreamSpec, 'number' | 'name'>
      /** Pods that must have seen a probe before the first frame leaves (RFC 3918 §3.1 priming). */
      prime: string[]
      /** Sender → pods, where not every sender is to reach every pod of `prime`. */
      primeOf?: Record<string, string[]>
      /** Steps that run while the stream is under way. */
      meanwhile: PlannedStep[]
    }
  | { action: 'wait'; until: Condition; timeoutMs: number }
  | { action: 'link'; pod?: string; node?: string; up: boolean }
  | { action: 'kill'; pods: string[] }
  /** Killed pods come back with the same address, and nothing else of what they were. */
  | { action: 'revive'; pods: string[] }
  | {
      action: 'group'
      groups: number[]
      enable: boolean
      nodes: string[]
      /** How many of them the SUT must refuse, when the limit is the point. */
      refused: number
    }
  | { action: 'run'; pod: string; program: string; params: Record<string, string | number | boolean> }
  | { action: 'stop'; program: string }
  /** Records tables, drop counters and, where agents serve them, metrics of every node as observations named by the step's id. */
  | { action: 'snapshot' }
  | { action: 'agent'; node: string; do: 'restart' }
  /** The router on `node` exports flow records from now on, until the case ends. */
  | { action: 'exporter'; node: string; config: ExporterWanted }
  /** What the exporter's cache holds leaves now. */
  | { action: 'flush'; exporter: string }
  | { action: 'encryption'; do: EncryptionDo; nodes: string[] }
  /** States or policies of a node's tunnels are lost, or a tunnel's numbers go on from `sequence` at both ends. */
  | { action: 'xfrm'; do: 'lose-states' | 'lose-policies'; node: string; peer?: string; direction?: 'out' | 'in' }
  | { action: 'xfrm'; do: 'sequence'; node: string; peer: string; sequence: number }
  | { action: 'sysctl'; pod?: string; node?: string; name: SysctlName; interface: string; value: number }
  /** ESP packets that left `node` for `peer` during step `of` come in at `peer` again, from a stranger's interface. */
  | { action: 'replay'; pod: string; of: string; node: string; peer: string; count?: number; alter: Alteration }

/** A flow exporter as a suite asks for it; where the collector is, the site knows. */
export type ExporterWanted = Omit<FlowExportConfig, 'exporter'> & { exporter: ExporterSettings }

export const ENCRYPTION_DOES = ['on', 'off', 'forget', 'reboot', 'rotate', 'rotate-begin', 'rotate-end'] as const
export type EncryptionDo = (typeof ENCRYPTION_DOES)[number]

export const SYSCTLS = ['accept_local', 'rp_filter'] as const
export type SysctlName = (typeof SYSCTLS)[number]

/** What is done to an ESP packet before it is sent again: nothing, one bit of its ciphertext or ICV, another SPI, its last octets cut off. */
export const ALTERATIONS = ['none', 'ciphertext', 'icv', 'spi', 'sequence', 'truncate'] as const
export type Alteration = (typeof ALTERATIONS)[number]

export type Condition =
  /** Probes from `from` to `group` reach every pod of `to`. */
  | { until: 'delivered'; from: string; group: number; port: number; to: string[] }
  /** Probes from `from` to `group` no longer reach any pod of `to`, while their fence does. */
  | { until: 'stopped'; from: string; group: number; port: number; to: string[] }
  /** The SUT's tables on `node` show (or no longer show) the subscriber. */
  | {
      until: 'subscribed' | 'unsubscribed'
      node: string
      /** All of them, `node` first, when it is more than one. */
      nodes?: string[]
      group: number
      subscriber: { pod: string } | { node: string }
    }
  /** `frames` frames of each sender of the send step have been handed to the kernel (inside its `meanwhile`). */
  | { until: 'sent'; stream: string; frames: number }
  /** A program's output holds the text, `count` times. */
  | { until: 'output'; program: string; contains: string; count: number }
  /** So many such PIM messages have passed the router's interface since the case began. */
  | ({ until: 'pim'; node: string; interface: string; direction: 'in' | 'out'; count: number } & PimMatch)
  /** A frame that matches has been seen at the pod's tap since the case began. */
  | { until: 'frame'; pod: string; direction: 'in' | 'out'; match: FrameSpec; count: number }

export interface PlannedExpectation {
  check: CheckName
  line: number
  /** ExpectationWants[check]: role names resolved to pods, `$g` to numbers, streams to step ids. */
  want: ExpectationWants[CheckName]
  bind?: Binding[]
}
