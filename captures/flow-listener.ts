import { createSocket, type Socket } from 'node:dgram'
import { realtimeNs } from '../generators/linux/libc.ts'
import type { Netns } from '../generators/linux/netns.ts'
import { openUdpSocket, udpDrops } from '../generators/linux/udp-socket.ts'
import { parseIpv4 } from '../generators/wire/address.ts'
import type { FlowDecoder } from './flow-decoder.ts'

const RECEIVE_BYTES = 16 << 20

/** A collector: every datagram that comes to the port goes to the decoder. The time is that of its hand-over, not of its arrival. */
export class FlowListener {
  datagrams = 0
  readonly #socket: Socket
  readonly #fd: number

  private constructor(socket: Socket, fd: number, decoder: FlowDecoder) {
    this.#socket = socket
    this.#fd = fd
    socket.on('message', (bytes, { address, port }) => {
      const exporter = parseIpv4(address)
      decoder.message(bytes, 0, bytes.length, {
        exporter,
        srcPort: port,
        receivedNs: realtimeNs(),
        frameNumber: ++this.datagrams,
      })
    })
  }

  /** Listens when it resolves; throws SyscallError, EADDRINUSE when the port is taken. */
  static async open(decoder: FlowDecoder, address: number, port: number, netns?: Netns): Promise<FlowListener> {
    const fd = openUdpSocket(address, port, RECEIVE_BYTES, netns)
    const socket = createSocket('udp4')
    const listener = new FlowListener(socket, fd, decoder)
    await new Promise<void>((resolve, reject) => {
      socket.once('listening', resolve)
      socket.once('error', reject)
      socket.bind({ fd, exclusive: true })
    })
    return listener
  }

  /** Datagrams that the kernel dropped because we were too slow. */
  get dropped(): number {
    return udpDrops(this.#fd)
  }

  close(): Promise<void> {
    return new Promise(resolve => this.#socket.close(() => resolve()))
  }
}
