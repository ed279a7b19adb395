import { readFileSync } from 'node:fs'
import { parseIpv4, parseMac } from '../../generators/wire/address.ts'
import { AgentClocks } from '../agent/clocks.ts'
import type { AgentConnection } from '../agent/connection.ts'
import type { AgentInterface } from '../agent/protocol.ts'
import { RemoteEndpoint } from '../agent/remote-endpoint.ts'
import { RemoteTap } from '../agent/remote-tap.ts'
import type { NodeSite, PodSite, SiteMap } from '../check/check.ts'
import type { Endpoint } from '../endpoint.ts'
import type { GroupTable } from '../observation.ts'
import type { ClockRecord, RoundTrip } from '../run-directory.ts'
import { Unsupported } from '../unsupported.ts'
import type { SiteTap } from './site-tap.ts'
import type { Site, TapsWanted } from './target.ts'

/** A node by the name that suites use for it. */
export interface RemoteNode {
  name: string
  agent: AgentConnection
  uplink?: string
  overlay?: string
  /** Of the node; dotted. */
  address: string
}

/** A pod by the name that suites use for it. */
export interface RemotePod {
  name: string
  node: string
  agent: AgentConnection
  interface: string
  /** What the SUT's metrics call it. */
  label?: string
}

/** Tables and groups of a SUT that is somewhere else; `node` as suites call it. */
export interface RemoteControl
  extends Pick<Site, 'version' | 'enableGroup' | 'tryEnableGroup' | 'disableGroup' | 'tables' | 'drops' | 'metrics'> {
  /** Enables them on every node; they need not be taken back one by one. */
  prepareGroups?(groups: readonly number[]): Promise<void>
}

export interface RemoteParts {
  nodes: readonly RemoteNode[]
  pods: readonly RemotePod[]
  overlay?: { udpPort: number; vni: number }
  control: RemoteControl
  health?: readonly RoundTrip[]
  /** Taps that leave TCP out: the runner's own connections pass there. */
  withoutTcp: { nodes: boolean; pods: boolean }
  /** What becomes of the agents when the stage has ended. */
  done(): Promise<void>
}

/** Pods and nodes that agents act for, each with the clock of the kernel it is on. */
export class RemoteSite implements Site {
  readonly map: SiteMap
  readonly stretch = 20
  readonly health?: readonly RoundTrip[]
  private readonly parts: RemoteParts
  private readonly clocksOfAgents = new AgentClocks(ownBootId())
  private readonly endpoints = new Map<string, RemoteEndpoint>()
  private readonly prepared = new Set<number>()

  private constructor(parts: RemoteParts, pods: PodSite[]) {
    this.parts = parts
    if (parts.health) this.health = parts.health
    const clocked = pods.map(pod => ({ ...pod, ...this.clockOf(this.pod(pod.name).agent) }))
    const { overlay } = parts
    this.map = { nodes: parts.nodes.map(nodeOfMap), pods: clocked, ...(overlay === undefined ? {} : { overlay }) }
  }

  /** Tells each pod's agent which host it is, and finds out who is next to whom. */
  static async create(parts: RemoteParts): Promise<RemoteSite> {
    await Promise.all([...parts.nodes, ...parts.pods].map(({ agent }) => agent.lookAgain()))
    const described = await Promise.all(parts.pods.map(pod => describe(pod, parts.nodes)))
    const addresses = described.map(({ address }) => address)
    const pods = await Promise.all(
      parts.pods.map(async (pod, i) => ({ ...(described[i] as Described).site, ...(await nextHops(pod, addresses)) })),
    )
    return new RemoteSite(parts, pods)
  }

  private clockOf(agent: AgentConnection): { clock?: string } {
    const clock = this.clocksOfAgents.clockOf(agent)
    return clock === undefined ? {} : { clock }
  }

  private pod(name: string): RemotePod {
    const pod = this.parts.pods.find(item => item.name === name)
    if (!pod) throw new RangeError(`the site has no pod ${name}`)
    return pod
  }

  get version(): string {
    return this.parts.control.version ?? ''
  }

