import { close, libcFunction, SyscallError } from './libc.ts'
import { inNetns } from './netns.ts'
import { linkAddress, openRaw } from './packet-socket.ts'

const sendto = libcFunction<
  [fd: number, bytes: Uint8Array, length: number, flags: number, address: Buffer, addressLength: number]
>('intptr_t sendto(int fd, const void *bytes, size_t length, int flags, const void *address, uint32_t address_length)')

/** One raw socket for single frames out of any interface of a namespace; it receives nothing (protocol 0). */
export class PacketEmitter {
  readonly #fd: number

  constructor(netnsFd: number) {
    this.#fd = inNetns({ fd: netnsFd, path: '', close() {} }, () => openRaw(fd => fd))
  }

  /** False when the interface is gone, down, or its queue full. */
  send(ifindex: number, frame: Uint8Array): boolean {
    const address = linkAddress(ifindex)
    try {
      return sendto(this.#fd, frame, frame.length, 0, address, address.length) === frame.length
    } catch (error) {
      if (error instanceof SyscallError && ['ENXIO', 'ENODEV', 'ENETDOWN', 'ENOBUFS'].includes(error.code)) return false
      throw error
    }
  }

  close(): void {
    close(this.#fd)
  }
}
