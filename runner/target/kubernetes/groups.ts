import { setTimeout as delay } from 'node:timers/promises'
import { formatIpv4 } from '../../../generators/wire/address.ts'
import type { NodeDrops, NodeTables } from '../../lab/protocol.ts'
import type { GroupTable } from '../../observation.ts'
import { groupTablesOf } from '../group-tables.ts'
import type { RemoteControl } from '../remote-site.ts'
import { AnsweringPod } from './answering-pod.ts'
import type { Cni } from './cni.ts'
import type { CniAgents } from './cni-agents.ts'
import type { Kubectl } from './kubectl.ts'
import { OURS, RUN_NAME } from './manifests.ts'

const TOGETHER_MS = 30
const EFFECTIVE_WITHIN_MS = 15_000
const LOOK_AGAIN_MS = 100
const AGENT_LIMIT_MS = 30_000

/** How groups are made known to the cluster's network, and its tables read back. */
export abstract class KubernetesControl implements RemoteControl {
  readonly version?: string
  protected readonly kubectl: Kubectl
  protected readonly cni: Cni
  protected readonly agents: CniAgents
  private readonly pods = new Map<string, AnsweringPod>()

  constructor(kubectl: Kubectl, cni: Cni, agents: CniAgents) {
    this.kubectl = kubectl
    this.cni = cni
    this.agents = agents
    if (cni.version !== undefined) this.version = cni.version
  }

  abstract enableGroup(node: string, group: number): Promise<void>
  abstract disableGroup(node: string, group: number): Promise<void>

  async tryEnableGroup(node: string, group: number): Promise<boolean> {
    await this.enableGroup(node, group)
    return true
  }

  /** None where they cannot be read: cases that look at them are skipped. */
  async tables(node: string): Promise<GroupTable[]> {
    if (this.cni.name === 'castproof-reference') return ownTables(await this.answering(node).ask('tables'))
    if (this.cni.name !== 'cilium') return []
    const words = ['cilium-dbg', 'bpf', 'multicast', 'subscriber', 'list', 'all', '-o', 'json']
    return groupTablesOf(await this.ask(node, words))
  }

  async drops(node: string): Promise<Record<string, number>> {
    if (this.cni.name !== 'castproof-reference') return {}
    const [own] = (await this.answering(node).ask('drops')) as NodeDrops
    return own?.reasons ?? {}
  }

  private answering(node: string): AnsweringPod {
    const known = this.pods.get(node) ?? new AnsweringPod(this.kubectl, this.placeOf(node))
    this.pods.set(node, known)
    return known
  }

  protected ask(node: string, words: readonly string[]): Promise<string> {
    return this.kubectl.run(['exec', ...this.placeOf(node), '--', ...words], { limitMs: AGENT_LIMIT_MS })
  }

  private placeOf(node: string): string[] {
    const { agents } = this.cni
    const pod = this.agents.podOf(node)
    if (!agents || pod === undefined) throw new Error(`${node} has no agent of the network to ask`)
    return ['-n', agents.namespace, pod, '-c', agents.container]
  }

  /** Takes back what is the cluster's and not the namespace's. */
  async close(): Promise<void> {
    await Promise.all([...this.pods.values()].map(pod => pod.close()))
  }
}

function ownTables(answer: unknown): GroupTable[] {
  return (answer as NodeTables)[0]?.groups ?? []
}

/** Flooding or snooping networks know no list of groups. */
export class NoGroups extends KubernetesControl {
  async enableGroup(): Promise<void> {}
  async disableGroup(): Promise<void> {}
}

/** `IsovalentMulticastGroup`: one object of ours holds all groups of the run; what is asked at once is written at once. */
export class GroupResource extends KubernetesControl {
  /** Groups that are wanted: address → when every node knows it. */
  private readonly wanted = new Map<string, Promise<void>>()
  private readonly gone = new Set<string>()
  private next: Promise<void> | undefined
  private last: Promise<void> = Promise.resolve()

