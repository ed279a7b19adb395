import { BpfRing } from '../generators/linux/bpf-ring.ts'
import { entries, lookup } from '../generators/linux/libbpf.ts'
import { PacketEmitter } from '../generators/linux/packet-emitter.ts'
import { giveCommand } from './commands.ts'
import type { DatapathHandle } from './datapath.ts'
import { addressKey, COMMAND, COMMAND_SLOT, DROP_REASONS, EVENT, LAYOUT, memberAt, u32Key } from './maps.ts'
import { type Question, queryFrame, replaceRouterAlert } from './querier.ts'
import { readGroups, readTable } from './subscribers.ts'

/** Another node, as its agent has told of it. */
export interface Peer {
  readonly address: number
  /** Groups with members on that node, and how many pods that was. */
  readonly published: ReadonlyMap<number, number>
}

/** What an agent needs of the control plane around it. */
export interface Surroundings {
  /** The other nodes, as they are now. */
  others(agent: NodeAgent): readonly Peer[]
  /** Tells them that this node has members of the group (`pods` of them), or no longer. */
  tell(agent: NodeAgent, group: number, pods: number): void
  /** Tells them that `published` is all there is, whatever they heard before. */
  tellAll(agent: NodeAgent): void
  after(delayMs: number, run: () => void): void
}

const REMOTE_JOIN_LATE_MS = 100
/** A drain of this many events may mean that more were lost. */
const MANY_EVENTS = 512

/**
 * The control plane of one node. It tells the other nodes which groups have members here (the role of
 * IsovalentMulticastNode), and keeps the other nodes as subscribers here of the groups they told it. All it knows is in
 * the node's maps too, so it can be thrown away and made anew.
 */
export class NodeAgent implements Peer {
  readonly handle: DatapathHandle
  /** Groups with members on this node, as told to the others, and how many pods that was. */
  readonly published = new Map<number, number>()
  readonly #local = new Map<number, number>()
  readonly #surroundings: Surroundings
  readonly #events: BpfRing
  readonly #late: BpfRing
  #emitter: PacketEmitter | undefined
  #questions = new Map<string, { ifindex: number; question: Question }>()
  #lost = 0
  #closed = false

  constructor(handle: DatapathHandle, surroundings: Surroundings) {
    this.handle = handle
    this.#surroundings = surroundings
    this.#events = new BpfRing(handle.maps.events, handle.ringBytes.events)
    this.#late = new BpfRing(handle.maps.lateFrames, handle.ringBytes.lateFrames)
    this.#lost = this.#lostEvents()
    if (handle.netnsFd !== undefined) this.#emitter = new PacketEmitter(handle.netnsFd)
  }

  /** Reads what this node has and wants, and puts both sides right. Events from before are in the tables already. */
  start(): void {
    this.#events.drain(() => {})
    this.resync()
    if (this.handle.querier) this.#queryAtStartup(this.handle.querier.robustness)
  }

  get address(): number {
    return this.handle.address
  }

