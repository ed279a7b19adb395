import { Unsupported } from '../../unsupported.ts'
import { type Cni, type ConfigMap, cniOf, type DaemonSet } from './cni.ts'
import type { Kubectl, KubeObject } from './kubectl.ts'

/** A node that takes pods, by the cluster's name for it. */
export interface ClusterNode {
  name: string
  address: string
}

/** What there is to test. */
export interface Cluster {
  nodes: ClusterNode[]
  /** Nodes that take no pods, with the reason. */
  refused: string[]
  serverVersion: string
  cni: Cni
}

interface NodeObject extends KubeObject {
  spec: { unschedulable?: boolean; taints?: { key: string; effect: string }[] }
  status: {
    addresses?: { type: string; address: string }[]
    conditions?: { type: string; status: string; reason?: string; message?: string }[]
    nodeInfo?: { operatingSystem?: string }
  }
}

/** Asks the cluster once, all at the same time. */
export async function readCluster(kubectl: Kubectl): Promise<Cluster> {
  const [nodes, daemonSets, configMaps, resources, version] = await Promise.all([
    kubectl.list<NodeObject>('nodes'),
    kubectl.list<DaemonSet>('daemonsets', ['-A']),
    kubectl.list<ConfigMap>('configmaps', ['-n', 'kube-system']).catch(forbidden),
    kubectl.list<KubeObject>('customresourcedefinitions').catch(forbidden),
    kubectl.run(['version', '-o', 'json']),
  ])
  const usable = nodes.flatMap(node => (whyNot(node) === undefined ? [nodeOf(node)] : []))
  const refused = nodes.flatMap(node => whyNot(node) ?? [])
  if (usable.length === 0) {
    throw new Unsupported({
      feature: 'target kubernetes',
      needs: 'a node that takes pods',
      found: refused.length === 0 ? 'no node at all' : refused.join('; '),
      remedy: 'kubectl describe nodes',
    })
  }
  const hasGroupResource = resources.some(item => item.metadata.name === 'isovalentmulticastgroups.isovalent.com')
  return {
    nodes: usable.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true })),
    refused,
    serverVersion: (JSON.parse(version) as { serverVersion?: { gitVersion?: string } }).serverVersion?.gitVersion ?? '',
    cni: cniOf({ daemonSets, configMaps, hasGroupResource }),
  }
}

/** What only tells more: without the right to read it, less is known. */
function forbidden(error: unknown): never[] {
  if (error instanceof Unsupported && error.message.includes('the right to')) return []
  throw error
}

function nodeOf({ metadata, status }: NodeObject): ClusterNode {
  const address = status.addresses?.find(item => item.type === 'InternalIP' && item.address.includes('.'))?.address
  return { name: metadata.name, address: address ?? '0.0.0.0' }
}

function whyNot({ metadata: { name }, spec, status }: NodeObject): string | undefined {
  const ready = status.conditions?.find(item => item.type === 'Ready')
  if (ready?.status !== 'True') return `node ${name} is not ready: ${ready?.message ?? 'it says nothing'}`
  if (spec.unschedulable === true) return `node ${name} is cordoned`
  if (status.nodeInfo?.operatingSystem === 'windows') return `node ${name} runs Windows`
  const taint = spec.taints?.find(item => item.effect !== 'PreferNoSchedule')
  return taint && `node ${name} is tainted: ${taint.key}`
}
