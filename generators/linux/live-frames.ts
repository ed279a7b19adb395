import { readFileSync } from 'node:fs'
import { BpfObject, runLive } from './libbpf.ts'
import { libcFunction } from './libc.ts'
import { Mapping } from './mapping.ts'
import { inNetns, interfaceIndex, type Netns } from './netns.ts'

const schedYield = libcFunction<[]>('int sched_yield(void)')

/** A live frame has one page, less the kernel's own structures. */
export const LIVE_FRAME_MAX_BYTES = 3072

/** The kernel waits for an RCU grace period at the end of each call, tens of milliseconds: batches are large. */
const BATCH_BYTES = 32 << 20
/** Frames before the kernel turns to what it queued: a veth's ring holds 256. */
const KERNEL_BATCH = 64
const ARRIVAL_LIMIT_MS = 1000

/** Frames that left and did not get through the interface: which ones, nobody can say. */
export class LiveFramesLost extends Error {
  constructor(name: string, wanted: number, taken: number) {
    super(`${name} took ${taken} of ${wanted} frames`)
    this.name = 'LiveFramesLost'
  }
}

export interface LiveFramesOptions {
  ns?: Netns
  interface: string
  /** Where the built bpf/xdp-send.bpf.c is. */
  object: string
  maxFrameBytes: number
}

/**
 * Memory of one batch that an XDP program sends: slots are BPF map values, mapped into this process. Needs BPF, Linux 5.18
 * and an interface whose counters tell what it took, as a veth's do.
 */
export class LiveFrames {
  readonly capacity: number
  /** Frame of slot s starts at `at(s)`. */
  readonly frames: Buffer
  readonly #ns: Netns | undefined
  readonly #name: string
  readonly #slotBytes: number
  readonly #object: BpfObject
  readonly #programFd: number
  readonly #slots: Mapping
  readonly #position: Mapping
  readonly #lengths: Uint32Array
  readonly #next: Uint32Array

  constructor(options: LiveFramesOptions) {
    this.#ns = options.ns
    this.#name = options.interface
    this.#slotBytes = (options.maxFrameBytes + LENGTH_BYTES + 7) & ~7
    this.capacity = Math.floor(BATCH_BYTES / this.#slotBytes)
    this.#object = new BpfObject(options.object)
    this.#load(options.maxFrameBytes)
    this.#programFd = this.#object.programFd('xdp_send')
    this.#slots = new Mapping(this.#object.mapFd('slots'), this.capacity * this.#slotBytes)
    this.#position = new Mapping(this.#object.mapFd('position'), 4)
    this.frames = Buffer.from(this.#slots.memory)
    this.#lengths = new Uint32Array(this.#slots.memory)
    this.#next = new Uint32Array(this.#position.memory, 0, 1)
  }

  /** `.rodata`: out_ifindex, max_frame_bytes. */
  #load(maxFrameBytes: number): void {
    const constants = this.#object.section('.rodata')
    constants.writeUInt32LE(
      this.#inside(() => interfaceIndex(this.#name)),
      0,
    )
    constants.writeUInt32LE(maxFrameBytes, 4)
    this.#object.setMaxEntries('slots', this.capacity)
    this.#object.setValueBytes('slots', this.#slotBytes)
    this.#object.load(['xdp_send'])
  }

  at(slot: number): number {
    return slot * this.#slotBytes + LENGTH_BYTES
  }

  setLength(slot: number, bytes: number): void {
    this.#lengths[(slot * this.#slotBytes) / 4] = bytes
  }

  /** Sends slots `from` … `count - 1`, and comes back when the interface has counted them all. */
  send(from: number, count: number): number {
    const frames = count - from
    this.#next[0] = from
    this.#inside(() => {
      const before = takenBy(this.#name)
      runLive(this.#programFd, frames, KERNEL_BATCH)
      this.#await(before, frames)
    })
    return frames
  }

  /** What the kernel left to its own thread comes a moment later; what it dropped never does. */
  #await(before: number, frames: number): void {
    const limitMs = performance.now() + ARRIVAL_LIMIT_MS
    let taken = takenBy(this.#name) - before
    while (taken < frames && performance.now() < limitMs) {
      schedYield()
      taken = takenBy(this.#name) - before
    }
    if (taken < frames) throw new LiveFramesLost(this.#name, frames, taken)
  }

  #inside<T>(body: () => T): T {
    return this.#ns ? inNetns(this.#ns, body) : body()
  }

  close(): void {
    this.#slots.close()
    this.#position.close()
    this.#object.close()
  }
}

const LENGTH_BYTES = 4

/** Frames that an interface counts as transmitted: a veth counts a live frame once its peer has polled it. */
function takenBy(name: string): number {
  const table = readFileSync('/proc/thread-self/net/dev', 'latin1')
  const line = table.split('\n').find(text => text.trimStart().startsWith(`${name}:`)) ?? ''
  const counters = line.slice(line.indexOf(':') + 1).trim()
  return Number(counters.split(/ +/)[TRANSMITTED_PACKETS])
}

const TRANSMITTED_PACKETS = 9
