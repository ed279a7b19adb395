import { AgentConnection, type ConnectionWanted } from '../agent/connection.ts'
import type { Capability } from '../probe.ts'
import type { RoundTrip } from '../run-directory.ts'
import type { Topology } from '../suite/plan-types.ts'
import { capability } from './exec.ts'
import { claimCluster, removePods, removeRun } from './kubernetes/claim.ts'
import { type Cluster, readCluster } from './kubernetes/cluster.ts'
import { cniText } from './kubernetes/cni.ts'
import { controlOf } from './kubernetes/cni-agents.ts'
import { healthOf, healthText } from './kubernetes/health.ts'
import { type Kubectl, kubectlFor } from './kubernetes/kubectl.ts'
import { type PodWanted, podManifest, RUN_NAME, SELECTOR } from './kubernetes/manifests.ts'
import { hasEnded, type Pod, untilReady } from './kubernetes/pods.ts'
import { NEVER_REMOTE, type RemoteNode, type RemotePod, RemoteSite } from './remote-site.ts'
import { placesFor, refusalOf } from './remote-topology.ts'
import type { BringUpOptions, Site, Target, TargetOptions } from './target.ts'

export const DEFAULT_IMAGE = 'localhost/castproof:dev'
const MOST_PODS_PER_NODE = 12
const POD_INTERFACE = 'eth0'
const AGENT_TRIES = 3

/** Any network of any cluster, by kubectl: pods of ours in a namespace of ours, an agent in each. */
export function kubernetesTarget(given: string | undefined, { image, tell = () => {} }: TargetOptions): Target {
  return new KubernetesTarget(kubectlFor(given), image ?? DEFAULT_IMAGE, tell)
}

class KubernetesTarget implements Target {
  readonly name = 'kubernetes'
  private readonly kubectl: Kubectl
  private readonly image: string
  private readonly tell: (line: string) => void
  private cluster: Cluster | undefined
  private isClaimed = false
  private readonly agents = new Map<string, Promise<AgentConnection>>()
  private isHealthTold = false

  constructor(kubectl: Kubectl, image: string, tell: (line: string) => void) {
    this.kubectl = kubectl
    this.image = image
    this.tell = tell
  }

  get description(): string {
    if (!this.cluster) return 'a Kubernetes cluster'
    const { serverVersion, cni, nodes } = this.cluster
    return `Kubernetes ${serverVersion}, ${nodes.length} nodes, network ${cniText(cni)}`
  }

  get product(): string | undefined {
    return this.cluster?.cni.name
  }

  /** Nothing of this machine but kubectl, which shows when it is used. */
  async probe(): Promise<Capability[]> {
    return []
  }

  async capabilities(stop: AbortSignal): Promise<Capability[]> {
    this.cluster = await readCluster(this.kubectl)
    for (const reason of this.cluster.refused) this.tell(reason)
    const { cni, nodes } = this.cluster
    const first: PodWanted = { name: 'probe-1-1', node: nodes[0]?.name ?? '', kind: 'probe' }
    await this.create([first, ...this.tapPods(nodes.map(({ name }) => name))], stop)
    const [{ hello }, ...remote] = await Promise.all([
      this.agent(first.name, stop),
      ...nodes.map(({ name }) => this.node(name, name, stop)),
    ])
    const mtuBytes = hello.interfaces.find(({ name }) => name === POD_INTERFACE)?.mtuBytes ?? 0
    const given: Record<string, [boolean, string]> = {
      tables: [cni.agents !== undefined, `tables of network ${cni.name} cannot be read`],
      drops: [cni.name === 'castproof-reference', `network ${cni.name} counts no drops by reason that can be read`],
      'group-control': [cni.groups !== 'none', `network ${cni.name} knows no list of groups`],
      metrics: [false, `metrics of network ${cni.name} are not scraped`],
      'mtu-1500': [mtuBytes >= 1500, `packets of pods may have ${mtuBytes} octets`],
      'many-groups': [false, 'a thousand groups, one after the other, take it half an hour'],
      uplink: [remote.every(({ uplink }) => uplink !== undefined), 'some node has no device with its address'],
      overlay: [
        this.overlayOf(remote) !== undefined,
        'the nodes have no VXLAN device with one VNI that could be looked at',
      ],
      ping: [false, 'the probe image has no ping'],
      http: [false, 'the probe image has no HTTP server and client'],
      socat: [true, ''],
      tcpdump: [true, ''],
    }
    return [
      ...Object.entries(given).map(([name, [ok, found]]) => capability(name, ok, found)),
      ...Object.entries(NEVER_REMOTE).map(([name, found]) => capability(name, false, found)),
    ]
  }

  refusal(topology: Topology): string | undefined {
    return refusalOf(topology, this.slots(), 'the cluster')
  }

  /** Names that pods have or would have, by node. */
  private slots(): Map<string, string[]> {
    const nodes = this.cluster?.nodes ?? []
    const k = Array.from({ length: MOST_PODS_PER_NODE }, (_, i) => i + 1)
    return new Map(nodes.map(({ name }, i) => [name, k.map(number => `probe-${i + 1}-${number}`)]))
  }

