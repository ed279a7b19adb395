import { AF_INET, bind, close, libcFunction, SOCK_CLOEXEC, SOCK_DGRAM, SyscallError, socket } from './libc.ts'
import { inNetns, type Netns } from './netns.ts'

const sendTo = libcFunction<
  [fd: number, bytes: Uint8Array, length: number, flags: number, address: Buffer, addressBytes: number]
>('long sendto(int fd, const void *bytes, size_t length, int flags, const void *address, uint32_t addressBytes)')
const MSG_DONTWAIT = 0x40

/** UDP datagrams from one address of a namespace to one other: Node's own sockets are made where the event loop is. */
export class UdpSender {
  private readonly fd: number
  private readonly destination: Buffer

  constructor(ns: Netns, source: { address: number; port: number }, destination: { address: number; port: number }) {
    this.fd = inNetns(ns, () => socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))
    this.destination = socketAddress(destination)
    try {
      bind(this.fd, socketAddress(source), 16)
    } catch (error) {
      close(this.fd)
      throw error
    }
  }

  /** False when the kernel had no room or no way for it: it is lost, as UDP is. */
  send(bytes: Uint8Array): boolean {
    try {
      sendTo(this.fd, bytes, bytes.length, MSG_DONTWAIT, this.destination, 16)
      return true
    } catch (error) {
      if (error instanceof SyscallError && LOST.has(error.code)) return false
      throw error
    }
  }

  close(): void {
    close(this.fd)
  }
}

/** ECONNREFUSED tells of the datagram before: nobody listens there. */
const LOST: ReadonlySet<string> = new Set([
  'EAGAIN',
  'ENOBUFS',
  'ECONNREFUSED',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'ENETDOWN',
])

function socketAddress({ address, port }: { address: number; port: number }): Buffer {
  const bytes = Buffer.alloc(16)
  bytes.writeUInt16LE(AF_INET, 0)
  bytes.writeUInt16BE(port, 2)
  bytes.writeUInt32BE(address, 4)
  return bytes
}
