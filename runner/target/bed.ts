import { execa } from 'execa'
import { inNetns, interfaceIndex, type Netns } from '../../generators/linux/netns.ts'
import { formatIpv4, formatMac } from '../../generators/wire/address.ts'
import type { Topology } from '../suite/plan-types.ts'
import { ip, QuietNamespaces } from './namespaces.ts'

/** Above this many pods on a node its pod ends share one namespace, and one tap (ARCHITECTURE section 4). */
const SHARED_NAMESPACE_ABOVE = 64
const POD_MTU_BYTES = 1500
/** Leaves room for one level of VXLAN (50 bytes) around a full-size pod packet: nothing fragments on the underlay. */
const UNDERLAY_MTU_BYTES = 1600
/** Room for ESP, VXLAN and ESP again: the kernel would tell routes into the overlay to take less, and full-size unicast would be lost. */
const UNDERLAY_MTU_BOTH_BYTES = 1800
export const OVERLAY_UDP_PORT = 8472
/** As a pod's node: not on any node but on the wire between them, where a stranger would stand. */
export const UNDERLAY = 'underlay'
const FIRST_NODE = 0x0ae00004
/** Strangers' addresses are in the nodes' network, and no node's. */
const STRANGERS = 0x0ae0c800
export const GATEWAY = '169.254.1.1'

export interface BedNode {
  name: string
  address: number
  /** Of eth0. */
  mac: number
  ns: Netns
  uplinkIndex: number
  overlayIndex: number
  /** Of cilium_vxlan. */
  overlayMac: number
  /** Where its pods' addresses come from: /16. */
  podNetwork: number
  /** Tunnel end of unicast between pods that is encrypted before it goes into the overlay. */
  router: number
}

export interface BedPod {
  name: string
  node: BedNode
  address: number
  mac: number
  nodeMac: number
  ns: Netns
  /** Whether `ns` holds other pods as well. */
  shared: boolean
  podInterface: string
  podIndex: number
  nodeInterface: string
  nodeIndex: number
}

/**
 * Nodes, pods and the underlay between them as network namespaces, before any SUT is put in: veth pairs, a bridge that
 * does not snoop, a collect-metadata VXLAN device on every node. Quiet: no IPv6, fixed neighbours, no forwarding.
 */
export class Bed {
  readonly nodes = new Map<string, BedNode>()
  readonly pods = new Map<string, BedPod>()
  private readonly topology: Topology
  private readonly namespaces: QuietNamespaces
  private underlay: BedNode | undefined
  /** Of pods that were killed: one made anew gets its number again, the worst that a kernel may do to who remembers it. */
  private readonly formerIndices = new Map<string, number>()
  private readonly podNamespaces = new Map<string, Netns>()

  private constructor(topology: Topology, prefix: string | undefined) {
    this.topology = topology
    this.namespaces = new QuietNamespaces(prefix)
  }

  /** Brings everything up, or nothing: a failure on the way takes down what was made. */
  static async create(topology: Topology, prefix?: string): Promise<Bed> {
    const bed = new Bed(topology, prefix)
    try {
      await bed.makeNodes()
      await bed.makePods(topology.pods.map(pod => pod.name))
      return bed
    } catch (error) {
      await bed.close()
      throw error
    }
  }

  private async makeNodes(): Promise<void> {
    const underlay = await this.namespaces.make(UNDERLAY)
    this.underlay = {
      name: UNDERLAY,
      address: 0,
      mac: 0,
      ns: underlay,
      uplinkIndex: 0,
      overlayIndex: 0,
      overlayMac: 0,
      podNetwork: STRANGERS,
      router: 0,
    }
    const names = this.topology.nodes
    for (const [i, name] of names.entries()) {
      const ns = await this.namespaces.make(name)
      const address = FIRST_NODE + i
      const mac = 0x0202_0000_0000 + address
      this.nodes.set(name, {
        name,
        address,
        mac,
        ns,
        uplinkIndex: 0,
        overlayIndex: 0,
        overlayMac: 0x0204_0000_0000 + address,
        podNetwork: 0x0a010000 + (i << 16),
        router: 0x0a01fffe + (i << 16),
      })
    }
    const nodes = [...this.nodes.values()]
    const mtu = underlayMtuBytes(this.topology)
    await ip(underlay, [
      `link add br0 mtu ${mtu} type bridge mcast_snooping 0 stp_state 0`,
      'link set br0 up',
      ...nodes.flatMap((node, i) => [
        `link add u${i} mtu ${mtu} type veth peer name eth0 mtu ${mtu} address ${formatMac(node.mac)} netns ${node.ns.path}`,
        `link set u${i} master br0 up`,
      ]),
    ])
    // A bridge that has yet to learn floods: every node would see the others' tunnel packets.
    const known = nodes.map((node, i) => `fdb add ${formatMac(node.mac)} dev u${i} master static`)
    await inNetns(underlay, () => execa('bridge', ['-batch', '-'], { input: known.join('\n'), timeout: 60_000 }))
    await Promise.all(nodes.map(node => this.configureNode(node, nodes)))
  }

