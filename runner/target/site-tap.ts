import type { FrameSpec } from '../../generators/frame-spec.ts'
import type { PimMatch } from '../suite/expectations.ts'

/** A frame that something is waiting for, as data: the tap that looks for it may be on another machine. */
export interface FrameWanted {
  match: FrameSpec
  /** Which PIM message it must carry besides. */
  pim?: PimMatch
}

/** Something that listens at one place of a site and keeps what it hears: in this process or behind a command prefix. */
export interface SiteTap {
  /** Relative to the run directory. Whole once `close` has resolved, and not before. */
  readonly file: string
  /** The clock of its times by name, as `Site.clocks` tells it; left out: the runner's. */
  readonly clock?: string
  /** Takes in what has come since, as far as it is here; what is on its way from afar comes with a later call. */
  drain(): void
  /** Frames of a stream that came by so far. */
  seen(stream: number, tapName: string, direction: number): number
  /** Counts, from now on, such frames. */
  count(tapName: string, direction: number, wanted: FrameWanted): () => number
  /** Ends it and fetches what stayed where it listened. */
  close(): Promise<ClosedTap>
}

/** Without counts when they were lost with what listened: then nothing is known of the file's losses. */
export interface ClosedTap {
  received?: number
  dropped?: number
  /** Names of its taps by interface id. */
  interfaces: string[]
}
