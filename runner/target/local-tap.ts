import type { Tap } from '../../captures/tap.ts'
import { matchFrame } from '../../generators/frame-match.ts'
import { isSpokenOf, pimIn } from '../pim-match.ts'
import type { ClosedTap, FrameWanted, SiteTap } from './site-tap.ts'

/** A tap of this process. */
export class LocalTap implements SiteTap {
  readonly file: string
  private readonly tap: Tap

  constructor(tap: Tap) {
    this.file = tap.file
    this.tap = tap
  }

  drain(): void {
    this.tap.drain()
  }

  seen(stream: number, tapName: string, direction: number): number {
    return this.tap.seen(stream, tapName, direction)?.count ?? 0
  }

  count(tapName: string, direction: number, wanted: FrameWanted): () => number {
    let count = 0
    this.tap.watch((frame, name, way) => {
      if (name === tapName && way === direction && isWanted(wanted, frame)) count++
    })
    return () => count
  }

  async close(): Promise<ClosedTap> {
    this.tap.drain()
    const { received, dropped } = this.tap.close()
    return { received, dropped, interfaces: this.tap.names() }
  }
}

export function isWanted({ match, pim }: FrameWanted, frame: Uint8Array): boolean {
  if (matchFrame(match, frame, 0).length > 0) return false
  if (pim === undefined) return true
  const message = pimIn(frame)
  return message !== undefined && isSpokenOf(pim, message)
}