  get fds(): number[] {
    return [this.#events.fd, this.#late.fd]
  }

  /** Handles everything the datapath has reported; whether there was something. */
  drain(): boolean {
    const seen = this.#events.drain(record => this.#handle(record))
    const late = this.#late.drain(record => this.#sendLate(record))
    for (const { ifindex, question } of this.#questions.values()) this.#ask(ifindex, question)
    this.#questions.clear()
    if (seen >= MANY_EVENTS && this.#lostEvents() !== this.#lost) this.resync()
    return seen + late > 0
  }

  close(): void {
    this.#closed = true
    this.#events.close()
    this.#late.close()
    this.#emitter?.close()
  }

  resync(): void {
    this.#lost = this.#lostEvents()
    const before = new Set(this.#local.keys())
    for (const group of readGroups(this.handle.maps)) {
      const table = readTable(this.handle.maps, group)
      if (!table) continue
      before.delete(group)
      this.#publish(group, table.readUInt32LE(LAYOUT.mcast_table.local))
      this.#resyncNodes(group, table)
    }
    for (const group of before) this.#publish(group, 0)
    this.#surroundings.tellAll(this)
  }

  /** Drops `other` from every group that it no longer publishes. */
  forgetUnpublished(other: Peer): void {
    for (const group of readGroups(this.handle.maps))
      if (!other.published.has(group)) this.setNode(group, other.address, 0)
  }

  /** Another node has members of the group (`pods` of them), or no longer. */
  setNode(group: number, address: number, pods: number): void {
    const index = Buffer.alloc(4)
    if (this.#closed || !lookup(this.handle.maps.nodeAddresses, addressKey(address), index)) return
    const kind = pods > 0 ? COMMAND.addNode : COMMAND.removeNode
    // Refused: the group is not enabled here (told again when it is) or full (counted by name).
    giveCommand(this.handle.commands, COMMAND_SLOT.controlPlane, { kind, group, value: index.readUInt32LE(), pods })
  }

  #handle(record: Buffer): void {
    const layout = LAYOUT.mcast_event
    const group = record.readUInt32BE(layout.group)
    const value = record.readUInt32LE(layout.value)
    const kind = record.readUInt32LE(layout.kind)
    if (kind === EVENT.localCount) this.#publish(group, value)
    else if (kind === EVENT.enabled) this.#welcome(group)
    else if (kind === EVENT.disabled) this.#publish(group, 0)
    else if (kind === EVENT.query) this.#collect(group, value, record.readUInt32BE(layout.source))
  }

  /** A group was enabled here: nodes that have members of it become its subscribers. */
  #welcome(group: number): void {
    for (const other of this.#surroundings.others(this)) {
      const pods = other.published.get(group)
      if (pods) this.setNode(group, other.address, pods)
    }
  }

  #publish(group: number, pods: number): void {
    const before = this.#local.get(group) ?? 0
    this.#local.set(group, pods)
    // How many pods is nobody's business, unless a fault sends one tunnel packet for each.
    if (pods > 0 === before > 0 && !this.#has('tunnel-per-pod')) return
    if (pods > 0 ? this.#has('remote-join-lost') : this.#has('remote-leave-ignored')) return
    if (pods > 0 && this.#has('remote-join-late'))
      this.#surroundings.after(REMOTE_JOIN_LATE_MS, () => this.#tell(group, this.#local.get(group) ?? 0))
    else this.#tell(group, pods)
  }

  #tell(group: number, pods: number): void {
    if (this.#closed) return
    if (pods > 0) this.published.set(group, pods)
    else this.published.delete(group)
    this.#surroundings.tell(this, group, pods)
    if (this.#has('nodes-without-members-told'))
      for (const other of this.#surroundings.others(this)) this.setNode(group, other.address, pods)
  }

  /** Makes the remote rows of one of this node's groups what the others publish. */
  #resyncNodes(group: number, table: Buffer): void {
    const others = this.#surroundings.others(this)
    const rows = Math.min(table.readUInt32LE(LAYOUT.mcast_table.rows), 1024)
    const present = new Set<number>()
    for (let row = 0; row < rows; row++) {
      const node = memberAt(table, row)?.node
      if (node !== undefined) present.add(this.#nodeAddress(node))
    }
    for (const other of others) {
      const pods = other.published.get(group) ?? 0
      if (pods > 0 !== present.has(other.address)) this.setNode(group, other.address, pods)
    }
  }

  #nodeAddress(index: number): number {
    const value = Buffer.alloc(4)
    lookup(this.handle.maps.nodes, u32Key(index), value)
    return value.readUInt32BE()
  }

  /** A frame that a fault holds back; the bytes are the ring's and must be copied. */
  #sendLate(record: Buffer): void {
    const layout = LAYOUT.mcast_late
    const ifindex = record.readUInt32LE(layout.ifindex)
    const delayMs = record.readUInt32LE(layout.delay_us) / 1000
    const start = layout.bytes
    const frame = Buffer.from(record.subarray(start, start + record.readUInt32LE(layout.length)))
    this.#surroundings.after(delayMs, () => {
      if (!this.#closed) this.#emitter?.send(ifindex, frame)
    })
  }

  /** Sources of one group and veth asked for in one go make one Query (RFC 3376 §6.6.3.2). */
  #collect(group: number, ifindex: number, source: number): void {
    const key = `${group} ${ifindex} ${source === 0}`
    const known = this.#questions.get(key)
    const sources = source === 0 ? [] : [...(known?.question.sources ?? []), source]
    this.#questions.set(key, { ifindex, question: { group, sources } })
  }

  /** Last Member Query Count times, Last Member Query Interval apart (RFC 3376 §8.8, §8.9). */
  #ask(ifindex: number, question: Question): void {
    const timers = this.handle.querier
    if (!timers || this.#has('leave-not-queried')) return
    const times = this.#has('leave-queried-once') ? 1 : timers.robustness
    for (let i = 0; i < times; i++)
      this.#surroundings.after(i * timers.lastMemberQueryIntervalMs, () => this.#query(ifindex, question))
  }

  /** Startup Query Count times, a quarter of the Query Interval apart (RFC 3376 §8.6, §8.7); then every Query Interval. */
  #queryAtStartup(left: number): void {
    const timers = this.handle.querier
    if (!timers || this.#closed) return
    for (const { key } of entries(this.handle.maps.pods, 4, LAYOUT.mcast_pod.sizeBytes))
      this.#query(key.readUInt32LE(), { group: 0, sources: [] })
    const delayMs = left > 1 ? timers.queryIntervalMs / 4 : timers.queryIntervalMs
    this.#surroundings.after(delayMs, () => this.#queryAtStartup(Math.max(0, left - 1)))
  }

  #query(ifindex: number, question: Question): void {
    const timers = this.handle.querier
    const pod = Buffer.alloc(LAYOUT.mcast_pod.sizeBytes)
    if (this.#closed || !timers || this.#has('querier-silent')) return
    if (!lookup(this.handle.maps.pods, u32Key(ifindex), pod)) return
    const asker = { address: this.handle.address, mac: pod.readUIntBE(LAYOUT.mcast_pod.node_mac, 6), timers }
    const frame = queryFrame(asker, question)
    if (this.#has('query-without-router-alert')) replaceRouterAlert(frame)
    this.#emitter?.send(ifindex, frame)
  }

  #lostEvents(): number {
    const values = Buffer.alloc(8 * this.handle.cpus)
    lookup(this.handle.maps.drops, u32Key(DROP_REASONS.indexOf('event-lost')), values)
    let sum = 0n
    for (let at = 0; at < values.length; at += 8) sum += values.readBigUInt64LE(at)
    return Number(sum)
  }

  #has(fault: string): boolean {
    return this.handle.faults.includes(fault)
  }
}
