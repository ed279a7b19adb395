import { execFileSync } from 'node:child_process'
import { AF_PACKET, bind, close, libcFunction, SOCK_CLOEXEC, SOCK_RAW, socket } from '../../generators/linux/libc.ts'
import { createNetns, inNetns, interfaceIndex, type Netns } from '../../generators/linux/netns.ts'

/** Two unnamed namespaces joined by a veth pair `left` and `right`, with nothing of the kernel's own on it. */
export interface VethBed {
  left: Netns
  right: Netns
  leftIndex: number
  rightIndex: number
  close(): void
}

/** Runs a program inside a namespace and returns what it printed. */
export function inside(netns: Netns, ...command: string[]): string {
  return execFileSync('nsenter', [`--net=${netns.path}`, ...command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

export function vethBed(): VethBed {
  const left = createNetns()
  const right = createNetns()
  for (const netns of [left, right]) inside(netns, 'sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1')
  inside(left, 'ip', 'link', 'add', 'left', 'type', 'veth', 'peer', 'name', 'right', 'netns', right.path)
  for (const [netns, name] of [[left, 'left'], [right, 'right']] as const) inside(netns, 'ip', 'link', 'set', name, 'up', 'arp', 'off')
  for (const [netns, name] of [[left, 'left'], [right, 'right']] as const) untilUp(netns, name)
  const leftIndex = inNetns(left, () => interfaceIndex('left'))
  const rightIndex = inNetns(right, () => interfaceIndex('right'))
  const end = () => {
    left.close()
    right.close()
  }
  return { left, right, leftIndex, rightIndex, close: end }
}

/** Until the kernel calls the link up it has no queue yet, and drops silently what is sent. */
function untilUp(netns: Netns, name: string): void {
  const limitMs = performance.now() + 5000
  while (!inside(netns, 'ip', '-o', 'link', 'show', name).includes('state UP'))
    if (performance.now() > limitMs) throw new Error(`${name} does not come up`)
}

const send = libcFunction<[fd: number, frame: Uint8Array, length: number, flags: number]>(
  'intptr_t send(int fd, const void *frame, size_t length, int flags)',
)

/** Sends whole frames out of an interface, one call a frame; protocol 0, so that it receives nothing. */
export function rawSender(netns: Netns, ifindex: number): { send(frame: Uint8Array): void; close(): void } {
  const fd = inNetns(netns, () => socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0))
  const address = Buffer.alloc(20)
  address.writeUInt16LE(AF_PACKET, 0)
  address.writeInt32LE(ifindex, 4)
  bind(fd, address, address.length)
  return {
    send: frame => void send(fd, frame, frame.length, 0),
    close: () => void close(fd),
  }
}
