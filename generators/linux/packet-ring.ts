import { close, getsockopt, libcFunction, SyscallError } from './libc.ts'
import { Mapping } from './mapping.ts'
import { inNetns, type Netns } from './netns.ts'
import { attachFilter, bindTo, ETH_P_ALL, openRaw, SOL_PACKET, setOption, words } from './packet-socket.ts'

const poll = libcFunction<[fds: Buffer, count: number, timeoutMs: number]>(
  'int poll(void *fds, unsigned long count, int timeout)',
)

const PACKET_ADD_MEMBERSHIP = 1
const PACKET_MR_PROMISC = 1
const PACKET_RX_RING = 5
const PACKET_STATISTICS = 6
const PACKET_VERSION = 10
const PACKET_RESERVE = 12
const TPACKET_V3 = 2
const PACKET_OUTGOING = 4
const POLLIN = 1

const TP_STATUS_USER = 1
const TP_STATUS_CSUMNOTREADY = 1 << 3
const TP_STATUS_VLAN_VALID = 1 << 4
const TP_STATUS_VLAN_TPID_VALID = 1 << 6
const ETH_P_8021Q = 0x8100
const VLAN_TAG_BYTES = 4

/** What a frame's visitor is told; same numbers as captures/record.ts. */
const DIRECTION_IN = 1
const DIRECTION_OUT = 2

/** Bit of `flags`: the transport checksum was left to the device (TP_STATUS_CSUMNOTREADY) and is not yet right. */
export const RING_CHECKSUM_NOT_READY = 1

/**
 * Called for each frame. `bytes` is the ring itself: a frame is `bytes[at] … bytes[at + length - 1]` and is overwritten
 * by the kernel after `drain` returns, so copy what must last.
 */
export type RingVisitor = (
  bytes: Uint8Array,
  at: number,
  length: number,
  originalLength: number,
  seconds: number,
  nanoseconds: number,
  ifindex: number,
  direction: number,
  flags: number,
) => void

export interface RingOptions {
  /** Left out: the current namespace. */
  netns?: Netns
  /** 0 = every interface of the namespace, also those that appear later. */
  ifindex: number
  /** A power of two, at least a page; a longer frame is cut to it. */
  blockBytes?: number
  blocks?: number
  /**
   * After this long the kernel hands over a block that is not full: what a reader waits at most. A trickle therefore uses
   * up a block each `retireMs`, so `blocks * retireMs` bounds how long nobody may read, however little arrives.
   */
  retireMs?: number
  promiscuous?: boolean
  /** `struct sock_filter[]` as captures/filter.ts makes it. */
  filter?: Uint8Array
}

/** Frames the kernel put into the ring and frames it had no room for, since the ring was opened. */
export interface RingCounters {
  received: number
  dropped: number
}

/**
 * An AF_PACKET TPACKET_V3 receive ring. Everything is set before `bind`, on a socket of protocol 0, so the first frame
 * seen is one of the right interface that passed the filter, and `open` returning means listening. The socket lives in the
 * namespace it was opened in, whatever the thread does later.
 */
export class PacketRing {
  readonly fd: number
  readonly #blockBytes: number
  readonly #blocks: number
  readonly #mapping: Mapping
  readonly #pollRequest = Buffer.alloc(8)
  readonly #counters: RingCounters = { received: 0, dropped: 0 }
  #bytes: Uint8Array
  #words: Uint32Array
  #halves: Uint16Array
  #next = 0
  #drained = 0
  #closed = false

  private constructor(fd: number, mapping: Mapping, blockBytes: number, blocks: number) {
    this.fd = fd
    this.#mapping = mapping
    this.#blockBytes = blockBytes
    this.#blocks = blocks
    const { memory } = mapping
    this.#bytes = new Uint8Array(memory)
    this.#words = new Uint32Array(memory)
    this.#halves = new Uint16Array(memory)
    this.#pollRequest.writeInt32LE(fd, 0)
    this.#pollRequest.writeInt16LE(POLLIN, 4)
  }

  static open(options: RingOptions): PacketRing {
    const opened = () => openRing(options, (fd, mapping, size, count) => new PacketRing(fd, mapping, size, count))
    return options.netns ? inNetns(options.netns, opened) : opened()
  }

