import { AF_INET, bind, close, getsockopt, SOCK_CLOEXEC, SOCK_DGRAM, setsockopt, socket } from './libc.ts'
import { inNetns, type Netns } from './netns.ts'

const SOL_SOCKET = 1
const SO_RCVBUF = 8
const SO_RCVBUFFORCE = 33
const SO_MEMINFO = 55
/** Index of sk_drops in what SO_MEMINFO gives (linux/sock_diag.h). */
const SK_MEMINFO_DROPS = 8

/** A bound UDP socket of a namespace, as a file descriptor; the receive buffer is as large as the kernel lets it be. */
export function openUdpSocket(address: number, port: number, receiveBytes: number, netns?: Netns): number {
  const create = () => socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)
  const fd = netns ? inNetns(netns, create) : create()
  try {
    enlarge(fd, receiveBytes)
    const name = Buffer.alloc(16)
    name.writeUInt16LE(AF_INET, 0)
    name.writeUInt16BE(port, 2)
    name.writeUInt32BE(address, 4)
    bind(fd, name, name.length)
    return fd
  } catch (error) {
    close(fd)
    throw error
  }
}

/** Beyond net.core.rmem_max with CAP_NET_ADMIN, up to it without. */
function enlarge(fd: number, bytes: number): void {
  const value = Buffer.alloc(4)
  value.writeInt32LE(bytes)
  try {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, value, value.length)
  } catch {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, value, value.length)
  }
}

/** Datagrams that the kernel dropped for want of room in this socket. */
export function udpDrops(fd: number): number {
  const value = Buffer.alloc(4 * 16)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(value.length)
  getsockopt(fd, SOL_SOCKET, SO_MEMINFO, value, length)
  return value.readUInt32LE(4 * SK_MEMINFO_DROPS)
}
