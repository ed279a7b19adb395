import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { realtimeNs } from '../generators/linux/libc.ts'
import { inNetns, interfaceIndex, type Netns } from '../generators/linux/netns.ts'
import {
  PacketRing,
  RING_CHECKSUM_NOT_READY,
  type RingCounters,
  type RingVisitor,
} from '../generators/linux/packet-ring.ts'
import { stampRun, stampSequence, stampStream } from '../generators/wire/stamp.ts'
import { Dissection, portTable, VXLAN_PORTS } from './dissect.ts'
import { findStamp, type StampPlace } from './locate.ts'
import { PcapngWriter } from './pcapng-writer.ts'

export interface TapOptions {
  /** Left out: the current namespace. */
  ns?: Netns
  /** The run directory, and the file in it that is written. */
  directory: string
  file: string
  /**
   * Tap name of an interface: `n1/eth0`. Asked when its first frame comes, and again as long as the answer is undefined; until then
   * its frames are recorded as `if7`. Interfaces with one name, such as a pod's that was made anew, are one tap.
   */
  nameOf: (ifindex: number) => string | undefined
  /** 0, the default: every interface of the namespace in one ring. */
  ifindex?: number
  promiscuous?: boolean
  /** As captures/filter.ts compiles it. */
  filter?: Uint8Array
  /** Stamps of other runs are written but not indexed; left out: all are. */
  runId?: number
  vxlanPorts?: readonly number[]
  /** Holds what comes between two drains; left out: 4 MiB. Below 4 MiB also the second that a trickle may go undrained shrinks. */
  ringBytes?: number
  retireMs?: number
}

/** What was seen so far of a stream at one tap in one direction; times are ns since the tap's `baseNs`. */
export interface StreamSighting {
  count: number
  highestSequence: number
  firstNs: number
  lastNs: number
}

/** Shown every frame while it watches; the bytes are valid during the call. */
export type FrameWatcher = (frame: Uint8Array, tapName: string, direction: number) => void

interface NamedInterface {
  id: number
  name: string
}

const RING_BYTES = 4 << 20
/** With the 256 blocks of `ringShape`: a second in which nobody needs to drain, at any rate that fits the ring. */
const RETIRE_MS = 4
const BLOCKS = 256
const MIN_BLOCK_BYTES = 16 * 1024
const MAX_BLOCK_BYTES = 1 << 20

/**
 * Listens from the moment it is made: a ring over one or all interfaces of a namespace, whose frames `drain` writes to a pcapng file
 * and shows to whoever waits for some. Nothing happens between drains, so their rhythm and `ringBytes` bound what can be lost.
 */
export class Tap {
  readonly file: string
  /** CLOCK_REALTIME that `StreamSighting` times count from: the full second in which the tap was opened. */
  readonly baseNs: bigint
  readonly #nameOf: TapOptions['nameOf']
  readonly #runId: number | undefined
  readonly #vxlanPorts: Uint8Array
  readonly #ring: PacketRing
  readonly #writer: PcapngWriter
  readonly #interfaces = new Map<number, NamedInterface>()
  readonly #ids = new Map<string, number>()
  readonly #received: number[] = []
  readonly #sightings = new Map<number, StreamSighting>()
  readonly #watchers = new Set<FrameWatcher>()
  #changed: Set<number> | undefined
  readonly #stamp: StampPlace = { stampAt: 0, innerAt: 0, levels: 0 }
  readonly #layers = new Dissection()
  readonly #baseSeconds: number
  #last: { key: number; sighting: StreamSighting } = { key: -1, sighting: newSighting() }
  #closed: RingCounters | undefined