  async bringUp(topology: Topology, _options: BringUpOptions, stop: AbortSignal): Promise<Site> {
    const cluster = this.cluster ?? (await readCluster(this.kubectl))
    this.cluster = cluster
    const places = placesFor(topology, this.slots())
    const nodeOf = new Map(places.nodes.map(({ name, place }) => [name, place]))
    const pods = places.pods.map(
      ({ place, node }): PodWanted => ({ name: place, node: nodeOf.get(node) ?? '', kind: 'probe' }),
    )
    await this.create([...pods, ...this.tapPods([...nodeOf.values()])], stop)
    const control = await controlOf(this.kubectl, cluster.cni, places.nodes)
    const [remotePods, remoteNodes] = await Promise.all([
      Promise.all(places.pods.map(({ name, node, place }) => this.pod(name, node, place, stop))),
      Promise.all(places.nodes.map(({ name, place }) => this.node(name, place, stop))),
    ])
    const overlay = this.overlayOf(remoteNodes)
    const health = await this.healthOf(remoteNodes, remotePods)
    return RemoteSite.create({
      nodes: remoteNodes,
      pods: remotePods,
      ...(overlay === undefined ? {} : { overlay }),
      control,
      health,
      withoutTcp: { nodes: true, pods: false },
      done: () => control.close(),
    })
  }

  private tapPods(nodes: readonly string[]): PodWanted[] {
    return nodes.map(node => ({ name: this.tapPod(node), node, kind: 'tap' }))
  }

  private tapPod(node: string): string {
    return `tap-${(this.cluster?.nodes.findIndex(({ name }) => name === node) ?? 0) + 1}`
  }

  private async create(wanted: readonly PodWanted[], stop: AbortSignal): Promise<void> {
    if (!this.isClaimed) await claimCluster(this.kubectl, this.tell, stop)
    this.isClaimed = true
    const there = await this.kubectl.list<Pod>('pods', ['-n', RUN_NAME, '-l', SELECTOR])
    const ended = there.filter(hasEnded).map(({ metadata }) => metadata.name)
    if (ended.length > 0) await removePods(this.kubectl, ended)
    const standing = new Set(there.filter(pod => !hasEnded(pod)).map(({ metadata }) => metadata.name))
    const missing = wanted.filter(({ name }) => !standing.has(name))
    if (missing.length > 0) await this.kubectl.create(missing.map(pod => podManifest(pod, this.image)))
    const names = wanted.map(({ name }) => name)
    await untilReady(this.kubectl, { names, tell: this.tell }, stop)
  }

  private async pod(name: string, node: string, place: string, stop: AbortSignal): Promise<RemotePod> {
    return { name, node, agent: await this.agent(place, stop), interface: POD_INTERFACE }
  }

  private async node(name: string, place: string, stop: AbortSignal): Promise<RemoteNode> {
    const agent = await this.agent(this.tapPod(place), stop)
    const address = this.cluster?.nodes.find(item => item.name === place)?.address ?? ''
    const uplink = agent.hello.interfaces.find(({ addresses }) => addresses.includes(address))?.name
    const overlay = this.overlayDevice(agent)
    return {
      name,
      agent,
      address,
      ...(uplink === undefined ? {} : { uplink }),
      ...(overlay === undefined ? {} : { overlay }),
    }
  }

  private overlayDevice({ hello }: AgentConnection): string | undefined {
    const known = this.cluster?.cni.overlayDevice
    const devices = hello.interfaces.filter(({ vxlan, up }) => vxlan !== undefined && up)
    return (devices.find(({ name }) => name === known) ?? devices[0])?.name
  }

  private overlayOf(nodes: readonly RemoteNode[]): { udpPort: number; vni: number } | undefined {
    const [first] = nodes
    const device = first?.agent.hello.interfaces.find(({ name }) => name === first.overlay)
    if (nodes.some(({ overlay }) => overlay === undefined) || device?.vxlan?.udpPort === undefined) return undefined
    const vni = device.vxlan.vni || this.cluster?.cni.overlayVni
    return vni === undefined ? undefined : { udpPort: device.vxlan.udpPort, vni }
  }

  /** One that was lost is started anew. */
  private async agent(pod: string, stop: AbortSignal): Promise<AgentConnection> {
    const known = this.agents.get(pod)
    const agent = known && (await known)
    if (agent && !agent.isLost) return agent
    const command = this.kubectl.words('exec', '-i', '-n', RUN_NAME, pod, '--', 'castproof', 'agent')
    const opening = this.openAgent({ label: `pod ${pod}`, command }, stop)
    this.agents.set(pod, opening)
    return opening
  }

  /** A busy node's runtime may fail to start it. */
  private async openAgent(wanted: ConnectionWanted, stop: AbortSignal): Promise<AgentConnection> {
    for (let tries = 1; ; tries++) {
      try {
        return await AgentConnection.open(wanted, stop)
      } catch (error) {
        if (tries === AGENT_TRIES || stop.aborted) throw error
      }
    }
  }

  /** Told once: the first site has places on every node. */
  private async healthOf(nodes: readonly RemoteNode[], pods: readonly RemotePod[]): Promise<RoundTrip[]> {
    const podPlaces = pods.map(({ name, agent }) => ({ name, agent, address: addressOf(agent) }))
    const health = await healthOf([...nodes, ...podPlaces])
    if (!this.isHealthTold) this.tell(healthText(health))
    this.isHealthTold = true
    return health
  }

  async close(): Promise<void> {
    const agents = await Promise.allSettled(this.agents.values())
    this.agents.clear()
    await Promise.all(agents.map(agent => (agent.status === 'fulfilled' ? agent.value.close() : undefined)))
    if (this.isClaimed) await this.remove()
  }

  /** What stays is named. */
  private async remove(): Promise<void> {
    try {
      await removeRun(this.kubectl)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      this.tell(
        `namespace ${RUN_NAME} is still in the cluster (${why}); the next run removes it, or kubectl delete namespace ${RUN_NAME}`,
      )
    }
  }
}

function addressOf(agent: AgentConnection): string {
  return agent.hello.interfaces.find(({ name }) => name === POD_INTERFACE)?.addresses[0] ?? ''
}