  private async configureNode(node: BedNode, nodes: readonly BedNode[]): Promise<void> {
    const others = nodes.filter(other => other !== node)
    await ip(node.ns, [
      'link set lo up',
      `addr add ${formatIpv4(node.address)}/16 dev eth0`,
      'link set eth0 up',
      ...others.map(
        other => `neigh add ${formatIpv4(other.address)} lladdr ${formatMac(other.mac)} dev eth0 nud permanent`,
      ),
      `link add cilium_vxlan address ${formatMac(node.overlayMac)} mtu ${POD_MTU_BYTES} type vxlan external dstport ${OVERLAY_UDP_PORT}`,
      'link set cilium_vxlan up',
    ])
    inNetns(node.ns, () => {
      node.uplinkIndex = interfaceIndex('eth0')
      node.overlayIndex = interfaceIndex('cilium_vxlan')
    })
  }

  /** Makes pods that the topology names; also one that was killed before. */
  async makePods(names: readonly string[]): Promise<BedPod[]> {
    const wanted = new Set(names)
    const made: BedPod[] = []
    const places = this.underlay ? [...this.nodes.values(), this.underlay] : []
    for (const node of places) {
      const all = this.topology.pods.filter(pod => pod.node === node.name)
      const shared = all.length > SHARED_NAMESPACE_ABOVE
      for (const [k, pod] of all.entries())
        if (wanted.has(pod.name)) made.push(await this.podOf(node, pod.name, k, shared))
    }
    await Promise.all(
      places.map(node =>
        linkPods(
          node,
          made.filter(pod => pod.node === node),
        ),
      ),
    )
    for (const pod of made) this.pods.set(pod.name, pod)
    return made
  }

  private async podOf(node: BedNode, name: string, k: number, shared: boolean): Promise<BedPod> {
    const address = node.podNetwork + k + 1
    return {
      name,
      node,
      address,
      mac: 0x0200_0000_0000 + address,
      nodeMac: 0x0201_0000_0000 + address,
      ns: await this.podNamespace(shared ? `${node.name}-pods` : name),
      shared,
      podInterface: shared ? `p${k + 1}` : 'eth0',
      podIndex: 0,
      nodeInterface: `lxc${k + 1}`,
      nodeIndex: this.formerIndices.get(name) ?? 0,
    }
  }

  private async podNamespace(name: string): Promise<Netns> {
    const known = this.podNamespaces.get(name)
    if (known) return known
    const ns = await this.namespaces.make(name)
    this.podNamespaces.set(name, ns)
    return ns
  }

  /** Abrupt: the veth goes, no leave is sent. The empty namespace stays, with the tap in it, for a pod made anew. */
  async removePod(name: string): Promise<void> {
    const pod = this.pods.get(name)
    if (!pod) return
    this.pods.delete(name)
    this.formerIndices.set(name, pod.nodeIndex)
    await ip(pod.node.ns, [`link del ${pod.nodeInterface}`])
  }

  get nodeList(): BedNode[] {
    return [...this.nodes.values()]
  }

  /** Pods that a node has, and the SUT serves; the others are strangers on the underlay. */
  get servedPods(): BedPod[] {
    return [...this.pods.values()].filter(pod => pod.node.name !== UNDERLAY)
  }

  async close(): Promise<void> {
    this.pods.clear()
    this.nodes.clear()
    await this.namespaces.close()
  }
}

function underlayMtuBytes({ encryption }: Topology): number {
  const { mode = 'overlay-in-esp' } = encryption ?? {}
  return mode === 'overlay-in-esp' ? UNDERLAY_MTU_BYTES : UNDERLAY_MTU_BOTH_BYTES
}

async function linkPods(node: BedNode, pods: readonly BedPod[]): Promise<void> {
  if (pods.length === 0) return
  const stranger = node.name === UNDERLAY
  const mtu = `mtu ${stranger ? UNDERLAY_MTU_BYTES : POD_MTU_BYTES}`
  await ip(
    node.ns,
    pods.flatMap(pod => [
      `link add ${pod.nodeInterface} ${pod.nodeIndex > 0 ? `index ${pod.nodeIndex} ` : ''}address ${formatMac(pod.nodeMac)} ${mtu} type veth peer name ${pod.podInterface} address ${formatMac(pod.mac)} ${mtu} netns ${pod.ns.path}`,
      `link set ${pod.nodeInterface} ${stranger ? 'master br0 ' : ''}up`,
    ]),
  )
  const shared = pods.filter(pod => pod.shared)
  if (shared[0]) await ip(shared[0].ns, ['link set lo up', ...shared.map(pod => `link set ${pod.podInterface} up`)])
  await Promise.all(pods.filter(pod => !pod.shared).map(configurePod))
  for (const pod of pods)
    inNetns(pod.ns, () => {
      pod.podIndex = interfaceIndex(pod.podInterface)
    })
  inNetns(node.ns, () => {
    for (const pod of pods) pod.nodeIndex = interfaceIndex(pod.nodeInterface)
  })
}

async function configurePod(pod: BedPod): Promise<void> {
  await ip(pod.ns, [
    'link set lo up',
    `addr add ${formatIpv4(pod.address)}/32 dev eth0`,
    'link set eth0 up',
    `route add ${GATEWAY} dev eth0 scope link`,
    `neigh add ${GATEWAY} lladdr ${formatMac(pod.nodeMac)} dev eth0 nud permanent`,
    `route add default via ${GATEWAY} dev eth0`,
  ])
}
