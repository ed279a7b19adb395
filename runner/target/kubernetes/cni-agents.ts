import type { Cni } from './cni.ts'
import { CiliumGroups, GroupResource, type KubernetesControl, NoGroups } from './groups.ts'
import type { Kubectl, KubeObject } from './kubectl.ts'
import type { Pod } from './pods.ts'

/** A node as suites call it, and as the cluster does. */
export interface NodePlace {
  name: string
  place: string
}

/** Pods of the network's own on each node, by the name that suites use for the node. */
export interface CniAgents {
  podOf(node: string): string | undefined
  /** Addresses to which other nodes send for the node's members. */
  remoteAddresses(except: string): string[]
  nodes: readonly string[]
}

/** Groups as this network wants them told, and its tables. */
export async function controlOf(kubectl: Kubectl, cni: Cni, nodes: readonly NodePlace[]): Promise<KubernetesControl> {
  const agents = await cniAgents(kubectl, cni, nodes)
  switch (cni.groups) {
    case 'resource':
      return new GroupResource(kubectl, cni, agents)
    case 'cilium-dbg':
      return new CiliumGroups(kubectl, cni, agents)
    case 'none':
      return new NoGroups(kubectl, cni, agents)
  }
}

async function cniAgents(kubectl: Kubectl, cni: Cni, nodes: readonly NodePlace[]): Promise<CniAgents> {
  const at = cni.agents
  const pods = at ? await kubectl.list<Pod>('pods', ['-n', at.namespace, '-l', at.selector]) : []
  const byNode = new Map(pods.map(pod => [pod.spec.nodeName, pod.metadata.name]))
  const internal = cni.groups === 'cilium-dbg' ? await internalAddresses(kubectl) : new Map<string, string>()
  const placeOf = (node: string): string => nodes.find(({ name }) => name === node)?.place ?? ''
  return {
    podOf: node => byNode.get(placeOf(node)),
    remoteAddresses: except => [...internal].flatMap(([name, address]) => (name === placeOf(except) ? [] : [address])),
    nodes: nodes.map(({ name }) => name),
  }
}

interface CiliumNode extends KubeObject {
  spec: { addresses?: { type: string; ip: string }[] }
}

/** Where Cilium sends what is for the members of a node. */
async function internalAddresses(kubectl: Kubectl): Promise<Map<string, string>> {
  const nodes = await kubectl.list<CiliumNode>('ciliumnodes')
  const internal = ({ spec }: CiliumNode) =>
    spec.addresses?.find(({ type, ip }) => type === 'CiliumInternalIP' && ip.includes('.'))?.ip
  return new Map(
    nodes.flatMap(node => {
      const address = internal(node)
      return address === undefined ? [] : [[node.metadata.name, address]]
    }),
  )
}