  endpoint(pod: string): Endpoint {
    const known = this.endpoints.get(pod) ?? new RemoteEndpoint(pod, this.pod(pod).agent)
    this.endpoints.set(pod, known)
    return known
  }

  async openTaps(wanted: TapsWanted): Promise<SiteTap[]> {
    const { withoutTcp } = this.parts
    const [taps] = await Promise.all([
      Promise.all([
        ...this.parts.pods.map(pod => this.openTap(pod, podTapNames(pod), withoutTcp.pods, wanted)),
        ...this.parts.nodes.map(node => this.openTap(node, this.nodeTapNames(node), withoutTcp.nodes, wanted)),
      ]),
      this.clocksOfAgents.readFirst(),
    ])
    return taps
  }

  private openTap(
    { name, agent }: { name: string; agent: AgentConnection },
    names: Record<string, string>,
    withoutTcp: boolean,
    { directory, prefix, runId }: TapsWanted,
  ): Promise<RemoteTap> {
    const place = { directory, file: `taps/${prefix}-${name}.pcapng`, ...this.clockOf(agent) }
    return RemoteTap.open(agent, place, { names, runId, withoutTcp })
  }

  private nodeTapNames(node: RemoteNode): Record<string, string> {
    const veths = this.parts.pods
      .filter(pod => pod.node === node.name)
      .flatMap(pod => {
        const veth = nodeEnd(pod, node)
        return veth === undefined ? [] : [[veth.name, nodeTapName(pod)] as const]
      })
    const own = [node.uplink, node.overlay].flatMap(name =>
      name === undefined ? [] : [[name, `${node.name}/${name}`] as const],
    )
    return Object.fromEntries([...own, ...veths])
  }

  clocks(): Promise<ClockRecord[]> {
    return this.clocksOfAgents.readLast()
  }

  enableGroup(node: string, group: number): Promise<void> {
    return this.parts.control.enableGroup(node, group)
  }

  tryEnableGroup(node: string, group: number): Promise<boolean> {
    return this.parts.control.tryEnableGroup(node, group)
  }

  disableGroup(node: string, group: number): Promise<void> {
    return this.parts.control.disableGroup(node, group)
  }

  async prepareGroups(groups: readonly number[]): Promise<void> {
    if (!this.parts.control.prepareGroups) return
    await this.parts.control.prepareGroups(groups)
    for (const group of groups) this.prepared.add(group)
  }

  async releaseGroup(node: string, group: number): Promise<void> {
    if (!this.prepared.has(group)) await this.disableGroup(node, group)
  }

  tables(node: string): Promise<GroupTable[]> {
    return this.parts.control.tables(node)
  }

  drops(node: string): Promise<Record<string, number>> {
    return this.parts.control.drops(node)
  }

  async metrics(node: string): Promise<string> {
    return (await this.parts.control.metrics?.(node)) ?? ''
  }

  /** Of agents that are still there: counters of a node that is gone explain nothing. */
  async witness(): Promise<Record<string, number>> {
    const places = [...this.parts.nodes, ...this.parts.pods].filter(({ agent }) => !agent.isLost)
    const all = await Promise.all(
      places.map(async ({ name, agent }) => {
        const { counters } = await agent.ask('stats', {}).answer
        return Object.entries(counters).map(([key, value]) => [counterName(name, key), value] as const)
      }),
    )
    return Object.fromEntries(all.flat())
  }

  /** Pods whose agent is gone. */
  unreachable(): ReadonlySet<string> {
    return new Set(this.parts.pods.filter(({ agent }) => agent.isLost).map(({ name }) => name))
  }

  setLink(): Promise<void> {
    return refused('link-control')
  }

  kill(): Promise<void> {
    return refused('pod-control')
  }

  revive(): Promise<void> {
    return refused('pod-control')
  }

  restartAgent(): Promise<void> {
    return refused('agent-control')
  }

  setFaults(): Promise<void> {
    return refused('faults')
  }

  async restore(): Promise<boolean> {
    return false
  }

