import type { Published } from '../../bpf/control-plane-process.ts'
import { formatIpv4, parseIpv4 } from '../../generators/wire/address.ts'
import { UserError } from '../suite/errors.ts'
import type { Resource } from './api-server.ts'
import { groupAddresses, type NodeIdentity, type NodePeer } from './node.ts'
import { podNetwork } from './pod-addresses.ts'

const API = 'isovalent.com/v1alpha1'
export const GROUPS_PATH = `/apis/${API}/isovalentmulticastgroups`
export const NODES_PATH = `/apis/${API}/isovalentmulticastnodes`

/** Which groups are enabled in the cluster (the founding document's resource). */
export interface MulticastGroup extends Resource {
  spec: { groupAddrs: string[] }
}

/** What a node's agent tells the others: how to reach its pods, and its groups with members. */
export interface MulticastNode extends Resource {
  spec: { nodeAddr: string; podCidr: string; groupAddrs: string[]; podsByGroup?: Record<string, number> }
}

/** The parts of a core Node that we read. */
export interface CoreNode extends Resource {
  metadata: Resource['metadata'] & { uid: string }
  spec: { podCIDR?: string }
  status: { addresses?: { type: string; address: string }[] }
}

/** The groups of all resources together, once each. */
export function declaredGroups(resources: readonly MulticastGroup[]): number[] {
  const texts = resources.flatMap(({ spec }) => spec.groupAddrs)
  return [...new Set(texts.map(parseIpv4))]
}

export function identityOf(node: CoreNode): NodeIdentity {
  const { name } = node.metadata
  const address = node.status.addresses?.find(one => one.type === 'InternalIP' && one.address.includes('.'))
  if (!address) throw new UserError('node-address', `node ${name} has no IPv4 InternalIP`)
  if (node.spec.podCIDR === undefined)
    throw new UserError('pod-network', `node ${name} has no podCIDR`, {
      hint: 'the cluster must give each node one: --allocate-node-cidrs of the controller manager',
    })
  return { name, address: parseIpv4(address.address), pods: podNetwork(node.spec.podCIDR) }
}

/** `withPods`: how many pods a group has here, which only a fault makes others want to know. */
export function multicastNode(
  { name, address, pods }: NodeIdentity,
  owner: string,
  groups: Published['groups'],
  withPods: boolean,
): object {
  const podsByGroup = Object.fromEntries(groups.map(([group, count]) => [formatIpv4(group), count]))
  return {
    apiVersion: API,
    kind: 'IsovalentMulticastNode',
    metadata: { name, ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name, uid: owner }] },
    spec: {
      nodeAddr: formatIpv4(address),
      podCidr: pods.text,
      groupAddrs: groupAddresses(groups),
      // Never left out: API servers of 1.20 make a field that an apply drops null, and refuse that.
      podsByGroup: withPods ? podsByGroup : {},
    },
  }
}

export function peerOf({ spec }: MulticastNode): NodePeer {
  const groups = spec.groupAddrs.map((text): [number, number] => [parseIpv4(text), spec.podsByGroup?.[text] ?? 1])
  return { address: parseIpv4(spec.nodeAddr), pods: podNetwork(spec.podCidr), groups }
}
