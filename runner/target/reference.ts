import { type ControlPlane, startControlPlane } from '../../bpf/control-plane.ts'
import { Datapath, type DatapathOptions, GroupLimitError } from '../../bpf/datapath.ts'
import { socketFaultsOf } from '../../bpf/socket-faults.ts'
import { DIRECTION } from '../../captures/record.ts'
import { Tap } from '../../captures/tap.ts'
import type { Netns } from '../../generators/linux/netns.ts'
import { IP_PROTOCOL } from '../../generators/wire/ipv4.ts'
import type { SiteMap } from '../check/check.ts'
import { LocalEndpoint } from '../endpoint-local.ts'
import type { GroupTable } from '../observation.ts'
import { type Capability, probe } from '../probe.ts'
import type { SysctlName, Topology } from '../suite/plan-types.ts'
import { Bed, type BedNode, type BedPod, OVERLAY_UDP_PORT, UNDERLAY } from './bed.ts'
import { Encryption } from './encryption.ts'
import { Wrongs } from './encryption-faults.ts'
import { EspReplay, type Stranger } from './esp-replay.ts'
import { LocalTap } from './local-tap.ts'
import { setDeviceUp } from './namespaces.ts'
import { labelsOf, NodeMetricsOfBed } from './reference-metrics.ts'
import type { SiteTap } from './site-tap.ts'
import { Sysctls } from './sysctls.ts'
import type { BringUpOptions, Site, TapsWanted, Target } from './target.ts'
import { witnessCounters } from './witness.ts'

/** Cilium's identity `world`: what its multicast puts into the VNI (facts of the founding walk-through). */
const VNI = 2
const IP_PROTOCOL_AT = 14 + 9

/** The bundled eBPF datapath on nodes that are network namespaces. Needs root, BPF and Linux 6.1. */
export const reference: Target = {
  name: 'reference',
  description: `castproof reference datapath (eBPF, tc), VXLAN on UDP ${OVERLAY_UDP_PORT}, VNI ${VNI}`,
  async probe(): Promise<Capability[]> {
    return (await probe()).filter(capability => capability.neededFor.includes('reference'))
  },
  bringUp: (topology, options, stop) => bringUp(topology, options, stop, {}),
}

/** For tests: the same site with the datapath's programs loaded and attached nowhere. Nothing that judges it may pass. */
export function bringUpDetached(topology: Topology, stop: AbortSignal): Promise<Site> {
  return bringUp(topology, { faults: [] }, stop, { detached: true })
}

async function bringUp(
  topology: Topology,
  options: BringUpOptions,
  stop: AbortSignal,
  datapath: Partial<DatapathOptions>,
): Promise<Site> {
  const bed = await Bed.create(topology, options.prefix)
  const site = new ReferenceSite(
    bed,
    { ...datapath, ...(topology.querier ? { querier: topology.querier } : {}) },
    topology,
  )
  try {
    stop.throwIfAborted()
    await site.encryption?.prepare()
    await site.load(options.faults)
    return site
  } catch (error) {
    await site.close()
    throw error
  }
}

class ReferenceSite implements Site {
  private readonly bed: Bed
  private readonly datapaths = new Map<string, Datapath>()
  private readonly endpoints = new Map<string, LocalEndpoint>()
  private readonly killed = new Set<string>()
  private readonly sysctls = new Sysctls()
  readonly encryption: Encryption | undefined
  readonly replay: EspReplay | undefined
  private readonly wantsMetrics: boolean
  private served: NodeMetricsOfBed | undefined
  private readonly down = new Map<string, { pod: string } | { node: string }>()
  private readonly options: Partial<DatapathOptions>
  private controlPlane: ControlPlane | undefined

  constructor(bed: Bed, options: Partial<DatapathOptions>, { encryption, metrics }: Topology) {
    this.bed = bed
    this.options = options
    this.wantsMetrics = metrics ?? false
    const setRouter = (node: string, address: number) => this.datapath(node).setRouter(address)
    this.encryption = encryption && new Encryption(bed.nodeList, encryption, { vni: VNI, setRouter })
    this.replay = encryption && new EspReplay(bed.nodes, pod => this.stranger(pod))
  }

  get map(): SiteMap {
    return {
      nodes: this.bed.nodeList.map(node => ({
        name: node.name,
        address: node.address,
        mac: node.mac,
        ...(this.encryption ? { routerAddress: node.router } : {}),
        uplinkTap: `${node.name}/eth0`,
        overlayTap: `${node.name}/cilium_vxlan`,
      })),
      pods: [...this.bed.pods.values()].map(podOfMap),
      overlay: { udpPort: OVERLAY_UDP_PORT, vni: VNI },
      ...(this.encryption ? { encryption: this.encryption.options } : {}),
    }
  }

