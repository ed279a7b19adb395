import type { DatapathHandle } from './datapath.ts'
import { datapathFamilies } from './datapath-families.ts'
import { exposition, type Family } from './exposition.ts'
import { type PodName, socketFamilies } from './socket-families.ts'
import { readRefused, readSockets, type SocketMaps, type SocketRow, type SocketSide } from './socket-stats.ts'

/** A node's maps, as the process that serves its metrics gets them. */
export interface MetricsHandle {
  datapath: DatapathHandle
  sockets: SocketMaps
  latency: boolean
  faults: readonly string[]
}

/** What one node's agent says of it. All that it counts is in the node's maps: it can be thrown away and made anew. */
export class NodeMetrics {
  readonly handle: MetricsHandle
  readonly #others: readonly MetricsHandle[]
  /** Segments and bytes that a row has said its socket took. */
  readonly #taken = new Map<string, { segs: number; bytes: number }>()
  readonly #atStart: SocketRow[]
  #before: SocketRow[] = []
  #first: string | undefined
  readonly #memberships = new Map<string, number>()

  constructor(handle: MetricsHandle, others: readonly MetricsHandle[], start: 'first' | 'again') {
    this.handle = handle
    this.#others = others
    this.#atStart = start === 'again' && this.#has('doubled-after-restart') ? readSockets(handle.sockets) : []
  }

  async text(pods: readonly PodName[]): Promise<string> {
    const said = await exposition([...this.#families(pods)])
    if (!this.#has('scrape-stale')) return said
    this.#first ??= said
    return this.#first
  }

  #families(pods: readonly PodName[]): Family[] {
    const { datapath, sockets, latency, faults } = this.handle
    const refused = readRefused(sockets)
    return [
      ...socketFamilies({ rows: this.#rows(), pods, latency, faults }),
      ...datapathFamilies(datapath, faults).map(family => this.#neverFalling(family)),
      {
        name: 'castproof_socket_stats_refused_total',
        type: 'counter',
        help: 'segments of sockets that the full table had no row for',
        samples: [{ labels: {}, value: refused }],
      },
    ]
  }

  #rows(): SocketRow[] {
    const read = readSockets(this.handle.sockets).map(row => this.#neverLess(row))
    const served = this.#has('other-nodes-served') ? this.#others.flatMap(({ sockets }) => readSockets(sockets)) : []
    const rows = [...(this.#has('sockets-swapped') ? swapped(read) : read), ...served]
    const doubled = combined(rows, this.#atStart, 1)
    if (!this.#has('reset-by-scrape')) return doubled
    const since = combined(doubled, this.#before, -1)
    this.#before = doubled
    return since
  }

  /**
   * A datagram is counted when it comes to the socket, and its drop a moment later: read in between, what was taken would seem
   * to fall by it afterwards, and a counter that falls has been reset.
   */
  #neverLess(row: SocketRow): SocketRow {
    const before = this.#taken.get(keyOf(row)) ?? { segs: 0, bytes: 0 }
    const segs = Math.max(before.segs, row.rx.segs - row.drops)
    const bytes = Math.max(before.bytes, row.rx.bytes - row.dropBytes)
    this.#taken.set(keyOf(row), { segs, bytes })
    return { ...row, rx: { ...row.rx, segs: segs + row.drops, bytes: bytes + row.dropBytes } }
  }

  #neverFalling(family: Family): Family {
    if (!this.#has('memberships-never-fall') || family.type !== 'gauge') return family
    const samples = family.samples.map(({ labels, value }) => {
      const key = JSON.stringify(labels)
      const highest = Math.max(value, this.#memberships.get(key) ?? 0)
      this.#memberships.set(key, highest)
      return { labels, value: highest }
    })
    return { ...family, samples }
  }

  #has(fault: string): boolean {
    return this.handle.faults.includes(fault)
  }
}

function keyOf({ netns, binary, local, remote }: SocketRow): string {
  return `${netns} ${local} ${remote} ${binary}`
}

/** Rows of the first two pods under each other's name. */
function swapped(rows: readonly SocketRow[]): SocketRow[] {
  const [one, two] = [...new Set(rows.map(row => row.netns))].sort()
  if (one === undefined || two === undefined) return [...rows]
  return rows.map(row => ({ ...row, netns: row.netns === one ? two : row.netns === two ? one : row.netns }))
}

function combined(rows: readonly SocketRow[], others: readonly SocketRow[], sign: 1 | -1): SocketRow[] {
  const known = new Map(others.map(row => [keyOf(row), row]))
  return rows.map(row => {
    const other = known.get(keyOf(row))
    if (!other) return row
    const sum = (a: number, b: number) => a + sign * b
    return {
      ...row,
      rx: combinedSide(row.rx, other.rx, sum),
      tx: combinedSide(row.tx, other.tx, sum),
      drops: sum(row.drops, other.drops),
      dropBytes: sum(row.dropBytes, other.dropBytes),
    }
  })
}

function combinedSide(a: SocketSide, b: SocketSide, sum: (a: number, b: number) => number): SocketSide {
  return { segs: sum(a.segs, b.segs), bytes: sum(a.bytes, b.bytes), bursts: sum(a.bursts, b.bursts) }
}