  close(): Promise<void> {
    return this.parts.done()
  }
}

/** Needs of cases that no remote site meets: those cases are skipped before it comes to this. */
export const NEVER_REMOTE: Readonly<Record<string, string>> = {
  querier: 'timers of its querier cannot be set from here',
  'link-control': 'its links are not ours to take down',
  'pod-control': 'its pods are not killed under way',
  'agent-control': 'its agents are not ours to restart',
  esp: 'its keys are not known here',
  netem: 'delay and loss cannot be put on its links from here',
  tracing: 'no program of ours traces its kernel',
}

async function refused(what: string): Promise<never> {
  throw new Unsupported({ feature: what, needs: 'a target of this machine', found: 'one that is somewhere else' })
}

export function ownBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
}

interface Described {
  address: string
  site: PodSite
}

async function describe(pod: RemotePod, nodes: readonly RemoteNode[]): Promise<Described> {
  const own = interfaceNamed(pod.agent, pod.interface)
  const [address] = own.addresses
  if (address === undefined || own.mac === undefined) {
    throw new Unsupported({
      feature: pod.agent.label,
      needs: `an IPv4 and a MAC address on ${pod.interface}`,
      found: own.addresses.length === 0 ? 'no IPv4 address' : 'an interface without a MAC address',
    })
  }
  await pod.agent.ask('host', { pod: pod.name, interface: pod.interface, address, mac: own.mac }).answer
  const node = nodes.find(item => item.name === pod.node)
  const veth = node && nodeEnd(pod, node)
  const site = {
    name: pod.name,
    node: pod.node,
    address: parseIpv4(address),
    mac: parseMac(own.mac),
    ...(veth?.mac === undefined ? {} : { gatewayMac: parseMac(veth.mac) }),
    podTap: podTapName(pod),
    nodeTap: nodeTapName(pod),
    ...(pod.label === undefined ? {} : { labels: { pod: pod.label } }),
  }
  return { address, site }
}

async function nextHops(pod: RemotePod, addresses: readonly string[]): Promise<{ nextHops: Record<string, number> }> {
  const { macs } = await pod.agent.ask('next-hops', { interface: pod.interface, addresses }).answer
  return { nextHops: Object.fromEntries(Object.entries(macs).map(([address, mac]) => [address, parseMac(mac)])) }
}

function interfaceNamed(agent: AgentConnection, name: string): AgentInterface {
  const { interfaces } = agent.hello
  const found = interfaces.find(item => item.name === name)
  if (found) return found
  const there = interfaces.map(item => item.name).join(', ')
  throw new Unsupported({ feature: agent.label, needs: `interface ${name}`, found: there })
}

/** The node's end of the pod's veth: each names the other. */
function nodeEnd(pod: RemotePod, node: RemoteNode): AgentInterface | undefined {
  const own = interfaceNamed(pod.agent, pod.interface)
  return node.agent.hello.interfaces.find(({ index, peerIndex }) => index === own.peerIndex && peerIndex === own.index)
}

function podTapNames(pod: RemotePod): Record<string, string> {
  return { [pod.interface]: podTapName(pod) }
}

function podTapName(pod: RemotePod): string {
  return `${pod.name}/${pod.interface}`
}

function nodeTapName(pod: RemotePod): string {
  return `${pod.node}/lxc_${pod.name}`
}

function nodeOfMap({ name, address, uplink, overlay, agent }: RemoteNode): NodeSite {
  const mac = uplink === undefined ? undefined : interfaceNamed(agent, uplink).mac
  return {
    name,
    address: parseIpv4(address),
    ...(mac === undefined ? {} : { mac: parseMac(mac) }),
    ...(uplink === undefined ? {} : { uplinkTap: `${name}/${uplink}` }),
    ...(overlay === undefined ? {} : { overlayTap: `${name}/${overlay}` }),
  }
}

/** A device's counters are told by the place and the device, as taps are; the machine's by the place alone. */
function counterName(place: string, key: string): string {
  return key.startsWith('/') ? `${place}${key}` : `${place}: ${key}`
}