  /** Loads a datapath for each node, attaches it everywhere, and starts what keeps the nodes in step. */
  async load(allFaults: readonly string[]): Promise<void> {
    const ofSockets = socketFaultsOf(allFaults)
    const faults = Wrongs.ofDatapath(allFaults).filter(name => !ofSockets.includes(name))
    for (const node of this.bed.nodeList) {
      const { name, address } = node
      const datapath = Datapath.load({ ...this.options, node: { name, address }, vni: VNI, faults })
      this.datapaths.set(node.name, datapath)
      datapath.attachOverlay(node.ns, node.overlayIndex)
      datapath.attachUplink(node.ns, node.uplinkIndex)
      for (const other of this.bed.nodeList) if (other !== node) datapath.addRemoteNode(other.address, other.podNetwork)
    }
    for (const pod of this.bed.servedPods) this.attach(pod)
    this.controlPlane = await startControlPlane([...this.datapaths.values()])
    if (this.wantsMetrics) this.served = await NodeMetricsOfBed.start(this.bed, this.datapaths, ofSockets)
    await this.encryption?.install(allFaults)
  }

  private attach(pod: BedPod): void {
    this.datapath(pod.node.name).attachPod(pod.node.ns, pod.nodeIndex, {
      address: pod.address,
      mac: pod.mac,
      nodeMac: pod.nodeMac,
    })
  }

  private async unload(attached: 'detached' | 'kept'): Promise<void> {
    await this.served?.close()
    this.served = undefined
    await this.controlPlane?.close()
    this.controlPlane = undefined
    for (const datapath of this.datapaths.values()) datapath.close(attached)
    this.datapaths.clear()
  }

  async setFaults(faults: readonly string[]): Promise<void> {
    // What endpoints have reported, the new programs do not know: an endpoint that took itself for a member would be none.
    for (const endpoint of this.endpoints.values()) await endpoint.close()
    this.endpoints.clear()
    await this.unload('detached')
    await this.load(faults)
  }

  endpoint(name: string): LocalEndpoint {
    const known = this.endpoints.get(name)
    if (known) return known
    const endpoint = new LocalEndpoint(this.pod(name))
    this.endpoints.set(name, endpoint)
    return endpoint
  }

  private stranger(name: string): Stranger {
    return { mac: this.pod(name).mac, inject: frames => this.endpoint(name).inject(frames) }
  }

  async openTaps({ directory, prefix }: TapsWanted): Promise<SiteTap[]> {
    const places = new Map<Netns, { place: string; nameOf: (ifindex: number) => string | undefined }>()
    for (const node of this.bed.nodeList)
      places.set(node.ns, { place: node.name, nameOf: index => this.nodeTapName(node, index) })
    for (const pod of this.bed.pods.values()) {
      if (!places.has(pod.node.ns))
        places.set(pod.node.ns, { place: pod.node.name, nameOf: index => this.nodeTapName(pod.node, index) })
      const place = pod.shared ? `${pod.node.name}-pods` : pod.name
      places.set(pod.ns, { place, nameOf: index => this.podTapName(pod.ns, index) })
    }
    const taps = [...places].map(([ns, { place, nameOf }]) =>
      Tap.open({ ns, nameOf, directory, file: `taps/${prefix}-${place}.pcapng` }),
    )
    if (this.options.querier)
      for (const tap of taps) tap.watch((frame, name, direction) => this.hear(frame, name, direction))
    if (this.replay)
      for (const tap of taps) tap.watch((frame, name, direction) => this.replay?.hear(frame, name, direction))
    return taps.map(tap => new LocalTap(tap))
  }

  /** Emulated hosts hear the querier through the tap at their pod. */
  private hear(frame: Uint8Array, tapName: string, direction: number): void {
    if (direction === DIRECTION.in && frame[IP_PROTOCOL_AT] === IP_PROTOCOL.IGMP)
      this.endpoints.get(podOfTap(tapName))?.heard(frame)
  }

  private nodeTapName(node: BedNode, index: number): string | undefined {
    if (index === node.uplinkIndex) return `${node.name}/eth0`
    if (index === node.overlayIndex) return `${node.name}/cilium_vxlan`
    for (const pod of this.bed.pods.values()) if (pod.node === node && pod.nodeIndex === index) return nodeTap(pod)
    return undefined
  }

  private podTapName(ns: Netns, index: number): string | undefined {
    for (const pod of this.bed.pods.values()) if (pod.ns === ns && pod.podIndex === index) return podTap(pod)
    return undefined
  }