  /** Visits every frame that the kernel has handed over, oldest first, and gives its blocks back; returns how many. */
  drain(visit: RingVisitor): number {
    let frames = 0
    // At most one turn of the ring: a sender as fast as this loop must not keep it here for ever.
    for (let turn = 0; turn < this.#blocks && !this.#closed; turn++) {
      const block = this.#next * this.#blockBytes
      if (((this.#words[(block + 8) >>> 2] as number) & TP_STATUS_USER) === 0) break
      frames += this.#visitBlock(block, visit)
      if (this.#closed) break
      this.#words[(block + 8) >>> 2] = 0
      this.#next = (this.#next + 1) % this.#blocks
    }
    this.#drained += frames
    return frames
  }

  /**
   * Like `drain`, and also waits for the block that is still being filled: every frame received before the call has been
   * visited when it returns, unless that takes longer than `limitMs`.
   */
  drainAll(visit: RingVisitor, limitMs = 1000): number {
    const { received } = this.counters()
    const before = this.#drained
    const end = performance.now() + limitMs
    this.drain(visit)
    while (this.#drained < received && !this.#closed && performance.now() < end) {
      this.wait(10)
      this.drain(visit)
    }
    return this.#drained - before
  }

  /** Blocks the thread until a block is ready or the time is over. */
  wait(timeoutMs: number): boolean {
    try {
      return poll(this.#pollRequest, 1, timeoutMs) > 0
    } catch (error) {
      if (error instanceof SyscallError && error.code === 'EINTR') return false
      throw error
    }
  }

  /** The kernel's own counters are zeroed by reading them; these are since the ring was opened. */
  counters(): RingCounters {
    if (!this.#closed) {
      const stats = Buffer.alloc(12)
      const length = Buffer.alloc(4)
      length.writeUInt32LE(stats.length)
      getsockopt(this.fd, SOL_PACKET, PACKET_STATISTICS, stats, length)
      const dropped = stats.readUInt32LE(4)
      // In tpacket_stats_v3 tp_packets counts the dropped ones too.
      this.#counters.received += stats.readUInt32LE(0) - dropped
      this.#counters.dropped += dropped
    }
    return { ...this.#counters }
  }

  /** Unmaps the ring. Frames not yet drained are gone; counters() keeps answering. */
  close(): void {
    if (this.#closed) return
    this.counters()
    this.#closed = true
    // The views point at memory that is about to go: whoever reads on gets nothing instead of a crash.
    this.#bytes = new Uint8Array(0)
    this.#words = new Uint32Array(0)
    this.#halves = new Uint16Array(0)
    this.#mapping.close()
    close(this.fd)
  }

  #visitBlock(block: number, visit: RingVisitor): number {
    const words = this.#words
    const count = words[(block + 12) >>> 2] as number
    let header = block + (words[(block + 16) >>> 2] as number)
    for (let n = 0; n < count && !this.#closed; n++) {
      // Read first: the visitor may close the ring, and then this memory is gone.
      const next = header + (words[header >>> 2] as number)
      this.#visitFrame(header, visit)
      header = next
    }
    return count
  }

  /** `header`: offset of a struct tpacket3_hdr, which struct sockaddr_ll follows at 48. */
  #visitFrame(header: number, visit: RingVisitor): void {
    const words = this.#words
    const word = header >>> 2
    const status = words[word + 5] as number
    let at = header + (this.#halves[(header + 24) >>> 1] as number)
    let length = words[word + 3] as number
    let originalLength = words[word + 4] as number
    if (status & TP_STATUS_VLAN_VALID) {
      const tpid = status & TP_STATUS_VLAN_TPID_VALID ? (this.#halves[(header + 36) >>> 1] as number) : ETH_P_8021Q
      at = insertTag(this.#bytes, at, tpid, words[word + 8] as number)
      length += VLAN_TAG_BYTES
      originalLength += VLAN_TAG_BYTES
    }
    visit(
      this.#bytes,
      at,
      length,
      originalLength,
      words[word + 1] as number,
      words[word + 2] as number,
      words[word + 13] as number,
      this.#bytes[header + 58] === PACKET_OUTGOING ? DIRECTION_OUT : DIRECTION_IN,
      status & TP_STATUS_CSUMNOTREADY ? RING_CHECKSUM_NOT_READY : 0,
    )
  }
}

/** Puts the tag that the kernel took out back behind the addresses; PACKET_RESERVE left room before the frame. */
function insertTag(bytes: Uint8Array, at: number, tpid: number, tci: number): number {
  const start = at - VLAN_TAG_BYTES
  bytes.copyWithin(start, at, at + 12)
  bytes[start + 12] = tpid >>> 8
  bytes[start + 13] = tpid
  bytes[start + 14] = tci >>> 8
  bytes[start + 15] = tci
  return start
}

function openRing<T>(options: RingOptions, make: (fd: number, mapping: Mapping, size: number, count: number) => T): T {
  const blockBytes = options.blockBytes ?? 16 * 1024
  const blocks = options.blocks ?? 256
  return openRaw(fd => {
    setOption(fd, SOL_PACKET, PACKET_VERSION, words(TPACKET_V3))
    setOption(fd, SOL_PACKET, PACKET_RESERVE, words(VLAN_TAG_BYTES))
    if (options.filter) attachFilter(fd, options.filter)
    const frames = (blockBytes / 2048) * blocks
    setOption(fd, SOL_PACKET, PACKET_RX_RING, words(blockBytes, blocks, 2048, frames, options.retireMs ?? 4, 0, 0))
    const mapping = new Mapping(fd, blockBytes * blocks)
    try {
      if (options.promiscuous) joinPromiscuous(fd, options.ifindex)
      bindTo(fd, options.ifindex, ETH_P_ALL)
      return make(fd, mapping, blockBytes, blocks)
    } catch (error) {
      mapping.close()
      throw error
    }
  })
}

/** struct packet_mreq. Interface 0 has no promiscuous mode: every interface would need its own membership. */
function joinPromiscuous(fd: number, ifindex: number): void {
  if (ifindex === 0) throw new RangeError('promiscuous mode needs an interface')
  const request = Buffer.alloc(16)
  request.writeInt32LE(ifindex, 0)
  request.writeUInt16LE(PACKET_MR_PROMISC, 4)
  setOption(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)
}
