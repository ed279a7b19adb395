import * as assert from 'uvu/assert'
import { suite } from '../../../test/suite.ts'
import { type ClusterFacts, cniOf, cniText, type DaemonSet } from './cni.ts'

const test = suite('networks of clusters')

function daemonSet(name: string, image: string, namespace = 'kube-system'): DaemonSet {
  return { metadata: { name, namespace }, spec: { template: { spec: { containers: [{ name: 'agent', image }] } } } }
}

function facts(changes: Partial<ClusterFacts>): ClusterFacts {
  return { daemonSets: [], configMaps: [], hasGroupResource: false, ...changes }
}

const proxy = daemonSet('kube-proxy', 'registry.k8s.io/kube-proxy:v1.31.0')

test('a network is told by its daemon set, its version by the tag', () => {
  const known: [set: DaemonSet, text: string][] = [
    [daemonSet('cilium', 'quay.io/cilium/cilium:v1.18.2@sha256:abc'), 'cilium 1.18.2'],
    [daemonSet('kube-flannel-ds', 'ghcr.io/flannel-io/flannel:v0.26.1', 'kube-flannel'), 'flannel 0.26.1'],
    [daemonSet('antrea-agent', 'antrea/antrea-agent-ubuntu:v2.2.0'), 'antrea 2.2.0'],
    [daemonSet('ovnkube-node', 'ghcr.io/ovn-org/ovn-kubernetes:master'), 'ovn-kubernetes'],
    [daemonSet('calico-node', 'docker.io/calico/node:v3.29.1'), 'calico 3.29.1'],
    [daemonSet('kindnet', 'docker.io/kindest/kindnetd:v20241108-5c6d2daf'), 'kindnet'],
    [daemonSet('reference-cni', 'localhost/castproof:dev', 'castproof-system'), 'castproof-reference'],
  ]
  for (const [set, text] of known) assert.is(cniText(cniOf(facts({ daemonSets: [proxy, set] }))), text)
  assert.is(cniText(cniOf(facts({ daemonSets: [proxy] }))), 'unknown')
})

test("cilium's settings are those of its configuration", () => {
  const data = {
    'multicast-enabled': 'true',
    'enable-ipsec': 'true',
    'tunnel-protocol': 'vxlan',
    'bpf-map-dynamic-size-ratio': '0.0025',
  }
  const cni = cniOf(
    facts({
      daemonSets: [daemonSet('cilium', 'quay.io/cilium/cilium:v1.18.2')],
      configMaps: [{ metadata: { name: 'cilium-config' }, data }],
    }),
  )
  assert.is(cni.encryption, 'ipsec')
  assert.is(cni.groups, 'cilium-dbg')
  assert.is(cni.overlayDevice, 'cilium_vxlan')
  assert.is(
    cniText(cni),
    'cilium 1.18.2, encrypted with ipsec, multicast-enabled=true, tunnel-protocol=vxlan, enable-ipsec=true',
  )
})

test('groups go by the resource where it exists', () => {
  const cilium = [daemonSet('cilium', 'quay.io/cilium/cilium:v1.18.2')]
  assert.is(cniOf(facts({ daemonSets: cilium, hasGroupResource: true })).groups, 'resource')
  assert.is(cniOf(facts({ daemonSets: [daemonSet('kindnet', 'kindnetd:1')] })).groups, 'none')
  assert.is(cniOf(facts({ hasGroupResource: true })).groups, 'resource')
})

test.run()