  private constructor(options: TapOptions, ring: PacketRing) {
    this.file = options.file
    this.#nameOf = options.nameOf
    this.#runId = options.runId
    this.#vxlanPorts = portTable(options.vxlanPorts ?? VXLAN_PORTS)
    this.#ring = ring
    this.#baseSeconds = Number(realtimeNs() / 1_000_000_000n)
    this.baseNs = BigInt(this.#baseSeconds) * 1_000_000_000n
    this.#writer = new PcapngWriter(join(options.directory, options.file))
    for (const ifindex of presentInterfaces(options.ns)) if (this.#nameOf(ifindex) !== undefined) this.describe(ifindex)
  }

  static open(options: TapOptions): Tap {
    const ring = PacketRing.open({
      ...(options.ns ? { netns: options.ns } : {}),
      ...(options.filter ? { filter: options.filter } : {}),
      ifindex: options.ifindex ?? 0,
      promiscuous: options.promiscuous ?? false,
      retireMs: options.retireMs ?? RETIRE_MS,
      ...ringShape(options.ringBytes ?? RING_BYTES),
    })
    try {
      return new Tap(options, ring)
    } catch (error) {
      ring.close()
      throw error
    }
  }

  /**
   * Describes an interface that came later, before its first frame, as `open` does for those that are there: a tap that saw
   * nothing is a finding, one that is not there is none.
   */
  describe(ifindex: number): void {
    this.#interface(ifindex)
  }

  /** Writes what has come since the last drain and shows it to the watchers; returns how many frames. */
  drain(): number {
    return this.#closed ? 0 : this.#ring.drain(this.#visit)
  }

  /** Blocks the thread until there is something to drain: for a process that does nothing else. */
  wait(timeoutMs: number): boolean {
    return this.#closed ? false : this.#ring.wait(timeoutMs)
  }

  /** Undefined when nothing of the stream was drained yet. The object goes on counting. */
  seen(stream: number, tapName: string, direction: number): Readonly<StreamSighting> | undefined {
    const id = this.#ids.get(tapName)
    return id === undefined ? undefined : this.#sightings.get(sightingKey(id, stream, direction))
  }

  /** Shows the counts that changed since the last call; the first call shows all. */
  changes(visit: (stream: number, tapName: string, direction: number, count: number) => void): void {
    const changed = this.#changed ?? this.#sightings.keys()
    this.#changed = new Set()
    const names = this.names()
    for (const key of changed) {
      const [stream, place] = [key % STREAMS, Math.floor(key / STREAMS)]
      visit(stream, names[place >> 2] ?? '', place & 3, this.#sightings.get(key)?.count ?? 0)
    }
  }

  /** Returns what ends it. */
  watch(watcher: FrameWatcher): () => void {
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  /** Names of the interfaces so far, by their id in the file. */
  names(): string[] {
    return [...this.#ids.keys()]
  }

  counters(): RingCounters {
    return this.#closed ?? this.#ring.counters()
  }

  /** Makes what was drained readable by others. */
  flush(): void {
    if (!this.#closed) this.#writer.flush()
  }

  /** Writes every frame that was received before the call, then the drop counts; safe to call twice. */
  close(): RingCounters {
    if (this.#closed) return this.#closed
    try {
      this.#ring.drainAll(this.#visit)
      this.#closed = this.#ring.counters()
      this.#writeStatistics(this.#closed)
    } finally {
      this.#closed ??= this.#ring.counters()
      this.#ring.close()
      this.#writer.close()
    }
    return this.#closed
  }

  /** One ring for all: the kernel does not say whose frames it dropped, so each interface may have lost that many. */
  #writeStatistics({ dropped }: RingCounters): void {
    const comment = this.#ids.size > 1 ? `dropped is of the ring that ${this.#ids.size} interfaces share` : ''
    for (const id of this.#ids.values()) this.#writer.statistics(id, this.#received[id] ?? 0, dropped, comment)
  }

  readonly #visit: RingVisitor = (
    bytes,
    at,
    length,
    originalLength,
    seconds,
    nanoseconds,
    ifindex,
    direction,
    flags,
  ) => {
    const { id, name } = this.#interfaces.get(ifindex) ?? this.#interface(ifindex)
    const checksumNotReady = (flags & RING_CHECKSUM_NOT_READY) !== 0
    this.#writer.frame(id, bytes, at, length, originalLength, seconds, nanoseconds, direction, checksumNotReady)
    this.#received[id] = (this.#received[id] ?? 0) + 1
    if (findStamp(bytes, at, length, originalLength, this.#vxlanPorts, this.#layers, this.#stamp)) {
      this.#count(bytes, id, direction, (seconds - this.#baseSeconds) * 1e9 + nanoseconds)
    }
    for (const watcher of this.#watchers) watcher(bytes.subarray(at, at + length), name, direction)
  }

  #interface(ifindex: number): NamedInterface {
    const known = this.#nameOf(ifindex)
    const name = known ?? `if${ifindex}`
    let id = this.#ids.get(name)
    if (id === undefined) {
      id = this.#writer.addInterface(name)
      this.#ids.set(name, id)
    }
    const named = { id, name }
    if (known !== undefined) this.#interfaces.set(ifindex, named)
    return named
  }

  #count(bytes: Uint8Array, id: number, direction: number, timeNs: number): void {
    const { stampAt } = this.#stamp
    if (this.#runId !== undefined && stampRun(bytes, stampAt) !== this.#runId) return
    const key = sightingKey(id, stampStream(bytes, stampAt), direction)
    const sighting = this.#sighting(key, timeNs)
    this.#changed?.add(key)
    sighting.count++
    sighting.lastNs = timeNs
    sighting.highestSequence = Math.max(sighting.highestSequence, stampSequence(bytes, stampAt))
  }

  /** Frames of one stream come in rows: most need no look into the map. */
  #sighting(key: number, timeNs: number): StreamSighting {
    if (this.#last.key === key) return this.#last.sighting
    let sighting = this.#sightings.get(key)
    if (!sighting) {
      sighting = newSighting(timeNs)
      this.#sightings.set(key, sighting)
    }
    this.#last = { key, sighting }
    return sighting
  }
}

/** Many small blocks, since a trickle uses up a block each `retireMs` whatever its size. */
function ringShape(ringBytes: number): { blockBytes: number; blocks: number } {
  const wanted = 2 ** Math.floor(Math.log2(Math.max(1, ringBytes / BLOCKS)))
  const blockBytes = Math.min(MAX_BLOCK_BYTES, Math.max(MIN_BLOCK_BYTES, wanted))
  return { blockBytes, blocks: Math.max(2, Math.ceil(ringBytes / blockBytes)) }
}

/** Indices of all interfaces of the namespace, or of the current one. */
function presentInterfaces(ns: Netns | undefined): number[] {
  const read = () => {
    const lines = readFileSync('/proc/thread-self/net/dev', 'utf8').split('\n').slice(2)
    return lines.flatMap(line => /^\s*([^\s:]+):/.exec(line)?.[1] ?? []).map(interfaceIndex)
  }
  return ns ? inNetns(ns, read) : read()
}

function newSighting(firstNs = 0): StreamSighting {
  return { count: 0, highestSequence: 0, firstNs, lastNs: firstNs }
}

/** Stream numbers are u24. */
const STREAMS = 0x100_0000

function sightingKey(id: number, stream: number, direction: number): number {
  return (id * 4 + direction) * STREAMS + stream
}
