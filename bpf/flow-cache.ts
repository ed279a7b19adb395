import { attachTc, BpfObject, detachTcProgram, entries, lookup, remove, update } from '../generators/linux/libbpf.ts'
import { inNetns, type Netns } from '../generators/linux/netns.ts'
import { flowFaultMask } from './flow-faults.ts'
import { u32Key } from './maps.ts'
import { objectPath } from './object-path.ts'

/** Offsets of the structs in flow.h, compared through BTF by flow.bpf.test.ts. */
export const FLOW_LAYOUT = {
  flow_key: {
    sizeBytes: 24,
    src: 0,
    dst: 4,
    src_port: 8,
    dst_port: 10,
    input: 12,
    output: 16,
    protocol: 20,
    tos: 21,
    multicast: 22,
    direction: 23,
  },
  flow_counters: {
    sizeBytes: 64,
    packets: 0,
    bytes: 8,
    replicated_packets: 16,
    replicated_bytes: 24,
    first_ns: 32,
    last_ns: 40,
    epoch: 48,
    factor: 52,
    output: 56,
    reserved: 60,
  },
  flow_value: { sizeBytes: 136, lock: 0, reserved: 4, epochs: 8 },
  flow_config: { sizeBytes: 24, fault_mask: 0, match: 8, output_counters: 12, sampling: 16, reserved: 20 },
} as const

export const MONITOR = { input: 1, output: 2, inputMulticastOnly: 4, outputMulticastOnly: 8 } as const
const PROGRAMS = ['flow_ingress', 'flow_egress'] as const
const STATE = { epoch: 0, refused: 1 } as const

export interface FlowKey {
  src: number
  dst: number
  srcPort: number
  dstPort: number
  input: number
  output: number
  protocol: number
  tos: number
  isMulticast: number
  direction: number
}

/** What a flow got in one epoch; times are CLOCK_MONOTONIC. */
export interface FlowDelta {
  packets: bigint
  bytes: bigint
  replicatedPackets: bigint
  replicatedBytes: bigint
  firstNs: bigint
  lastNs: bigint
  factor: number
  output: number
}

export interface FlowCacheOptions {
  match: number
  outputCounters: boolean
  sampling: number
  entries: number
  faults: readonly string[]
}

/** The programs of flow.bpf.c on some interfaces of one namespace, and their map. */
export class FlowCache {
  readonly #object: BpfObject
  readonly #ns: Netns
  readonly #attached = new Set<number>()
  /** A fresh entry says 0: that must not be the epoch before. */
  #epoch = 2

  private constructor(object: BpfObject, ns: Netns) {
    this.#object = object
    this.#ns = ns
    this.#writeEpoch()
  }

  static load(ns: Netns, options: FlowCacheOptions): FlowCache {
    const object = new BpfObject(objectPath('flow'))
    try {
      const config = object.section('.rodata.config')
      const layout = FLOW_LAYOUT.flow_config
      config.writeBigUInt64LE(flowFaultMask(options.faults), layout.fault_mask)
      config.writeUInt32LE(options.match, layout.match)
      config.writeUInt32LE(options.outputCounters ? 1 : 0, layout.output_counters)
      config.writeUInt32LE(options.sampling, layout.sampling)
      object.setMaxEntries('flows', options.entries)
      object.load(PROGRAMS)
      return new FlowCache(object, ns)
    } catch (error) {
      object.close()
      throw error
    }
  }

  /** Both directions: copies are seen at the egress of interfaces that nobody monitors. `monitor` is of MONITOR. */
  attach(ifindex: number, monitor: number): void {
    if (monitor !== 0) update(this.#object.mapFd('monitors'), u32Key(ifindex), u32Key(monitor))
    inNetns(this.#ns, () => {
      attachTc(ifindex, this.#object.programFd('flow_ingress'), 'ingress')
      attachTc(ifindex, this.#object.programFd('flow_egress'), 'egress')
    })
    this.#attached.add(ifindex)
  }

  /**
   * What was counted in the epoch before this one, and begins the next. Called no more often than a packet takes through the
   * kernel (some milliseconds), nobody still counts in what is read.
   */
  *endEpoch(): Generator<{ id: string; key: FlowKey; delta: FlowDelta }> {
    const ended = this.#epoch - 1
    const { flow_key, flow_value, flow_counters } = FLOW_LAYOUT
    for (const { key, value } of entries(this.#object.mapFd('flows'), flow_key.sizeBytes, flow_value.sizeBytes)) {
      const at = flow_value.epochs + (ended & 1) * flow_counters.sizeBytes
      if (value.readUInt32LE(at + flow_counters.epoch) !== ended) continue
      yield { id: key.toString('latin1'), key: readKey(key), delta: readDelta(value, at) }
    }
    this.#epoch++
    this.#writeEpoch()
  }

  /** Makes room: the flow has been idle for longer than two epochs. */
  forget(id: string): void {
    remove(this.#object.mapFd('flows'), Buffer.from(id, 'latin1'))
  }

  /** Packets whose flow found no room so far. */
  get refused(): number {
    const value = Buffer.alloc(8)
    lookup(this.#object.mapFd('state'), u32Key(STATE.refused), value)
    return Number(value.readBigUInt64LE())
  }

  close(): void {
    inNetns(this.#ns, () => {
      for (const ifindex of this.#attached) {
        detachTcProgram(ifindex, 'ingress')
        detachTcProgram(ifindex, 'egress')
      }
    })
    this.#object.close()
  }

  #writeEpoch(): void {
    const value = Buffer.alloc(8)
    value.writeBigUInt64LE(BigInt(this.#epoch))
    update(this.#object.mapFd('state'), u32Key(STATE.epoch), value)
  }
}

function readKey(key: Buffer): FlowKey {
  const at = FLOW_LAYOUT.flow_key
  return {
    src: key.readUInt32BE(at.src),
    dst: key.readUInt32BE(at.dst),
    srcPort: key.readUInt16BE(at.src_port),
    dstPort: key.readUInt16BE(at.dst_port),
    input: key.readUInt32LE(at.input),
    output: key.readUInt32LE(at.output),
    protocol: key.readUInt8(at.protocol),
    tos: key.readUInt8(at.tos),
    isMulticast: key.readUInt8(at.multicast),
    direction: key.readUInt8(at.direction),
  }
}

function readDelta(value: Buffer, start: number): FlowDelta {
  const at = FLOW_LAYOUT.flow_counters
  const u64 = (offset: number) => value.readBigUInt64LE(start + offset)
  return {
    packets: u64(at.packets),
    bytes: u64(at.bytes),
    replicatedPackets: u64(at.replicated_packets),
    replicatedBytes: u64(at.replicated_bytes),
    firstNs: u64(at.first_ns),
    lastNs: u64(at.last_ns),
    factor: value.readUInt32LE(start + at.factor),
    output: value.readUInt32LE(start + at.output),
  }
}
