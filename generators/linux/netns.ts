import {
  AF_INET,
  CLONE_NEWNET,
  close,
  getsockopt,
  ioctl,
  O_CLOEXEC,
  O_RDONLY,
  open,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  setns,
  socket,
  unshare,
} from './libc.ts'

/** A network namespace held by a file descriptor: it is gone when the last holder is. */
export interface Netns {
  readonly fd: number
  /** For iproute2, which takes a path wherever it takes a namespace's name. Valid while this process holds `fd`. */
  readonly path: string
  close(): void
}

// thread-self: in a worker `self` would be the main thread.
const OWN = '/proc/thread-self/ns/net'

/** Opens a namespace by path: `/run/netns/x`, `/proc/PID/ns/net`. */
export function openNetns(path: string): Netns {
  return netnsOf(open(path, O_RDONLY | O_CLOEXEC))
}

/** The namespace this process is in, which needs no right to be entered. */
export const OWN_NETNS: Netns = { fd: -1, path: '/proc/self/ns/net', close() {} }

/** A new namespace without a name. Needs CAP_SYS_ADMIN. */
export function createNetns(): Netns {
  const home = open(OWN, O_RDONLY | O_CLOEXEC)
  try {
    unshare(CLONE_NEWNET)
    const created = openNetns(OWN)
    setns(home, CLONE_NEWNET)
    return created
  } finally {
    close(home)
  }
}

/**
 * Runs `body` inside the namespace and comes back, also on a throw. Synchronous on purpose: sockets and children
 * made in it stay there, but an `await` would leave other code in the wrong namespace.
 */
export function inNetns<T>(ns: Netns, body: () => T): T {
  if (ns === OWN_NETNS) return body()
  const home = open(OWN, O_RDONLY | O_CLOEXEC)
  try {
    setns(ns.fd, CLONE_NEWNET)
    try {
      return body()
    } finally {
      setns(home, CLONE_NEWNET)
    }
  } finally {
    close(home)
  }
}

const SIOCGIFINDEX = 0x8933

/** Interface index by name in the current namespace; throws SyscallError ENODEV. */
export function interfaceIndex(name: string): number {
  const request = Buffer.alloc(40)
  request.write(name, 0, 15, 'latin1')
  const fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)
  try {
    ioctl(fd, SIOCGIFINDEX, request)
    return request.readInt32LE(16)
  } finally {
    close(fd)
  }
}

const SOL_SOCKET = 1
const SO_NETNS_COOKIE = 71

/** By which BPF programs tell namespaces apart (Linux 5.14); never given twice. */
export function netnsCookie(ns: Netns): bigint {
  const fd = inNetns(ns, () => socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))
  try {
    const value = Buffer.alloc(8)
    const length = Buffer.alloc(4)
    length.writeUInt32LE(value.length)
    getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, value, length)
    return value.readBigUInt64LE()
  } finally {
    close(fd)
  }
}

function netnsOf(fd: number): Netns {
  let closed = false
  return {
    fd,
    path: `/proc/${process.pid}/fd/${fd}`,
    close() {
      if (!closed) close(fd)
      closed = true
    },
  }
}
