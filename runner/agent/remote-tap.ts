import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { ClosedTap, FrameWanted, SiteTap } from '../target/site-tap.ts'
import type { AgentConnection } from './connection.ts'
import { AgentLost } from './connection.ts'
import { FETCH_BYTES, type TapAsked } from './protocol.ts'

interface TapPlace {
  directory: string
  file: string
  clock?: string
}

/** A tap that an agent keeps: counts come as news, the packets when it closes. */
export class RemoteTap implements SiteTap {
  readonly file: string
  readonly clock?: string
  private readonly directory: string
  private readonly agent: AgentConnection
  private readonly tap: number
  private readonly names: readonly string[]
  private readonly counts = new Map<string, number>()
  private readonly wanted: { count?: number; frames: number }[] = []

  private constructor(agent: AgentConnection, place: TapPlace, tap: number, names: string[]) {
    this.file = place.file
    if (place.clock !== undefined) this.clock = place.clock
    this.directory = place.directory
    this.agent = agent
    this.tap = tap
    this.names = names
    agent.onNews(news => {
      if (news.news !== 'tap' || news.tap !== tap) return
      for (const [stream, name, direction, count] of news.seen) this.counts.set(`${stream} ${direction} ${name}`, count)
      for (const [number, frames] of news.counts)
        for (const one of this.wanted) if (one.count === number) one.frames = frames
    })
  }

  /** Listening when this resolves. */
  static async open(agent: AgentConnection, place: TapPlace, asked: TapAsked): Promise<RemoteTap> {
    const { tap } = await agent.ask('tap', asked).answer
    return new RemoteTap(agent, place, tap, Object.values(asked.names))
  }

  drain(): void {}

  seen(stream: number, tapName: string, direction: number): number {
    return this.counts.get(`${stream} ${direction} ${tapName}`) ?? 0
  }

  count(tapName: string, direction: number, wanted: FrameWanted): () => number {
    const counting: { count?: number; frames: number } = { frames: 0 }
    if (!this.names.includes(tapName)) return () => 0
    this.wanted.push(counting)
    // What is lost with the agent shows in the tap's file.
    this.agent.ask('count', { tap: this.tap, name: tapName, direction, wanted }).answer.then(
      ({ count }) => {
        counting.count = count
      },
      () => {},
    )
    return () => counting.frames
  }

  /** A file of an agent that is gone is empty, and the judge says so of its taps. */
  async close(): Promise<ClosedTap> {
    try {
      const { received, dropped, interfaces, bytes } = await this.agent.ask('close-tap', { tap: this.tap }).answer
      await this.fetch(bytes)
      return { received, dropped, interfaces }
    } catch (error) {
      if (!(error instanceof AgentLost)) throw error
      writeFileSync(join(this.directory, this.file), '')
      return { interfaces: [...this.names] }
    }
  }

  private async fetch(bytes: number): Promise<void> {
    const fd = openSync(join(this.directory, this.file), 'wx')
    try {
      for (let from = 0; from < bytes; from += FETCH_BYTES) {
        const { piece } = await this.agent.ask('fetch', { tap: this.tap, from }).answer
        const unpacked = gunzipSync(Buffer.from(piece, 'base64'))
        for (let at = 0; at < unpacked.length; ) at += writeSync(fd, unpacked, at)
      }
    } finally {
      closeSync(fd)
    }
  }
}
