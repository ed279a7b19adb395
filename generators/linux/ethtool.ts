import koffi from 'koffi'
import { AF_INET, close, ioctl, SOCK_CLOEXEC, SOCK_DGRAM, socket } from './libc.ts'

const SIOCETHTOOL = 0x8946
const COMMANDS = { tso: 0x1f, gro: 0x2c, txChecksum: 0x17 } as const

/** Switches device features in the current namespace, without a process for each (1024 `ethtool` runs take 1.4 s). */
export function setFeatures(interfaceNames: readonly string[], feature: keyof typeof COMMANDS, on: boolean): void {
  // struct ifreq and, behind it, what it points to: a buffer known by its address alone would be collected.
  const request = Buffer.alloc(48)
  request.writeBigUInt64LE(BigInt(koffi.address(request)) + 40n, 16)
  request.writeUInt32LE(COMMANDS[feature], 40)
  request.writeUInt32LE(on ? 1 : 0, 44)
  const fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)
  try {
    for (const name of interfaceNames) {
      request.fill(0, 0, 16)
      request.write(name, 0, 15, 'latin1')
      ioctl(fd, SIOCETHTOOL, request)
    }
  } finally {
    close(fd)
  }
}
