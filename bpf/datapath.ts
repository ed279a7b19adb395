import {
  attachTc,
  BpfObject,
  detachTc,
  lookup,
  possibleCpus,
  remove,
  type TestRun,
  testRun,
  update,
} from '../generators/linux/libbpf.ts'
import { AF_INET, close, ioctl, SOCK_CLOEXEC, SOCK_DGRAM, socket } from '../generators/linux/libc.ts'
import { inNetns, interfaceIndex, type Netns } from '../generators/linux/netns.ts'
import { type CommandChannel, giveCommand, kick } from './commands.ts'
import { type CounterMaps, readCounters, readDrops } from './counters.ts'
import { faultMask } from './faults.ts'
import {
  addressKey,
  COMMAND,
  COMMAND_SLOT,
  type CounterName,
  DROP_REASONS,
  type DropReason,
  GROUPS_MAX,
  LAYOUT,
  u32Key,
} from './maps.ts'
import { objectPath } from './object-path.ts'
import { readGroups, readSubscribers, type SubscriberTable, type TableMaps } from './subscribers.ts'

/** Timers of a node's querier (RFC 3376 §8); absent: none, changes apply at once and nothing ages. */
export interface QuerierTimers {
  robustness: number
  queryIntervalMs: number
  queryResponseIntervalMs: number
  lastMemberQueryIntervalMs: number
  version: 2 | 3
}

export interface DatapathOptions {
  node: { name: string; address: number }
  vni: number
  faults?: readonly string[]
  querier?: QuerierTimers
  /** Pods' unicast goes up the node's own stack: on a node of a cluster that has routes, services and probes. */
  unicastByKernel?: boolean
  /** Members served before a datagram queues for the rest; for measurements. */
  sliceMembers?: number
  /** For tests: all is loaded and told about pods and nodes, and no program is attached anywhere. */
  detached?: boolean
}

/** A pod as its node knows it. MACs are u48; `nodeMac` is the veth's node end, the pod's gateway. */
export interface PodPort {
  address: number
  mac: number
  nodeMac: number
}

/** The node has as many groups enabled as it can; the refusal has been counted. */
export class GroupLimitError extends Error {
  readonly limit = GROUPS_MAX

  constructor(node: string) {
    super(`${node}: at most ${GROUPS_MAX} groups can be enabled`)
    this.name = 'GroupLimitError'
  }
}

/** What a control plane in another thread of this process needs of a node. */
export interface DatapathHandle {
  name: string
  address: number
  faults: readonly string[]
  querier?: QuerierTimers
  commands: CommandChannel
  maps: TableMaps & CounterMaps & { events: number; lateFrames: number; nodeAddresses: number }
  /** Sizes of the ring buffers: their maps' max_entries. */
  ringBytes: { events: number; lateFrames: number }
  /** The node's namespace, once something is attached in it. */
  netnsFd?: number
  cpus: number
}

export const PROGRAMS = ['from_pod', 'from_overlay', 'from_uplink', 'next_slice', 'command'] as const

/** Programs that read a frame as the kernel hands it to tc. */
export type FrameProgram = 'from_pod' | 'from_overlay' | 'from_uplink' | 'next_slice'

const POD_NETWORK_BITS = 16
const EVENT_RING_BYTES = 1 << 18
const LATE_FAULTS = ['leak-1ms', 'leak-20ms', 'reorder']

/** Nothing comes late but by a fault. A page is the least there is. */
function lateRingBytes({ faults }: DatapathOptions): number {
  return LATE_FAULTS.some(name => faults?.includes(name)) ? 1 << 20 : 1 << 16
}

/** One node's programs and maps. What is attached is detached by `close`, or gone with the namespaces. */
export class Datapath {
  readonly #object: BpfObject
  readonly #options: DatapathOptions
  readonly #commands: CommandChannel
  readonly #attached = new Map<number, Netns>()
  readonly #nodes = new Map<number, number>()
  /** First in, first out: a slot just freed may still be read by a packet on its way. */
  readonly #freeSlots = Array.from({ length: GROUPS_MAX }, (_, slot) => slot)
  readonly #slots = new Map<number, number>()
  #overlay = 0
  #sliceDevice = 0
  #router = 0