  async enableGroup(node: string, group: number): Promise<void> {
    this.datapath(node).enableGroup(group)
  }

  async tryEnableGroup(node: string, group: number): Promise<boolean> {
    try {
      await this.enableGroup(node, group)
      return true
    } catch (error) {
      if (error instanceof GroupLimitError) return false
      throw error
    }
  }

  async disableGroup(node: string, group: number): Promise<void> {
    this.datapath(node).disableGroup(group)
  }

  async tables(node: string): Promise<GroupTable[]> {
    return this.datapath(node).subscribers()
  }

  async drops(node: string): Promise<Record<string, number>> {
    return this.datapath(node).drops()
  }

  async metrics(node: string): Promise<string> {
    if (!this.served) throw new RangeError('the topology asks for no metrics')
    return this.served.read(node)
  }

  async witness(): Promise<Record<string, number>> {
    return witnessCounters(this.bed.nodes.values())
  }

  async setLink(what: { pod: string } | { node: string }, up: boolean): Promise<void> {
    const [ns, name] =
      'pod' in what ? [this.pod(what.pod).node.ns, this.pod(what.pod).nodeInterface] : [this.node(what.node).ns, 'eth0']
    await setDeviceUp(ns, name, up)
    const key = 'pod' in what ? `pod ${what.pod}` : `node ${what.node}`
    if (up) this.down.delete(key)
    else this.down.set(key, what)
  }

  setSysctl(place: { pod: string } | { node: string }, device: string, name: SysctlName, value: number): void {
    const { ns } = 'pod' in place ? this.pod(place.pod) : this.node(place.node)
    this.sysctls.set(ns, device, name, value)
  }

  async kill(name: string): Promise<void> {
    const pod = this.pod(name)
    await this.endpoints.get(name)?.close()
    this.endpoints.delete(name)
    this.killed.add(name)
    await this.bed.removePod(name)
    this.datapath(pod.node.name).detachPod(pod.nodeIndex)
  }

  async restore(): Promise<boolean> {
    const changed = this.killed.size > 0 || this.down.size > 0
    this.sysctls.restore()
    await this.encryption?.restore()
    for (const what of [...this.down.values()]) await this.setLink(what, true)
    await this.makeAnew([...this.killed])
    return changed
  }

  revive(name: string): Promise<void> {
    return this.makeAnew([name].filter(pod => this.killed.has(pod)))
  }

  private async makeAnew(names: readonly string[]): Promise<void> {
    if (names.length === 0) return
    for (const pod of await this.bed.makePods(names)) {
      this.attach(pod)
      this.killed.delete(pod.name)
    }
  }

  async restartAgent(node: string): Promise<void> {
    await this.controlPlane?.restart(node)
    await this.served?.restart(node)
    await this.encryption?.restartAgent(node)
  }

  unreachable(): ReadonlySet<string> {
    const gone = new Set(this.killed)
    for (const pod of this.bed.pods.values()) if (pod.node.name === UNDERLAY) gone.add(pod.name)
    for (const what of this.down.values()) {
      if ('pod' in what) gone.add(what.pod)
      else for (const pod of this.bed.pods.values()) if (pod.node.name === what.node) gone.add(pod.name)
    }
    return gone
  }

  async close(): Promise<void> {
    for (const endpoint of this.endpoints.values()) await endpoint.close()
    await this.unload('kept')
    await this.encryption?.close()
    await this.bed.close()
  }

  private pod(name: string): BedPod {
    const pod = this.bed.pods.get(name)
    if (!pod) throw new RangeError(`the site has no pod ${name}`)
    return pod
  }

  private node(name: string): BedNode {
    const node = this.bed.nodes.get(name)
    if (!node) throw new RangeError(`the site has no node ${name}`)
    return node
  }

  private datapath(node: string): Datapath {
    const datapath = this.datapaths.get(node)
    if (!datapath) throw new RangeError(`no datapath is loaded on ${node}`)
    return datapath
  }
}

function podOfMap(pod: BedPod): SiteMap['pods'][number] {
  return {
    name: pod.name,
    node: pod.node.name,
    address: pod.address,
    mac: pod.mac,
    gatewayMac: pod.nodeMac,
    podTap: podTap(pod),
    labels: labelsOf(pod),
    nodeTap: nodeTap(pod),
  }
}

function podTap(pod: BedPod): string {
  return `${pod.name}/eth0`
}

function podOfTap(tapName: string): string {
  return tapName.slice(0, tapName.indexOf('/'))
}

function nodeTap(pod: BedPod): string {
  return `${pod.node.name}/lxc_${pod.name}`
}
