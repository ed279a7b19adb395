import { type ControlPlane, startControlPlane } from '../../bpf/control-plane.ts'
import type { Published } from '../../bpf/control-plane-process.ts'
import { Datapath, GroupLimitError } from '../../bpf/datapath.ts'
import type { SubscriberTable } from '../../bpf/subscribers.ts'
import { type Netns, openNetns } from '../../generators/linux/netns.ts'
import { formatIpv4 } from '../../generators/wire/address.ts'
import {
  addPeerRoute,
  findUplink,
  makeOverlay,
  markReady,
  type PodNetwork,
  podMtuBytes,
  removeOverlay,
  removePeerRoute,
  type Uplink,
} from './node-network.ts'
import { PodAddresses } from './pod-addresses.ts'
import {
  addPod,
  faultOfPod,
  listPods,
  nodeInterfaceOf,
  type PodInterface,
  removePod,
  removeUnfinished,
} from './pod-interface.ts'

/** Cilium's identity `world`: what its multicast puts into the VNI. */
export const VNI = 2

export interface NodeIdentity {
  name: string
  address: number
  pods: PodNetwork
}

/** Another node of the cluster, as it has published itself. */
export interface NodePeer {
  address: number
  pods: PodNetwork
  groups: Published['groups']
}

/**
 * The reference datapath on a node of a cluster: pods come and go by CNI calls, groups and other nodes by what the API
 * server says. One change at a time. What it attached goes with `close`; pods keep their veth.
 */
export class CniNode {
  readonly identity: NodeIdentity
  readonly uplink: Uplink
  readonly #ns: Netns
  readonly #onNews: () => void
  #overlayIndex: number
  #addresses: PodAddresses
  #datapath: Datapath | undefined
  #controlPlane: ControlPlane | undefined
  #faults: readonly string[] = []
  #groups: readonly number[] = []
  #peers: readonly NodePeer[] = []
  /** ifindex of each attached pod, for one whose veth is gone before its DEL comes. */
  readonly #attached = new Map<string, number>()
  #last: Promise<unknown> = Promise.resolve()

  private constructor(identity: NodeIdentity, uplink: Uplink, ns: Netns, overlayIndex: number, onNews: () => void) {
    this.identity = identity
    this.uplink = uplink
    this.#ns = ns
    this.#overlayIndex = overlayIndex
    this.#onNews = onNews
    this.#addresses = new PodAddresses(identity.pods)
  }

