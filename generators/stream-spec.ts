import type { FrameSpec } from './frame-spec.ts'

/** How fast: frames a second, bits a second on the wire (frame bytes without FCS), or as fast as the engine goes. */
export type Rate = { pps: number } | { bitsPerSecond: number } | 'max'

/** Ethernet frame lengths without FCS: one length, a sweep, or a weighted mix such as IMIX. */
export type FrameLengths = { bytes: number } | { sweepBytes: number[] } | { mix: { bytes: number; weight: number }[] }

/** A burst: `frames` back to back, then `gapUs` of nothing. */
export interface Burst {
  frames: number
  gapUs: number
}

/** One stream: what one sender sends. Every frame carries the stamp when `stamped` (the default for UDP). */
export interface StreamSpec {
  /** Unique in a run; goes into the stamp (u24). */
  number: number
  /** Name for people: `igmp/v3-join:s1`. */
  name: string
  frame: FrameSpec
  stamped: boolean
  /** Either count or durationMs; both given: whichever ends first. */
  count?: number
  durationMs?: number
  rate: Rate
  burst?: Burst
  lengths?: FrameLengths
  /** Round robin over these (group, port) pairs instead of frame.ipv4.dst and frame.udp.dstPort. */
  destinations?: { group: number; port: number }[]
  /** Sequence of the first frame. */
  firstSequence?: number
  /** IP fragments: payload split so that no fragment's IP packet is longer than this. */
  fragmentBytes?: number
  /** Order in which fragments of one datagram leave. */
  fragmentOrder?: 'forward' | 'reverse'
}
