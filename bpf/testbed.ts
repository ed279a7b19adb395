import { execFileSync } from 'node:child_process'
import { buildFrame } from '../generators/frame.ts'
import type { FrameSpec, IgmpFields } from '../generators/frame-spec.ts'
import { PacketEmitter } from '../generators/linux/packet-emitter.ts'
import { PacketRing } from '../generators/linux/packet-ring.ts'
import { parseIpv4 } from '../generators/wire/address.ts'
import { Bed, type BedNode, type BedPod } from '../runner/target/bed.ts'
import { type ControlPlane, startControlPlane } from './control-plane.ts'
import { Datapath, type DatapathOptions } from './datapath.ts'

const GUARD = '239.255.255.250'
const GUARD_TIMEOUT_MS = 5_000

/** A frame as a test's tap saw it. */
export interface Sighting {
  place: string
  hex: string
  timeNs: number
}

/** For tests: nodes with pods on real namespaces, a datapath on each, and taps at every pod end and uplink. */
export class Testbed {
  readonly bed: Bed
  readonly datapaths = new Map<string, Datapath>()
  controlPlane: ControlPlane | undefined
  #guards = 0
  readonly #emitters = new Map<string, PacketEmitter>()
  readonly #rings: { ring: PacketRing; nameOf: (ifindex: number) => string | undefined }[] = []

  private constructor(bed: Bed) {
    this.bed = bed
  }

  /** `pods`: name to node. */
  static async create(pods: Record<string, string>, options: Partial<DatapathOptions> = {}): Promise<Testbed> {
    const nodes = [...new Set(Object.values(pods))]
    const topology = { nodes, pods: Object.entries(pods).map(([name, node]) => ({ name, node })) }
    const testbed = new Testbed(await Bed.create(topology))
    try {
      testbed.#openTaps()
      await testbed.load(options)
      return testbed
    } catch (error) {
      await testbed.close()
      throw error
    }
  }

  async load(options: Partial<DatapathOptions> = {}): Promise<void> {
    for (const node of this.bed.nodeList) {
      const datapath = Datapath.load({ node: { name: node.name, address: node.address }, vni: 2, ...options })
      this.datapaths.set(node.name, datapath)
      datapath.attachOverlay(node.ns, node.overlayIndex)
      datapath.attachUplink(node.ns, node.uplinkIndex)
      for (const other of this.bed.nodeList) if (other !== node) datapath.addRemoteNode(other.address, other.podNetwork)
    }
    for (const pod of this.bed.pods.values()) this.attach(pod)
    this.controlPlane = await startControlPlane([...this.datapaths.values()])
    await this.#guard()
  }

  attach(pod: BedPod): void {
    this.datapath(pod.node.name).attachPod(pod.node.ns, pod.nodeIndex, pod)
  }

  async unload(): Promise<void> {
    await this.controlPlane?.close()
    for (const datapath of this.datapaths.values()) datapath.close()
    this.datapaths.clear()
  }

  async reload(options: Partial<DatapathOptions>): Promise<void> {
    await this.unload()
    await this.load(options)
  }

  datapath(node: string): Datapath {
    return known(this.datapaths.get(node), node)
  }

  pod(name: string): BedPod {
    return known(this.bed.pods.get(name), name)
  }

  node(name: string): BedNode {
    return known(this.bed.nodes.get(name), name)
  }

