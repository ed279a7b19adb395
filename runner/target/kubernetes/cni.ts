import type { KubeObject } from './kubectl.ts'

export type CniName =
  | 'cilium'
  | 'flannel'
  | 'antrea'
  | 'ovn-kubernetes'
  | 'calico'
  | 'kindnet'
  | 'castproof-reference'
  | 'unknown'

/** Which network the cluster's pods have, and what of it can be looked at. */
export interface Cni {
  name: CniName
  version?: string
  /** What tables and groups are asked of: pods of this label, one a node. */
  agents?: { namespace: string; selector: string; container: string }
  /** Device that tunnel packets pass in clear; left out: whichever VXLAN device a node has. */
  overlayDevice?: string
  /** Of multicast that it puts into VXLAN, where the device does not say. */
  overlayVni?: number
  encryption?: 'ipsec' | 'wireguard'
  /** How it learns which groups there are. */
  groups: 'resource' | 'cilium-dbg' | 'none'
  /** In words, for reports. */
  settings: Record<string, string>
}

export interface DaemonSet extends KubeObject {
  spec: { template: { spec: { containers: { name: string; image: string }[] } } }
}

export interface ConfigMap extends KubeObject {
  data?: Record<string, string>
}

export interface ClusterFacts {
  daemonSets: readonly DaemonSet[]
  /** Where it may be read. */
  configMaps: readonly ConfigMap[]
  hasGroupResource: boolean
}

/** Names of daemon sets that tell a network; the first that is there decides. */
const BY_DAEMON_SET: readonly [name: RegExp, cni: CniName][] = [
  [/^cilium$/, 'cilium'],
  [/^reference-cni$/, 'castproof-reference'],
  [/^antrea-agent$/, 'antrea'],
  [/^(ovnkube-node|ovs-node|kube-ovn-cni)$/, 'ovn-kubernetes'],
  [/^(calico-node|canal)$/, 'calico'],
  [/^kube-flannel(-ds.*)?$/, 'flannel'],
  [/^kindnet$/, 'kindnet'],
]

/** Cilium's identity `world`: what its multicast puts into the VNI, and the reference datapath after it. */
const WORLD = 2

export function cniOf(facts: ClusterFacts): Cni {
  for (const [pattern, name] of BY_DAEMON_SET) {
    const set = facts.daemonSets.find(item => pattern.test(item.metadata.name))
    if (set) return described(name, set, facts)
  }
  return { name: 'unknown', groups: facts.hasGroupResource ? 'resource' : 'none', settings: {} }
}

function described(name: CniName, set: DaemonSet, facts: ClusterFacts): Cni {
  const version = versionOf(set)
  const common = { name, groups: 'none' as const, settings: {}, ...(version === undefined ? {} : { version }) }
  switch (name) {
    case 'cilium':
      return cilium(common, set, facts)
    case 'castproof-reference':
      return {
        ...common,
        agents: agentsOf(set, 'app=reference-cni'),
        overlayDevice: 'cilium_vxlan',
        overlayVni: WORLD,
        groups: 'resource',
      }
    case 'flannel':
      return { ...common, overlayDevice: 'flannel.1' }
    case 'calico':
      return { ...common, overlayDevice: 'vxlan.calico' }
    default:
      return common
  }
}

function cilium(common: Omit<Cni, 'groups'>, set: DaemonSet, facts: ClusterFacts): Cni {
  const config = facts.configMaps.find(item => item.metadata.name === 'cilium-config')?.data ?? {}
  const isOn = (key: string): boolean => config[key] === 'true'
  const encryption = isOn('enable-ipsec') ? 'ipsec' : isOn('enable-wireguard') ? 'wireguard' : undefined
  const settings = Object.fromEntries(
    SHOWN_SETTINGS.flatMap(key => (config[key] === undefined ? [] : [[key, config[key]]])),
  )
  return {
    ...common,
    agents: agentsOf(set, 'k8s-app=cilium'),
    overlayDevice: 'cilium_vxlan',
    overlayVni: WORLD,
    ...(encryption === undefined ? {} : { encryption }),
    groups: facts.hasGroupResource ? 'resource' : 'cilium-dbg',
    settings,
  }
}

const SHOWN_SETTINGS = [
  'multicast-enabled',
  'routing-mode',
  'tunnel',
  'tunnel-protocol',
  'tunnel-port',
  'enable-ipsec',
  'enable-ipsec-encrypted-overlay',
  'enable-wireguard',
]

function agentsOf(set: DaemonSet, selector: string): NonNullable<Cni['agents']> {
  return {
    namespace: set.metadata.namespace ?? '',
    selector,
    container: set.spec.template.spec.containers[0]?.name ?? '',
  }
}

/** Of its image's tag; none where that is no version. */
function versionOf(set: DaemonSet): string | undefined {
  const image = set.spec.template.spec.containers[0]?.image ?? ''
  return /:v?(\d+\.\d+(?:\.\d+)?)/.exec(image)?.[1]
}

export function cniText({ name, version, encryption, settings }: Cni): string {
  const words = [version === undefined ? name : `${name} ${version}`]
  if (encryption !== undefined) words.push(`encrypted with ${encryption}`)
  return [...words, ...Object.entries(settings).map(([key, value]) => `${key}=${value}`)].join(', ')
}
