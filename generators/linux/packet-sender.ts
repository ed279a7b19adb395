import koffi from 'koffi'
import { close, holding, libcFunction, SyscallError } from './libc.ts'
import { inNetns, interfaceIndex, type Netns } from './netns.ts'
import { bindTo, MSG_DONTWAIT, openRaw, SOL_PACKET, setOption, setSendBuffer, words } from './packet-socket.ts'

const sendmmsg = libcFunction<[fd: number, messages: bigint, count: number, flags: number]>(
  'int sendmmsg(int fd, uint64_t messages, uint32_t count, int flags)',
)

const PACKET_QDISC_BYPASS = 20
const SEND_BUFFER_BYTES = 4 << 20

export interface PacketSocketOptions {
  /** Left out: the current namespace. */
  ns?: Netns
  interface: string
  /** Straight to the driver: faster, and invisible to taps on this interface. */
  qdiscBypass?: boolean
}

/** A raw AF_PACKET socket for sending on one interface; it receives nothing (protocol 0). */
export interface PacketSocket {
  readonly fd: number
  close(): void
}

export function openPacketSocket(options: PacketSocketOptions): PacketSocket {
  const fd = options.ns ? inNetns(options.ns, () => boundSocket(options)) : boundSocket(options)
  let closed = false
  return {
    fd,
    close() {
      if (!closed) close(fd)
      closed = true
    },
  }
}

function boundSocket(options: PacketSocketOptions): number {
  return openRaw(fd => {
    setSendBuffer(fd, SEND_BUFFER_BYTES)
    if (options.qdiscBypass) setOption(fd, SOL_PACKET, PACKET_QDISC_BYPASS, words(1))
    bindTo(fd, interfaceIndex(options.interface))
    return fd
  })
}

const MMSGHDR_BYTES = 64
const IOVEC_BYTES = 16

/**
 * Memory for one batch, laid out once: an mmsghdr, an iovec and room for a frame for each slot. Only frame bytes and lengths
 * change afterwards.
 */
export class SendBatch {
  readonly capacity: number
  readonly slotBytes: number
  /** Frame of slot s starts at s * slotBytes. */
  readonly frames: Buffer
  readonly #messages: Buffer
  readonly #iovecs: Buffer
  readonly #lengths: Uint32Array
  readonly #messagesAt: bigint
  readonly #memory: readonly Buffer[]

  constructor(capacity: number, maxFrameBytes: number) {
    this.capacity = capacity
    this.slotBytes = (maxFrameBytes + 63) & ~63
    this.frames = Buffer.alloc(capacity * this.slotBytes)
    this.#messages = Buffer.alloc(capacity * MMSGHDR_BYTES)
    this.#iovecs = Buffer.alloc(capacity * IOVEC_BYTES)
    this.#lengths = new Uint32Array(this.#iovecs.buffer, this.#iovecs.byteOffset, this.#iovecs.length / 4)
    this.#memory = [this.frames, this.#messages, this.#iovecs]
    this.#messagesAt = BigInt(koffi.address(this.#messages))
    this.#layOut(BigInt(koffi.address(this.#iovecs)), BigInt(koffi.address(this.frames)))
  }

  /** struct msghdr: msg_iov at 16, msg_iovlen at 24; struct iovec: base, length. */
  #layOut(iovecsAt: bigint, framesAt: bigint): void {
    for (let slot = 0; slot < this.capacity; slot++) {
      this.#messages.writeBigUInt64LE(iovecsAt + BigInt(slot * IOVEC_BYTES), slot * MMSGHDR_BYTES + 16)
      this.#messages.writeBigUInt64LE(1n, slot * MMSGHDR_BYTES + 24)
      this.#iovecs.writeBigUInt64LE(framesAt + BigInt(slot * this.slotBytes), slot * IOVEC_BYTES)
    }
  }

  setLength(slot: number, bytes: number): void {
    this.#lengths[slot * 4 + 2] = bytes
  }

  /** Hands slots `from` … `count - 1` to the kernel; how many it took, 0 when it has no room now. */
  send(fd: number, from: number, count: number): number {
    try {
      const first = this.#messagesAt + BigInt(from * MMSGHDR_BYTES)
      return holding(this.#memory, () => sendmmsg(fd, first, count - from, MSG_DONTWAIT))
    } catch (error) {
      if (error instanceof SyscallError && NO_ROOM.has(error.code)) return 0
      throw error
    }
  }
}

// ENOBUFS: the device or its queue refused the frame, which was not sent (packet(7)).
const NO_ROOM = new Set(['EAGAIN', 'EWOULDBLOCK', 'ENOBUFS', 'EINTR'])
