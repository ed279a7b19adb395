import koffi from 'koffi'
import {
  AF_PACKET,
  bind,
  close,
  holding,
  libcFunction,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SyscallError,
  setsockopt,
  socket,
} from './libc.ts'
import { inNetns, interfaceIndex, type Netns } from './netns.ts'

const send = libcFunction<[fd: number, frame: Uint8Array, bytes: number, flags: number]>(
  'intptr_t send(int fd, const void *frame, size_t bytes, int flags)',
)
const recv = libcFunction<[fd: number, buffer: Uint8Array, bytes: number, flags: number]>(
  'intptr_t recv(int fd, void *buffer, size_t bytes, int flags)',
)

const SOL_SOCKET = 1
const SO_ATTACH_FILTER = 26
const MSG_DONTWAIT = 0x40
const ETH_P_IP_BE = 0x0008
const MAX_FRAME_BYTES = 65_535

/** A raw socket that sends any frame and receives the IGMP that reaches the interface; not what it sends itself. */
export interface IgmpSocket {
  send(frame: Uint8Array): void
  /** Visits what has arrived and comes back at once; the bytes are valid during the call. */
  drain(visit: (frame: Uint8Array) => void): void
  close(): void
}

/** Needs CAP_NET_RAW. */
export function openIgmpSocket(options: { ns?: Netns; interface: string }): IgmpSocket {
  const open = () => boundSocket(options.interface)
  const fd = options.ns ? inNetns(options.ns, open) : open()
  const buffer = new Uint8Array(MAX_FRAME_BYTES)
  let closed = false
  return {
    send: frame => void send(fd, frame, frame.length, 0),
    drain(visit) {
      for (let bytes = receive(fd, buffer); bytes > 0 && !closed; bytes = receive(fd, buffer)) {
        visit(buffer.subarray(0, bytes))
      }
    },
    close() {
      if (!closed) close(fd)
      closed = true
    },
  }
}

/** 0 when nothing has arrived. */
function receive(fd: number, buffer: Uint8Array): number {
  try {
    return recv(fd, buffer, buffer.length, MSG_DONTWAIT)
  } catch (error) {
    if (error instanceof SyscallError && NOTHING_NOW.has(error.code)) return 0
    throw error
  }
}

const NOTHING_NOW = new Set(['EAGAIN', 'EWOULDBLOCK', 'EINTR'])

/** Filtered before it is bound, so that nothing else ever gets in. */
function boundSocket(name: string): number {
  const fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)
  try {
    attachFilter(fd)
    const address = Buffer.alloc(20)
    address.writeUInt16LE(AF_PACKET, 0)
    address.writeUInt16LE(ETH_P_IP_BE, 2)
    address.writeInt32LE(interfaceIndex(name), 4)
    bind(fd, address, address.length)
    return fd
  } catch (error) {
    close(fd)
    throw error
  }
}

/** `tcpdump -ddd igmp` for Ethernet: code, jt, jf, k of each instruction. */
const IGMP_ONLY = [
  [0x28, 0, 0, 12],
  [0x15, 0, 3, 0x0800],
  [0x30, 0, 0, 23],
  [0x15, 0, 1, 2],
  [0x06, 0, 0, 262_144],
  [0x06, 0, 0, 0],
] as const

function attachFilter(fd: number): void {
  const program = Buffer.alloc(IGMP_ONLY.length * 8)
  for (const [i, [code, jt, jf, k]] of IGMP_ONLY.entries()) {
    program.writeUInt16LE(code, i * 8)
    program.writeUInt8(jt, i * 8 + 2)
    program.writeUInt8(jf, i * 8 + 3)
    program.writeUInt32LE(k, i * 8 + 4)
  }
  const fprog = Buffer.alloc(16)
  fprog.writeUInt16LE(IGMP_ONLY.length, 0)
  fprog.writeBigUInt64LE(BigInt(koffi.address(program)), 8)
  holding([program], () => setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, fprog, fprog.length))
}
