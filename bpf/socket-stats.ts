import { readFileSync } from 'node:fs'
import {
  attachCgroup,
  attachTracepoint,
  attachTracing,
  BpfObject,
  entries,
  type Link,
  lookup,
  update,
} from '../generators/linux/libbpf.ts'
import { type Netns, netnsCookie } from '../generators/linux/netns.ts'
import { u32Key } from './maps.ts'
import { objectPath } from './object-path.ts'
import { socketFaultMask } from './socket-faults.ts'

/** Offsets of the structs in socket-stats.h, compared through BTF by socket-stats.bpf.test.ts. */
export const SOCKET_LAYOUT = {
  socket_config: { sizeBytes: 16, fault_mask: 0, latency: 8, reserved: 12 },
  binary_key: { sizeBytes: 16, inode: 0, device: 8, reserved: 12 },
  binary_path: { sizeBytes: 256, names: 0 },
  socket_owner: { sizeBytes: 24, netns: 0, binary: 8 },
  socket_flow_key: { sizeBytes: 32, owner: 0, local: 24, remote: 28 },
  socket_side: { sizeBytes: 40, segs: 0, bytes: 8, bursts: 16, last_ns: 24, in_burst: 32, reserved: 36 },
  socket_flow: {
    sizeBytes: 248,
    rx: 0,
    tx: 40,
    drops: 80,
    drop_bytes: 88,
    consumed: 96,
    consume_misses: 104,
    latency_sum_ns: 112,
    latency: 120,
  },
} as const

const PATH_NAME_BYTES = 32
const LATENCY_BUCKETS = 16
const PROGRAMS = ['socket_made', 'socket_in', 'socket_full', 'socket_out'] as const
/** Where functions may be traced. */
const READ_PROGRAM = 'socket_read'

/** File descriptors of the maps that rows are read from. */
export interface SocketMaps {
  flows: number
  binaries: number
  refused: number
}

export interface SocketSide {
  segs: number
  bytes: number
  bursts: number
}

/** What sockets of one program in one namespace exchanged with one address. */
export interface SocketRow {
  /** Cookie of the pod's namespace. */
  netns: bigint
  /** Path of the program that made the socket. */
  binary: string
  /** The socket's side: its own address, or the group that it receives from. */
  local: number
  remote: number
  rx: SocketSide
  tx: SocketSide
  /** Of `rx`, what found no room. */
  drops: number
  dropBytes: number
  consumed: number
  consumeMisses: number
  latencySumNs: number
  /** Entry n: waited less than 2^(n + 10) ns and no less than the one before; the last is all others. */
  latency: number[]
}

/**
 * Counters of the UDP sockets that are made in pods of one node from now on: on the machine's whole cgroup tree, so whoever makes
 * them. The programs go with this process.
 */
export class SocketStats {
  readonly #object: BpfObject
  readonly #links: Link[] = []
  readonly latency: boolean

  private constructor(object: BpfObject, latency: boolean) {
    this.#object = object
    this.latency = latency
  }

  /** `latency`: what is read is counted too, which needs a tracing program. */
  static load({ faults = [], latency = false }: { faults?: readonly string[]; latency?: boolean } = {}): SocketStats {
    const object = new BpfObject(objectPath('socket-stats'))
    try {
      const config = object.section('.rodata.config')
      config.writeBigUInt64LE(socketFaultMask(faults), SOCKET_LAYOUT.socket_config.fault_mask)
      config.writeUInt32LE(latency ? 1 : 0, SOCKET_LAYOUT.socket_config.latency)
      if (!latency) object.leaveOut(READ_PROGRAM)
      object.load(latency ? [...PROGRAMS, READ_PROGRAM] : PROGRAMS)
      const stats = new SocketStats(object, latency)
      stats.#attach(cgroupRoot())
      return stats
    } catch (error) {
      object.close()
      throw error
    }
  }