  enableGroup(_node: string, group: number): Promise<void> {
    const address = formatIpv4(group)
    const known = this.wanted.get(address) ?? this.write()
    this.wanted.set(address, known)
    this.gone.delete(address)
    return known
  }

  async prepareGroups(groups: readonly number[]): Promise<void> {
    await Promise.all(groups.map(group => this.enableGroup('', group)))
  }

  async disableGroup(_node: string, group: number): Promise<void> {
    const address = formatIpv4(group)
    if (this.wanted.delete(address)) this.gone.add(address)
    if (this.gone.has(address)) await this.write()
  }

  /** One write after the other: each is of all groups that are wanted when it begins. */
  private write(): Promise<void> {
    this.next ??= Promise.all([this.last, delay(TOGETHER_MS)]).then(() => {
      this.next = undefined
      return this.writeNow()
    })
    this.last = this.next.catch(() => {})
    return this.next
  }

  private async writeNow(): Promise<void> {
    const groups = [...this.wanted.keys()].sort()
    const gone = [...this.gone]
    await this.kubectl.apply([
      {
        apiVersion: 'isovalent.com/v1alpha1',
        kind: 'IsovalentMulticastGroup',
        metadata: { name: RUN_NAME, labels: OURS },
        spec: { groupAddrs: groups },
      },
    ])
    if (this.cni.agents) await Promise.all(this.agents.nodes.map(node => this.untilEffective(node, groups, gone)))
    for (const address of gone) this.gone.delete(address)
  }

  /** A member that joins before the node knows the group may be lost for good. */
  private async untilEffective(node: string, groups: readonly string[], gone: readonly string[]): Promise<void> {
    const endMs = performance.now() + EFFECTIVE_WITHIN_MS
    for (;;) {
      const known = new Set((await this.tables(node)).map(table => table.group))
      const late = [...groups.filter(group => !known.has(group)), ...gone.filter(group => known.has(group))]
      if (late.length === 0) return
      if (performance.now() > endMs) throw new GroupsIgnored(node, late)
      await delay(LOOK_AGAIN_MS)
    }
  }

  override async close(): Promise<void> {
    await super.close()
    await this.kubectl.run(['delete', 'isovalentmulticastgroups.isovalent.com', RUN_NAME, '--ignore-not-found'])
  }
}

/** Open-source Cilium: each node is told each group, and which other nodes to send to. */
export class CiliumGroups extends KubernetesControl {
  private readonly added = new Set<string>()

  async enableGroup(node: string, group: number): Promise<void> {
    const address = formatIpv4(group)
    const key = `${node} ${address}`
    if (this.added.has(key)) return
    this.added.add(key)
    await this.ask(node, ['cilium-dbg', 'bpf', 'multicast', 'group', 'add', address])
    for (const remote of this.agents.remoteAddresses(node))
      await this.ask(node, ['cilium-dbg', 'bpf', 'multicast', 'subscriber', 'add', address, remote])
  }

  async disableGroup(node: string, group: number): Promise<void> {
    const address = formatIpv4(group)
    if (!this.added.delete(`${node} ${address}`)) return
    await this.ask(node, ['cilium-dbg', 'bpf', 'multicast', 'group', 'delete', address])
  }

  override async close(): Promise<void> {
    await super.close()
    for (const key of [...this.added]) {
      const [node = '', address = ''] = key.split(' ')
      await this.ask(node, ['cilium-dbg', 'bpf', 'multicast', 'group', 'delete', address])
      this.added.delete(key)
    }
  }
}

/** Groups that were declared and that a node does not have: an answer of the network. */
export class GroupsIgnored extends Error {
  constructor(node: string, groups: readonly string[]) {
    const shown = groups.slice(0, 3).join(', ')
    super(
      `${node} has not heeded ${shown}${groups.length > 3 ? ` and ${groups.length - 3} more` : ''} ${EFFECTIVE_WITHIN_MS / 1000} s after the resource was written`,
    )
    this.name = 'GroupsIgnored'
  }
}
