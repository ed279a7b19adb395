import type { StreamAbout } from '../../generators/stream.ts'
import type { StreamSpec } from '../../generators/stream-spec.ts'
import type { SentReport } from '../../generators/transmit/engine.ts'
import type { Membership, ProgramWanted } from '../endpoint.ts'
import type { ProgramEvent } from '../programs-run.ts'
import type { FrameWanted } from '../target/site-tap.ts'

/**
 * What `castproof agent` speaks: one JSON object a line. The agent begins with its hello; every request is answered, in any
 * order; news come unasked. It ends when its input ends, or when nobody has asked anything for as long as the lease.
 */
export const AGENT_PROTOCOL = 'castproof-agent/1'
export const LEASE_MS = 10_000
/** Of a capture file in one answer, before it is packed. */
export const FETCH_BYTES = 1 << 20

export interface AgentHello {
  hello: typeof AGENT_PROTOCOL
  version: string
  /** Of the kernel: hosts that have it in common have one clock. */
  bootId: string
  hostname: string
  kernel: string
  node: string
  interfaces: AgentInterface[]
}

export interface AgentInterface {
  name: string
  index: number
  /** Index of the other end of a veth, in the namespace where that is. */
  peerIndex?: number
  mac?: string
  /** Of a VXLAN device. */
  vxlan?: { vni?: number; udpPort?: number }
  mtuBytes: number
  up: boolean
  addresses: string[]
}

/** Requests by name: what is asked, what is answered. */
export interface AgentRequests {
  /** Which host it is to be: needed before join, send and run. */
  host: { asks: { pod: string; interface: string; address: string; mac: string }; answer: null }
  interfaces: { asks: object; answer: AgentInterface[] }
  /** MAC addresses of the neighbours that unicast to each address goes to first; without those that nobody answered for. */
  'next-hops': { asks: { interface: string; addresses: readonly string[] }; answer: { macs: Record<string, string> } }
  join: { asks: { membership: Membership }; answer: null }
  leave: { asks: { membership: Pick<Membership, 'group' | 'hosts'> }; answer: null }
  send: { asks: SendAsked; answer: { reports: SentReport[]; sent: SentColumns[] } }
  /** Ends a `send` that is under way, by its request's number; it is answered with what has left. */
  stop: { asks: { of: number }; answer: null }
  run: { asks: { program: ProgramWanted }; answer: { program: number } }
  'stop-program': { asks: { program: number }; answer: null }
  tap: { asks: TapAsked; answer: { tap: number } }
  count: { asks: { tap: number; name: string; direction: number; wanted: FrameWanted }; answer: { count: number } }
  'close-tap': { asks: { tap: number }; answer: ClosedAgentTap }
  /** A piece of a closed tap's file: gzip, base64. */
  fetch: { asks: { tap: number; from: number }; answer: { piece: string } }
  /** Opens a port that sends every datagram back. */
  echo: { asks: object; answer: { port: number } }
  /** Milliseconds there and back to each echo, or null where nothing came back. */
  'round-trips': { asks: { to: { address: string; port: number }[] }; answer: { ms: (number | null)[] } }
  clock: { asks: object; answer: AgentClock }
  stats: { asks: object; answer: { counters: Record<string, number> } }
}

export type AgentRequest = {
  [Name in keyof AgentRequests]: { id: number; op: Name } & AgentRequests[Name]['asks']
}[keyof AgentRequests]

export type AgentAnswer = { id: number; ok: true; answer: unknown } | { id: number; ok: false; error: AgentTrouble }

export interface AgentTrouble {
  name: string
  message: string
  code?: string
  /** For what is our own fault. */
  stack?: string
}

/** What nobody asked for: counts at a tap that changed, a program's lines and its end. */
export type AgentNews =
  | {
      news: 'tap'
      tap: number
      seen: [stream: number, tapName: string, direction: number, count: number][]
      counts: [count: number, frames: number][]
    }
  | { news: 'program'; program: number; event: ProgramEvent['event']; text: string; tNs: string }

export interface SendAsked {
  runId: number
  /** CLOCK_REALTIME of the runner, decimal: what stamps count from. */
  runStartNs: string
  streams: { spec: StreamSpec; about: StreamAbout }[]
}

/** What the kernel took of one stream: consecutive sequences, columns of little-endian numbers as base64. */
export interface SentColumns {
  firstSequence: number
  count: number
  /** Float64, Uint32 and Uint16, as `SendRecord.frame` is told. */
  stampsNs: string
  lagsNs: string
  variants: string
}

export interface TapAsked {
  /** Interface → name of the tap there; only these are listened to. */
  names: Record<string, string>
  runId: number
  /** TCP of the host itself is left out: the runner's own connections are among it. */
  withoutTcp: boolean
}

export interface ClosedAgentTap {
  received: number
  dropped: number
  interfaces: string[]
  bytes: number
}

export interface AgentClock {
  /** CLOCK_REALTIME, and how much more it shows than CLOCK_MONOTONIC: that changes only when somebody sets it. */
  realNs: string
  aheadOfSteadyNs: string
}
