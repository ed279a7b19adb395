import { AF_INET, close, SOCK_CLOEXEC, SOCK_DGRAM, setsockopt, socket } from './libc.ts'
import { inNetns, type Netns } from './netns.ts'

const IPPROTO_IP = 0
const IP_ADD_MEMBERSHIP = 35
const IP_BLOCK_SOURCE = 38
const IP_ADD_SOURCE_MEMBERSHIP = 39

/** Group memberships of the kernel's own IGMP host in a namespace: it sends the reports and answers the queries. */
export class SocketMemberships {
  private readonly ns: Netns
  private readonly interfaceAddress: number
  private readonly sockets = new Map<number, number>()

  constructor(ns: Netns, interfaceAddress: number) {
    this.ns = ns
    this.interfaceAddress = interfaceAddress
  }

  /** One socket a group, as an application would; throws SyscallError, ENOBUFS above igmp_max_memberships. */
  join(group: number, filter?: { mode: 'include' | 'exclude'; sources: readonly number[] }): void {
    this.leave(group)
    const fd = inNetns(this.ns, () => socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))
    this.sockets.set(group, fd)
    if (filter?.mode === 'include') {
      for (const source of filter.sources) this.request(fd, IP_ADD_SOURCE_MEMBERSHIP, group, source)
      return
    }
    this.request(fd, IP_ADD_MEMBERSHIP, group)
    for (const source of filter?.sources ?? []) this.request(fd, IP_BLOCK_SOURCE, group, source)
  }

  leave(group: number): void {
    const fd = this.sockets.get(group)
    if (fd === undefined) return
    this.sockets.delete(group)
    close(fd)
  }

  close(): void {
    for (const group of [...this.sockets.keys()]) this.leave(group)
  }

  private request(fd: number, option: number, group: number, source?: number): void {
    const words = source === undefined ? [group, this.interfaceAddress] : [group, this.interfaceAddress, source]
    const request = Buffer.alloc(4 * words.length)
    for (const [i, word] of words.entries()) request.writeUInt32BE(word, 4 * i)
    setsockopt(fd, IPPROTO_IP, option, request, request.length)
  }
}
