import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { AF_PACKET, close, SOCK_CLOEXEC, SOCK_RAW, socket } from '../../generators/linux/libc.ts'
import { createNetns, inNetns } from '../../generators/linux/netns.ts'
import type { Trial } from './capability.ts'

/** Bits of linux/capability.h that a run uses. */
const CAPABILITY_BITS = { CAP_NET_ADMIN: 12, CAP_NET_RAW: 13, CAP_SYS_ADMIN: 21, CAP_BPF: 39 }
const LEAST_KERNEL = [6, 1] as const

/** Who we are and what kernel this is. */
export const PRIVILEGE_TRIALS: readonly Trial[] = [
  {
    name: 'root',
    neededFor: ['reference', 'router', 'bridge', 'host', 'tests', 'send', 'join', 'capture'],
    remedy: 'run it as root, or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN and CAP_BPF',
    run: privileges,
  },
  {
    name: 'kernel',
    neededFor: ['reference'],
    ofKernel: true,
    remedy: 'use Linux 6.1 or later, for example Debian 12, or --sandbox vm',
    run: kernel,
  },
  {
    name: 'namespaces',
    neededFor: ['reference', 'router', 'bridge', 'host', 'tests'],
    remedy: 'run it as root and, in a container, with --privileged (unshare(2) must be allowed)',
    run: () => {
      createNetns().close()
      return 'made one'
    },
  },
  {
    name: 'packet-socket',
    neededFor: ['reference', 'router', 'bridge', 'host', 'tests', 'send', 'join', 'capture'],
    remedy: 'needs CONFIG_PACKET and CAP_NET_RAW',
    run: packetSocket,
  },
]

function privileges(): string {
  const lines = readFileSync('/proc/self/status', 'utf8').split('\n')
  const effective = BigInt(`0x${lines.find(line => line.startsWith('CapEff:'))?.slice(8) ?? '0'}`)
  const missing = Object.entries(CAPABILITY_BITS).filter(([, bit]) => ((effective >> BigInt(bit)) & 1n) === 0n)
  if (missing.length > 0)
    throw new Error(`uid ${process.getuid?.()} without ${missing.map(([name]) => name).join(', ')}`)
  return `uid ${process.getuid?.()} with ${Object.keys(CAPABILITY_BITS).join(', ')}`
}

function kernel(): string {
  const [major = 0, minor = 0] = release()
    .split('.')
    .map(part => Number.parseInt(part, 10))
  const [leastMajor, leastMinor] = LEAST_KERNEL
  if (major < leastMajor || (major === leastMajor && minor < leastMinor)) throw new Error(`Linux ${release()}`)
  return `Linux ${release()}`
}

function packetSocket(): string {
  const namespace = createNetns()
  try {
    inNetns(namespace, () => close(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)))
    return 'opened one'
  } finally {
    namespace.close()
  }
}
