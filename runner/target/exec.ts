import { basename } from 'node:path'
import { AgentConnection } from '../agent/connection.ts'
import type { Capability } from '../probe.ts'
import type { Topology } from '../suite/plan-types.ts'
import { CommandControl } from './command-control.ts'
import { type Inventory, readInventory } from './inventory.ts'
import { NEVER_REMOTE, type RemoteNode, type RemotePod, RemoteSite } from './remote-site.ts'
import { placesFor, refusalOf } from './remote-topology.ts'
import type { BringUpOptions, Site, Target } from './target.ts'

/** Anything that a command prefix reaches, as an inventory lists it. */
export function execTarget(path: string, shown = path): Target {
  return new ExecTarget(readInventory(path, shown), shown)
}

class ExecTarget implements Target {
  readonly name = 'exec'
  readonly description: string
  private readonly inventory: Inventory
  /** By place in the inventory; they stay from stage to stage. */
  private readonly agents = new Map<string, Promise<AgentConnection>>()

  constructor(inventory: Inventory, shown: string) {
    this.inventory = inventory
    this.description = `${inventory.description} (${basename(shown)})`
  }

  /** Nothing of this machine: what lacks behind the prefixes shows when they are used. */
  async probe(): Promise<Capability[]> {
    return []
  }

  async capabilities(): Promise<Capability[]> {
    const { commands, overlay, nodes, lacks } = this.inventory
    const all = Object.values(nodes)
    const given: Record<string, [boolean, string]> = {
      tables: [commands.subscribers !== undefined, 'the inventory has no command for subscribers'],
      drops: [commands.drops !== undefined, 'the inventory has no command for drops'],
      metrics: [commands.metrics !== undefined, 'the inventory has no command for metrics'],
      'group-control': [
        commands.groupAdd !== undefined && commands.groupDelete !== undefined,
        'the inventory has no commands for groups',
      ],
      uplink: [all.every(node => node.uplink !== undefined), 'the inventory names no uplink of some node'],
      overlay: [
        overlay !== undefined && all.every(node => node.overlay !== undefined),
        'the inventory tells of no overlay, or not its device on every node',
      ],
    }
    return [
      ...Object.entries(given).map(([name, [ok, found]]) => capability(name, ok, found)),
      ...Object.entries(NEVER_REMOTE).map(([name, found]) => capability(name, false, found)),
      ...lacks.map(name => capability(name, false, 'the inventory says so')),
    ]
  }

  refusal(topology: Topology): string | undefined {
    return refusalOf(topology, this.podsByNode(), 'the inventory')
  }

  async bringUp(topology: Topology, _options: BringUpOptions, stop: AbortSignal): Promise<Site> {
    const places = placesFor(topology, this.podsByNode())
    const [nodes, pods] = await Promise.all([
      Promise.all(places.nodes.map(({ name, place }) => this.node(name, place, stop))),
      Promise.all(places.pods.map(({ name, node, place }) => this.pod({ name, node, place }, stop))),
    ])
    const { overlay } = this.inventory
    const nodeOf = (name: string): string => places.nodes.find(node => node.name === name)?.place ?? name
    return RemoteSite.create({
      nodes,
      pods,
      ...(overlay === undefined ? {} : { overlay }),
      control: new CommandControl(this.inventory, nodeOf),
      withoutTcp: { nodes: true, pods: true },
      done: async () => {},
    })
  }

  private podsByNode(): Map<string, string[]> {
    const pods = Object.entries(this.inventory.pods)
    return new Map(
      Object.keys(this.inventory.nodes).map(node => [
        node,
        pods.filter(([, pod]) => pod.node === node).map(([name]) => name),
      ]),
    )
  }

  private async node(name: string, place: string, stop: AbortSignal): Promise<RemoteNode> {
    const { command, uplink, overlay, address } = this.inventory.nodes[place]!
    const agent = await this.agent(`node ${place}`, command, stop)
    const own = agent.hello.interfaces.find(item => item.name === uplink)?.addresses[0]
    return {
      name,
      agent,
      ...(uplink === undefined ? {} : { uplink }),
      ...(overlay === undefined ? {} : { overlay }),
      address: address ?? own ?? '0.0.0.0',
    }
  }

  private async pod(wanted: { name: string; node: string; place: string }, stop: AbortSignal): Promise<RemotePod> {
    const { command, interface: device } = this.inventory.pods[wanted.place]!
    const agent = await this.agent(`pod ${wanted.place}`, command, stop)
    return { name: wanted.name, node: wanted.node, agent, interface: device, label: wanted.place }
  }

  /** One that was lost is started anew. */
  private async agent(label: string, prefix: readonly string[], stop: AbortSignal): Promise<AgentConnection> {
    const known = this.agents.get(label)
    const agent = known && (await known)
    if (agent && !agent.isLost) return agent
    const opening = AgentConnection.open({ label, command: [...prefix, ...this.inventory.agent] }, stop)
    this.agents.set(label, opening)
    return opening
  }

  async close(): Promise<void> {
    const agents = await Promise.allSettled(this.agents.values())
    this.agents.clear()
    await Promise.all(agents.map(agent => (agent.status === 'fulfilled' ? agent.value.close() : undefined)))
  }
}

export function capability(name: string, ok: boolean, found: string): Capability {
  return { name, ok, found: ok ? '' : found, remedy: '', neededFor: ['suites'] }
}
