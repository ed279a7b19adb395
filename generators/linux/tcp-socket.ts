import { AF_INET, bind, close, connect, SOCK_CLOEXEC, SOCK_STREAM, setsockopt, socket } from './libc.ts'
import { inNetns, type Netns, OWN_NETNS } from './netns.ts'

const SOL_SOCKET = 1
const SO_REUSEADDR = 2

/** A socket bound to the port on every address of a namespace, for a server to listen at; as a file descriptor. */
export function openTcpListener(port: number, netns: Netns = OWN_NETNS): number {
  const fd = inNetns(netns, () => socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
  const yes = Buffer.alloc(4)
  yes.writeInt32LE(1)
  return orClose(fd, () => {
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, yes, yes.length)
    const name = nameOf(0, port)
    bind(fd, name, name.length)
  })
}

/** A connection made in a namespace, as a file descriptor. Blocks until it is there: for near neighbours. */
export function connectTcp(address: number, port: number, netns: Netns = OWN_NETNS): number {
  const fd = inNetns(netns, () => socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
  return orClose(fd, () => {
    const name = nameOf(address, port)
    connect(fd, name, name.length)
  })
}

function orClose(fd: number, body: () => void): number {
  try {
    body()
    return fd
  } catch (error) {
    close(fd)
    throw error
  }
}

function nameOf(address: number, port: number): Buffer {
  const name = Buffer.alloc(16)
  name.writeUInt16LE(AF_INET, 0)
  name.writeUInt16BE(port, 2)
  name.writeUInt32BE(address, 4)
  return name
}
