import koffi from 'koffi'
import { AF_PACKET, bind, close, holding, SOCK_CLOEXEC, SOCK_RAW, SyscallError, setsockopt, socket } from './libc.ts'

const SOL_SOCKET = 1
const SO_SNDBUF = 7
const SO_ATTACH_FILTER = 26
const SO_SNDBUFFORCE = 32
export const SOL_PACKET = 263
export const MSG_DONTWAIT = 0x40
export const ETH_P_IP = 0x0800
export const ETH_P_ALL = 3

/**
 * A raw AF_PACKET socket in the current namespace that `setUp` makes ready. Its protocol is 0 until it is bound: nothing
 * gets in before the filter is there.
 */
export function openRaw<T>(setUp: (fd: number) => T): T {
  const fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)
  try {
    return setUp(fd)
  } catch (error) {
    close(fd)
    throw error
  }
}

/** Protocol 0 receives nothing; interface 0 is all of them. */
export function bindTo(fd: number, ifindex: number, protocol = 0): void {
  const address = linkAddress(ifindex, protocol)
  bind(fd, address, address.length)
}

/** struct sockaddr_ll. */
export function linkAddress(ifindex: number, protocol = 0): Buffer {
  const address = Buffer.alloc(20)
  address.writeUInt16LE(AF_PACKET, 0)
  address.writeUInt16BE(protocol, 2)
  address.writeInt32LE(ifindex, 4)
  return address
}

export function setOption(fd: number, level: number, name: number, value: Buffer): void {
  setsockopt(fd, level, name, value, value.length)
}

/** Native order: castproof runs on little-endian machines only. */
export function words(...values: number[]): Buffer {
  const buffer = Buffer.alloc(values.length * 4)
  for (const [i, value] of values.entries()) buffer.writeUInt32LE(value, i * 4)
  return buffer
}

/** Beyond the machine's limit takes CAP_NET_ADMIN, which a pod need not have; less only makes a burst wait more often. */
export function setSendBuffer(fd: number, bytes: number): void {
  try {
    setOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, words(bytes))
  } catch (error) {
    if (!(error instanceof SyscallError && error.code === 'EPERM')) throw error
    setOption(fd, SOL_SOCKET, SO_SNDBUF, words(bytes))
  }
}

/** `filter`: an array of struct sock_filter. The kernel is given a struct sock_fprog, count and pointer. */
export function attachFilter(fd: number, filter: Uint8Array): void {
  const program = Buffer.alloc(16)
  program.writeUInt16LE(filter.length / 8, 0)
  program.writeBigUInt64LE(BigInt(koffi.address(filter)), 8)
  holding([filter], () => setOption(fd, SOL_SOCKET, SO_ATTACH_FILTER, program))
}