  #attach(cgroup: string): void {
    const fd = (name: string) => this.#object.programFd(name)
    this.#links.push(attachTracepoint('udp_fail_queue_rcv_skb', fd('socket_full')))
    if (this.latency) this.#links.push(attachTracing(fd(READ_PROGRAM)))
    this.#links.push(attachCgroup(cgroup, fd('socket_out'), 'egress'))
    this.#links.push(attachCgroup(cgroup, fd('socket_in'), 'ingress'))
    this.#links.push(attachCgroup(cgroup, fd('socket_made'), 'sockCreate'))
  }

  /** Sockets made in the namespace from now on are counted; the cookie is what rows say. */
  addPod(ns: Netns): bigint {
    const cookie = netnsCookie(ns)
    const key = Buffer.alloc(8)
    key.writeBigUInt64LE(cookie)
    update(this.#object.mapFd('pods'), key, u32Key(1))
    return cookie
  }

  get maps(): SocketMaps {
    const fd = (map: string) => this.#object.mapFd(map)
    return { flows: fd('flows'), binaries: fd('binaries'), refused: fd('refused') }
  }

  close(): void {
    for (const link of this.#links) link.close()
    this.#object.close()
  }
}

/** Segments whose flow the full table had no room for. */
export function readRefused(maps: SocketMaps): number {
  const value = Buffer.alloc(8)
  lookup(maps.refused, u32Key(0), value)
  return Number(value.readBigUInt64LE())
}

/** Every row so far; rows never go. */
export function readSockets(maps: SocketMaps): SocketRow[] {
  const { binary_key, binary_path, socket_flow_key, socket_flow } = SOCKET_LAYOUT
  const paths = new Map<string, string>()
  for (const { key, value } of entries(maps.binaries, binary_key.sizeBytes, binary_path.sizeBytes))
    paths.set(key.toString('hex'), pathOf(value))
  const rows = [...entries(maps.flows, socket_flow_key.sizeBytes, socket_flow.sizeBytes)]
  return rows.map(({ key, value }) => readRow(key, value, paths))
}

function readRow(key: Buffer, value: Buffer, paths: ReadonlyMap<string, string>): SocketRow {
  const { socket_owner, socket_flow_key, socket_flow: at, binary_key } = SOCKET_LAYOUT
  const u64 = (offset: number) => Number(value.readBigUInt64LE(offset))
  return {
    netns: key.readBigUInt64LE(socket_owner.netns),
    binary: paths.get(key.toString('hex', socket_owner.binary, socket_owner.binary + binary_key.sizeBytes)) ?? '',
    local: key.readUInt32BE(socket_flow_key.local),
    remote: key.readUInt32BE(socket_flow_key.remote),
    rx: readSide(value, at.rx),
    tx: readSide(value, at.tx),
    drops: u64(at.drops),
    dropBytes: u64(at.drop_bytes),
    consumed: u64(at.consumed),
    consumeMisses: u64(at.consume_misses),
    latencySumNs: u64(at.latency_sum_ns),
    latency: Array.from({ length: LATENCY_BUCKETS }, (_, n) => u64(at.latency + 8 * n)),
  }
}

function readSide(value: Buffer, start: number): SocketSide {
  const { segs, bytes, bursts } = SOCKET_LAYOUT.socket_side
  const u64 = (offset: number) => Number(value.readBigUInt64LE(start + offset))
  return { segs: u64(segs), bytes: u64(bytes), bursts: u64(bursts) }
}

/** Names come file first; a file of a file system mounted below `/` lacks the names above its root. */
function pathOf(value: Buffer): string {
  const names: string[] = []
  for (let at = 0; at < value.length; at += PATH_NAME_BYTES) {
    const end = value.indexOf(0, at)
    if (end > at) names.unshift(value.toString('utf8', at, end))
  }
  return `/${names.join('/')}`
}

/** Where cgroups of version 2 are mounted: alone, or beside those of version 1. */
export function cgroupRoot(): string {
  const mount = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .find(line => line.split(' ')[2] === 'cgroup2')
  const place = mount?.split(' ')[1]
  if (place === undefined) throw new Error('no cgroup2 is mounted')
  return place
}
