import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { interfaceFilter } from '../../captures/interface-filter.ts'
import { DIRECTION } from '../../captures/record.ts'
import { Tap } from '../../captures/tap.ts'
import { interfaceIndex } from '../../generators/linux/netns.ts'
import { IP_PROTOCOL } from '../../generators/wire/ipv4.ts'
import { isWanted } from '../target/local-tap.ts'
import type { FrameWanted } from '../target/site-tap.ts'
import { type AgentNews, type ClosedAgentTap, FETCH_BYTES, type TapAsked } from './protocol.ts'

const FILE = 'tap.pcapng'
/** A pod's share of a busy node may leave it without a turn for seconds: four of them cost no frame. */
const RETIRE_MS = 16
const IP_PROTOCOL_AT = 14 + 9

/**
 * A tap of the agent. Its file has no name any more once it is open, so that nothing is left whatever ends the agent; its
 * packets stay here until the runner fetches them.
 */
export class AgentTap {
  private readonly tap: Tap
  private readonly fd: number
  private readonly counts: number[] = []
  private countsChanged = false

  constructor({ names, runId, withoutTcp }: TapAsked, onIgmp: (frame: Uint8Array) => void) {
    const tapNames = new Map(Object.entries(names).map(([name, tapName]) => [interfaceIndex(name), tapName]))
    const directory = mkdtempSync(join(tmpdir(), 'castproof-agent-'))
    try {
      const filter = interfaceFilter([...tapNames.keys()], { withoutTcp })
      this.tap = Tap.open({
        directory,
        file: FILE,
        nameOf: index => tapNames.get(index),
        runId,
        filter,
        retireMs: RETIRE_MS,
      })
      this.fd = openSync(join(directory, FILE), 'r')
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
    this.tap.watch((frame, _name, direction) => {
      if (direction === DIRECTION.in && frame[IP_PROTOCOL_AT] === IP_PROTOCOL.IGMP) onIgmp(frame)
    })
  }

  /** How many frames came. */
  drain(): number {
    return this.tap.drain()
  }

  count(name: string, direction: number, wanted: FrameWanted): number {
    const number = this.counts.push(0) - 1
    this.tap.watch((frame, tapName, way) => {
      if (tapName !== name || way !== direction || !isWanted(wanted, frame)) return
      this.counts[number] = (this.counts[number] ?? 0) + 1
      this.countsChanged = true
    })
    return number
  }

  /** Undefined when nothing that counts has come since the last time. */
  news(tap: number): AgentNews | undefined {
    const seen: [number, string, number, number][] = []
    this.tap.changes((...change) => seen.push(change))
    if (seen.length === 0 && !this.countsChanged) return undefined
    this.countsChanged = false
    return { news: 'tap', tap, seen, counts: this.counts.map((frames, number) => [number, frames]) }
  }

  close(): ClosedAgentTap {
    const { received, dropped } = this.tap.close()
    const { size } = fstatSync(this.fd)
    return { received, dropped, interfaces: this.tap.names(), bytes: size }
  }

  fetch(from: number): string {
    const piece = Buffer.alloc(FETCH_BYTES)
    const length = readSync(this.fd, piece, 0, piece.length, from)
    return gzipSync(piece.subarray(0, length), { level: 1 }).toString('base64')
  }

  discard(): void {
    this.tap.close()
    closeSync(this.fd)
  }
}