  private constructor(object: BpfObject, options: DatapathOptions) {
    this.#object = object
    this.#options = options
    this.#commands = { program: object.programFd('command'), slots: object.mapFd('commands') }
    if (options.querier) kick(this.#commands, COMMAND.startAgeing)
  }

  /** Opens, sets the constants and loads; touches no namespace. Throws BpfError with the verifier's words. */
  static load(options: DatapathOptions): Datapath {
    const object = new BpfObject(objectPath('mcast'))
    try {
      writeConfig(object.section('.rodata.config'), options)
      object.setMaxEntries('late_frames', lateRingBytes(options))
      object.load(PROGRAMS)
      return new Datapath(object, options)
    } catch (error) {
      object.close()
      throw error
    }
  }

  /** The node end of a pod's veth: frames from the pod come in here, copies for it go out. */
  attachPod(ns: Netns, ifindex: number, pod: PodPort): void {
    const value = Buffer.alloc(LAYOUT.mcast_pod.sizeBytes)
    value.writeUInt32BE(pod.address, LAYOUT.mcast_pod.address)
    value.writeUIntBE(pod.mac, LAYOUT.mcast_pod.mac, 6)
    value.writeUIntBE(pod.nodeMac, LAYOUT.mcast_pod.node_mac, 6)
    update(this.#object.mapFd('pods'), u32Key(ifindex), value)
    update(this.#object.mapFd('pod_addresses'), addressKey(pod.address), u32Key(ifindex))
    this.#attach(ns, ifindex, 'from_pod')
  }

  /** The pod is gone or leaves this node: its memberships vanish with it. The interface may no longer exist. */
  detachPod(ifindex: number): void {
    this.#command({ kind: COMMAND.detach, value: ifindex })
    const ns = this.#attached.get(ifindex)
    if (ns) inNetns(ns, () => detachTc(ifindex))
    this.#attached.delete(ifindex)
  }

  attachOverlay(ns: Netns, ifindex: number): void {
    this.#overlay = ifindex
    this.#attach(ns, ifindex, 'from_overlay')
    this.#writeSettings()
  }

  attachUplink(ns: Netns, ifindex: number): void {
    this.#attach(ns, ifindex, 'from_uplink')
  }

  /**
   * Makes another node known: its tunnel packets are accepted, its pods are routed to. `pods` is their network, a /16, or
   * their addresses; may be called again with more.
   */
  addRemoteNode(address: number, pods: number | readonly number[]): void {
    const index = this.#nodes.get(address) ?? this.#nodes.size
    this.#nodes.set(address, index)
    update(this.#object.mapFd('nodes'), u32Key(index), addressKey(address))
    update(this.#object.mapFd('node_addresses'), addressKey(address), u32Key(index))
    if (typeof pods === 'number') this.#addRoute(pods, POD_NETWORK_BITS, index)
    else for (const pod of pods) this.#addRoute(pod, 32, index)
  }

  /** Its tunnel packets are no longer accepted; to be called once no group has it as a subscriber. */
  removeRemoteNode(address: number): void {
    remove(this.#object.mapFd('node_addresses'), addressKey(address))
  }

  /** Unicast to other nodes' pods goes to the stack, where XFRM encrypts it, and comes in as ESP to this address; 0: as it is. */
  setRouter(address: number): void {
    this.#router = address
    this.#writeSettings()
  }

  /** Groups must be enabled before pods can join them. Throws GroupLimitError at the 1025th, and counts it. */
  enableGroup(group: number): void {
    if (group >>> 28 !== 0xe || group >>> 8 === 0xe00000)
      throw new RangeError('not a group that can be enabled: 224.0.1.0 to 239.255.255.255')
    if (this.#slots.has(group)) return
    const limit = this.#options.faults?.includes('group-limit-off-by-one') ? GROUPS_MAX - 1 : GROUPS_MAX
    const slot = this.#slots.size < limit ? this.#freeSlots.shift() : undefined
    if (slot === undefined) {
      this.#countGroupRefused()
      throw new GroupLimitError(this.#options.node.name)
    }
    this.#command({ kind: COMMAND.enable, group, value: slot })
    this.#slots.set(group, slot)
  }

  /** Its members are forgotten: they must join again once it is enabled again. */
  disableGroup(group: number): void {
    const slot = this.#slots.get(group)
    if (slot === undefined) return
    this.#command({ kind: COMMAND.disable, group })
    this.#slots.delete(group)
    this.#freeSlots.push(slot)
  }

  groups(): number[] {
    return readGroups(this.handle().maps)
  }

  subscribers(group?: number): SubscriberTable[] {
    return readSubscribers(this.handle().maps, group)
  }

  drops(): Record<DropReason, number> {
    return readDrops(this.handle())
  }

  counters(): Record<CounterName, number> {
    return readCounters(this.handle())
  }

  /** Runs a program on one frame without any interface, for tests: `ifindex` as if it came in there. */
  run(program: FrameProgram, frame: Uint8Array, context?: Buffer): TestRun {
    return testRun(this.#object.programFd(program), frame, context)
  }

  handle(): DatapathHandle {
    const fd = (map: string) => this.#object.mapFd(map)
    const { node, faults, querier } = this.#options
    const netns = this.#attached.values().next().value
    return {
      name: node.name,
      address: node.address,
      faults: faults ?? [],
      ...(querier ? { querier } : {}),
      ...(netns ? { netnsFd: netns.fd } : {}),
      commands: this.#commands,
      maps: {
        groups: fd('groups'),
        tables: fd('tables'),
        hosts: fd('hosts'),
        sources: fd('sources'),
        pods: fd('pods'),
        nodes: fd('nodes'),
        events: fd('events'),
        lateFrames: fd('late_frames'),
        drops: fd('drops'),
        counters: fd('counters'),
        nodeAddresses: fd('node_addresses'),
      },
      ringBytes: { events: EVENT_RING_BYTES, lateFrames: lateRingBytes(this.#options) },
      cpus: possibleCpus(),
    }
  }

  /** `attached: 'kept'` where the interfaces are about to go anyway: taking 1024 hooks off one by one costs seconds. */
  close(attached: 'detached' | 'kept' = 'detached'): void {
    if (attached === 'detached') for (const [ifindex, ns] of this.#attached) inNetns(ns, () => detachTc(ifindex))
    this.#attached.clear()
    this.#object.close()
  }

  #addRoute(network: number, prefixBits: number, node: number): void {
    const key = Buffer.alloc(LAYOUT.mcast_route_key.sizeBytes)
    key.writeUInt32LE(prefixBits, LAYOUT.mcast_route_key.prefix_bits)
    key.writeUInt32BE(network, LAYOUT.mcast_route_key.address)
    update(this.#object.mapFd('routes'), key, u32Key(node))
  }

  #attach(ns: Netns, ifindex: number, program: FrameProgram): void {
    if (this.#sliceDevice === 0) this.#attachSlices(ns)
    inNetns(ns, () => this.#hook(ifindex, program))
    this.#attached.set(ifindex, ns)
  }

  #hook(ifindex: number, program: FrameProgram): void {
    if (!this.#options.detached) attachTc(ifindex, this.#object.programFd(program))
  }

  /** The node's loopback device is where a datagram queues between two slices of a large group. */
  #attachSlices(ns: Netns): void {
    this.#sliceDevice = inNetns(ns, () => {
      const ifindex = interfaceIndex('lo')
      bringUp('lo')
      this.#hook(ifindex, 'next_slice')
      return ifindex
    })
    this.#attached.set(this.#sliceDevice, ns)
    this.#writeSettings()
  }

  #writeSettings(): void {
    const value = Buffer.alloc(LAYOUT.mcast_settings.sizeBytes)
    value.writeUInt32LE(this.#overlay, LAYOUT.mcast_settings.overlay_ifindex)
    value.writeUInt32LE(this.#sliceDevice, LAYOUT.mcast_settings.slice_ifindex)
    value.writeUInt32BE(this.#router, LAYOUT.mcast_settings.router)
    update(this.#object.mapFd('settings'), u32Key(0), value)
  }

  #command(command: { kind: number; group?: number; value?: number }): void {
    if (!giveCommand(this.#commands, COMMAND_SLOT.main, command))
      throw new Error(`${this.#options.node.name} refused command ${JSON.stringify(command)}`)
  }

  /** Only user space counts this reason, so that reading and writing it back loses nothing. */
  #countGroupRefused(): void {
    if (this.#options.faults?.includes('drops-uncounted')) return
    const key = u32Key(DROP_REASONS.indexOf('group-limit'))
    const values = Buffer.alloc(8 * possibleCpus())
    lookup(this.#object.mapFd('drops'), key, values)
    values.writeBigUInt64LE(values.readBigUInt64LE(0) + 1n, 0)
    update(this.#object.mapFd('drops'), key, values)
  }
}

function writeConfig(config: Buffer, options: DatapathOptions): void {
  const { querier, faults = [], vni, sliceMembers, unicastByKernel = false } = options
  const layout = LAYOUT.mcast_config
  config.writeBigUInt64LE(faultMask(faults), layout.fault_mask)
  config.writeUInt32LE(vni, layout.vni)
  config.writeUInt32LE(unicastByKernel ? 1 : 0, layout.unicast_by_kernel)
  if (sliceMembers !== undefined) config.writeUInt32LE(sliceMembers, layout.slice_members)
  if (!querier) return
  const { robustness, queryIntervalMs, queryResponseIntervalMs, lastMemberQueryIntervalMs } = querier
  const membershipIntervalMs = robustness * queryIntervalMs + queryResponseIntervalMs
  config.writeBigUInt64LE(BigInt(Math.round(membershipIntervalMs * 1e6)), layout.membership_interval_ns)
  const lastMemberQueryTimeMs = robustness * lastMemberQueryIntervalMs
  config.writeBigUInt64LE(BigInt(Math.round(lastMemberQueryTimeMs * 1e6)), layout.last_member_query_time_ns)
}

const SIOCGIFFLAGS = 0x8913
const SIOCSIFFLAGS = 0x8914
const IFF_UP = 1

function bringUp(name: string): void {
  const request = Buffer.alloc(40)
  request.write(name, 0, 15, 'latin1')
  const fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)
  try {
    ioctl(fd, SIOCGIFFLAGS, request)
    request.writeUInt16LE(request.readUInt16LE(16) | IFF_UP, 16)
    ioctl(fd, SIOCSIFFLAGS, request)
  } finally {
    close(fd)
  }
}