  /** In the network namespace of the caller. `onNews`: what `published` says has changed. */
  static async start(identity: NodeIdentity, faults: readonly string[], onNews: () => void): Promise<CniNode> {
    const ns = openNetns('/proc/thread-self/ns/net')
    try {
      const uplink = await findUplink(ns, identity.address)
      await removeUnfinished(ns)
      const overlayIndex = await makeOverlay(ns, identity.address, identity.pods, podMtuBytes(uplink))
      const node = new CniNode(identity, uplink, ns, overlayIndex, onNews)
      node.#addresses = new PodAddresses(
        identity.pods,
        (await listPods(ns)).map(pod => pod.address),
      )
      await node.#load(faults)
      return node
    } catch (error) {
      await removeOverlay(ns)
      ns.close()
      throw error
    }
  }

  get faults(): readonly string[] {
    return this.#faults
  }

  pods(): Promise<PodInterface[]> {
    return listPods(this.#ns)
  }

  /** A pod that has its interface already gets the same answer again. */
  add(containerId: string, ifName: string, netnsPath: string): Promise<PodInterface> {
    return this.#inTurn(async () => {
      const pods = await listPods(this.#ns)
      const known = pods.find(pod => pod.containerId === containerId && pod.ifName === ifName)
      if (known) return known
      const address = this.#addresses.take(new Set(pods.map(pod => pod.address)))
      if (address === undefined) throw new Error(`no address is free in ${this.identity.pods.text}`)
      const pod = await this.#make(containerId, ifName, address, netnsPath)
      this.#attach(this.#live(), pod)
      return pod
    })
  }

  #attach(datapath: Datapath, pod: PodInterface): void {
    datapath.attachPod(this.#ns, pod.ifindex, pod)
    this.#attached.set(keyOf(pod), pod.ifindex)
  }

  async #make(containerId: string, ifName: string, address: number, netnsPath: string): Promise<PodInterface> {
    const podNs = openNetns(netnsPath)
    try {
      const mtuBytes = podMtuBytes(this.uplink)
      return await addPod(this.#ns, podNs, {
        containerId,
        ifName,
        address,
        mtuBytes,
        nodeAddress: this.identity.address,
      })
    } finally {
      podNs.close()
    }
  }

  /** Nothing to remove is as good as removed. */
  remove(containerId: string, ifName: string): Promise<void> {
    return this.#inTurn(async () => {
      await removePod(this.#ns, nodeInterfaceOf(containerId, ifName))
      const key = keyOf({ containerId, ifName })
      const ifindex = this.#attached.get(key)
      if (ifindex !== undefined) this.#live().detachPod(ifindex)
      this.#attached.delete(key)
    })
  }

  /** What is wrong with a pod that was added; undefined: nothing. */
  check(containerId: string, ifName: string, netnsPath: string): Promise<string | undefined> {
    return this.#inTurn(async () => {
      const pod = (await listPods(this.#ns)).find(one => one.containerId === containerId && one.ifName === ifName)
      if (!pod) return `no interface ${ifName} of ${containerId} was added here`
      const podNs = openNetns(netnsPath)
      try {
        return await faultOfPod(podNs, pod)
      } finally {
        podNs.close()
      }
    })
  }

  /** Makes the enabled groups these and no others; answers those that are refused for their number. */
  setGroups(groups: readonly number[]): Promise<number[]> {
    return this.#inTurn(async () => {
      this.#groups = groups
      return this.#applyGroups()
    })
  }

  #applyGroups(): number[] {
    const datapath = this.#live()
    for (const group of datapath.groups()) if (!this.#groups.includes(group)) datapath.disableGroup(group)
    return this.#groups.filter(group => !enable(datapath, group))
  }

  /** All other nodes, as they are now. */
  setPeers(peers: readonly NodePeer[]): Promise<void> {
    return this.#inTurn(async () => {
      const before = this.#peers
      this.#peers = peers
      const gone = before.filter(old => !peers.some(peer => sameNetwork(peer, old)))
      for (const peer of gone) await removePeerRoute(this.#ns, peer)
      for (const peer of peers.filter(peer => !before.some(old => sameNetwork(peer, old)))) {
        await addPeerRoute(this.#ns, this.identity.pods, VNI, peer)
        this.#live().addRemoteNode(peer.address, [])
      }
      await this.#tellPeers()
      for (const { address } of gone)
        if (!peers.some(peer => peer.address === address)) this.#live().removeRemoteNode(address)
    })
  }

  async #tellPeers(): Promise<void> {
    await this.#controlPlane?.setPeers(this.#peers.map(({ address, groups }) => ({ address, groups })))
  }

  /** What this node tells the others: its groups with members. */
  published(): Promise<Published['groups']> {
    return this.#inTurn(async () => (await this.#controlPlane?.published())?.[0]?.groups ?? [])
  }

  /** Exchanges the programs: memberships are forgotten, as after a restart of the agent. */
  setFaults(faults: readonly string[]): Promise<void> {
    return this.#inTurn(async () => {
      await this.#unload()
      await this.#load(faults)
    })
  }

  /** The control plane dies and starts anew from the node's maps. */
  restartControlPlane(): Promise<void> {
    return this.#inTurn(async () => this.#controlPlane?.restart(this.identity.name))
  }

  tables(): SubscriberTable[] {
    return this.#live().subscribers()
  }

  drops(): Record<string, number> {
    return this.#live().drops()
  }

  /** Takes everything off the node but the veths of pods that are still there; those go with their pods. */
  close(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#unload()
      await removeOverlay(this.#ns)
      this.#ns.close()
    })
  }

  async #load(faults: readonly string[]): Promise<void> {
    const { name, address } = this.identity
    const datapath = Datapath.load({ node: { name, address }, vni: VNI, faults, unicastByKernel: true })
    this.#datapath = datapath
    this.#faults = faults
    datapath.attachOverlay(this.#ns, this.#overlayIndex)
    datapath.attachUplink(this.#ns, this.uplink.index)
    for (const peer of this.#peers) datapath.addRemoteNode(peer.address, [])
    this.#attached.clear()
    for (const pod of await listPods(this.#ns)) this.#attach(datapath, pod)
    this.#applyGroups()
    this.#controlPlane = await startControlPlane([datapath], this.#onNews)
    await this.#tellPeers()
    await markReady(this.#ns, true)
  }

  async #unload(): Promise<void> {
    await markReady(this.#ns, false)
    await this.#controlPlane?.close()
    this.#controlPlane = undefined
    this.#datapath?.close()
    this.#datapath = undefined
  }

  #live(): Datapath {
    if (!this.#datapath) throw new Error(`the datapath of ${this.identity.name} is not loaded`)
    return this.#datapath
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => {})
    return result
  }
}

function keyOf({ containerId, ifName }: { containerId: string; ifName: string }): string {
  return `${containerId}/${ifName}`
}

function enable(datapath: Datapath, group: number): boolean {
  try {
    datapath.enableGroup(group)
    return true
  } catch (error) {
    if (error instanceof GroupLimitError) return false
    throw error
  }
}

function sameNetwork(one: NodePeer, other: NodePeer): boolean {
  return one.address === other.address && one.pods.text === other.pods.text
}

/** For messages and resources. */
export function groupAddresses(groups: Published['groups']): string[] {
  return groups
    .map(([group]) => group)
    .sort((a, b) => a - b)
    .map(formatIpv4)
}