  /** Every pod joins the guard group, so that a guard datagram can show that what was sent before it has arrived. */
  async #guard(): Promise<void> {
    this.enable(GUARD)
    for (const pod of this.bed.pods.keys()) this.igmp(pod, { type: 0x16, group: parseIpv4(GUARD) })
    await this.controlPlane?.settled()
  }

  enable(group: string): void {
    for (const datapath of this.datapaths.values()) datapath.enableGroup(parseIpv4(group))
  }

  /** Sends from the pod's end, with its own addresses unless the frame says otherwise. */
  send(pod: string, spec: FrameSpec): void {
    const { address, mac, nodeMac } = this.pod(pod)
    const frame = buildFrame(spec, { ethernet: { src: mac, ...unicastMac(spec, nodeMac) }, ipv4: { src: address } })
    this.sendRaw(pod, frame)
  }

  sendRaw(pod: string, frame: Uint8Array): void {
    const { ns, podIndex } = this.pod(pod)
    let emitter = this.#emitters.get(pod)
    if (!emitter) {
      emitter = new PacketEmitter(ns.fd)
      this.#emitters.set(pod, emitter)
    }
    if (!emitter.send(podIndex, frame)) throw new Error(`${pod} cannot send`)
  }

  igmp(pod: string, igmp: IgmpFields, src?: string): void {
    this.send(pod, src === undefined ? { igmp } : { igmp, ipv4: { src: parseIpv4(src) } })
  }

  udp(pod: string, group: string, text: string, more: FrameSpec['ipv4'] = {}): void {
    const ipv4 = { dst: parseIpv4(group), ...more }
    this.send(pod, { ipv4, udp: { srcPort: 4000, dstPort: 5001 }, payload: Buffer.from(text).toString('hex') })
  }

  /**
   * What arrived at any tap since the last call, oldest first, once a guard datagram that `from` sends after it has reached
   * every other pod. `n1/eth0` shows what leaves the node, a pod what reaches it.
   */
  sightings(from: string): Sighting[] {
    const seen: Sighting[] = []
    // The last octet is for the fault that changes it.
    const text = `guard ${++this.#guards} `
    const missing = new Set([...this.bed.pods.keys()].filter(pod => pod !== from && !this.deaf.has(pod)))
    const deadline = performance.now() + GUARD_TIMEOUT_MS
    while (missing.size > 0) {
      if (performance.now() > deadline) throw new Error(`the guard has not reached ${[...missing].join(', ')}`)
      this.udp(from, GUARD, text)
      this.#drain(seen)
      const wanted = Buffer.from(text).toString('hex').slice(0, -2)
      const guards = seen.filter(({ hex }) => hex.includes(wanted))
      for (const { place } of guards) missing.delete(place)
    }
    const isGuard = (hex: string) => hex.includes(Buffer.from('guard ').toString('hex'))
    return seen.filter(({ hex }) => !isGuard(hex)).sort((a, b) => a.timeNs - b.timeNs)
  }

  /** In the current namespace. */
  setLink(name: string, state: 'up' | 'down'): void {
    execFileSync('ip', ['link', 'set', name, state])
  }

  /** Pods that the guard cannot reach: those whose link is down. */
  readonly deaf = new Set<string>()

  #drain(seen: Sighting[]): void {
    for (const { ring, nameOf } of this.#rings)
      ring.drainAll((bytes, at, length, _original, seconds, nanoseconds, ifindex, direction) => {
        const place = nameOf(ifindex)
        if (place === undefined || (direction === 2) !== place.endsWith('/eth0')) return
        const hex = Buffer.from(bytes.subarray(at, at + length)).toString('hex')
        seen.push({ place, hex, timeNs: (seconds % 1000) * 1e9 + nanoseconds })
      })
  }

  /** What arrived since the last call, with no guard after it. */
  received(): Sighting[] {
    const seen: Sighting[] = []
    this.#drain(seen)
    return seen
  }

  /** What arrives from the last call on until the condition holds; no guard, for those that one would not reach. */
  async receivedUntil(holds: (seen: Sighting[]) => boolean, limitMs = GUARD_TIMEOUT_MS): Promise<Sighting[]> {
    const seen: Sighting[] = []
    const deadlineMs = performance.now() + limitMs
    for (this.#drain(seen); !holds(seen); this.#drain(seen)) {
      if (performance.now() > deadlineMs) throw new Error(`not seen within ${limitMs} ms`)
      await new Promise(resolve => setTimeout(resolve, 1))
    }
    return seen
  }

  /** Where frames that carry a text arrived, and how often. */
  arrivals(text: string, from: string): Record<string, number> {
    const wanted = Buffer.from(text).toString('hex')
    const counts: Record<string, number> = {}
    const found = this.sightings(from).filter(({ hex }) => hex.includes(wanted))
    for (const { place } of found) counts[place] = (counts[place] ?? 0) + 1
    return Object.fromEntries(Object.entries(counts).sort())
  }

  async close(): Promise<void> {
    for (const { ring } of this.#rings) ring.close()
    for (const emitter of this.#emitters.values()) emitter.close()
    await this.unload()
    await this.bed.close()
  }

  #openTaps(): void {
    for (const pod of this.bed.pods.values()) {
      const options = { netns: pod.ns, ifindex: pod.podIndex }
      this.#rings.push({
        ring: PacketRing.open(options),
        nameOf: index => (index === pod.podIndex ? pod.name : undefined),
      })
    }
    for (const node of this.bed.nodeList)
      this.#rings.push({
        ring: PacketRing.open({ netns: node.ns, ifindex: node.uplinkIndex }),
        nameOf: () => `${node.name}/eth0`,
      })
  }
}

/** Unicast goes to the gateway's MAC; a group's MAC is made by the frame builder. */
function unicastMac(spec: FrameSpec, nodeMac: number): { dst?: number } {
  const dst = spec.ipv4?.dst
  return dst !== undefined && dst >>> 28 !== 0xe ? { dst: nodeMac } : {}
}

function known<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new RangeError(`the testbed has no ${name}`)
  return value
}
