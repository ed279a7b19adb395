import { classicFilter } from './classic-filter.ts'
import { close, libcFunction, SyscallError } from './libc.ts'
import { inNetns, interfaceIndex, type Netns } from './netns.ts'
import { attachFilter, bindTo, ETH_P_IP, MSG_DONTWAIT, openRaw } from './packet-socket.ts'

const send = libcFunction<[fd: number, frame: Uint8Array, bytes: number, flags: number]>(
  'intptr_t send(int fd, const void *frame, size_t bytes, int flags)',
)
const recv = libcFunction<[fd: number, buffer: Uint8Array, bytes: number, flags: number]>(
  'intptr_t recv(int fd, void *buffer, size_t bytes, int flags)',
)

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
  return openRaw(fd => {
    attachFilter(fd, IGMP_ONLY)
    bindTo(fd, interfaceIndex(name), ETH_P_IP)
    return fd
  })
}

/** `tcpdump -ddd igmp` for Ethernet. */
const IGMP_ONLY = classicFilter([
  [0x28, 0, 0, 12],
  [0x15, 0, 3, 0x0800],
  [0x30, 0, 0, 23],
  [0x15, 0, 1, 2],
  [0x06, 0, 0, 262_144],
  [0x06, 0, 0, 0],
])
