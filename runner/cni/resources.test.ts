import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { parseAllDocuments } from 'yaml'
import { parseIpv4 } from '../../generators/wire/address.ts'
import { suite } from '../../test/suite.ts'
import { PodAddresses, podNetwork } from './pod-addresses.ts'
import { type CoreNode, declaredGroups, identityOf, type MulticastGroup, multicastNode, peerOf } from './resources.ts'

const test = suite('custom resources of the reference CNI')

const manifests = (name: string) =>
  parseAllDocuments(readFileSync(new URL(`../../deploy/reference-cni/${name}`, import.meta.url), 'utf8')).map(
    document => {
      assert.equal(document.errors, [])
      return document.toJS() as Record<string, never>
    },
  )

const group = (...groupAddrs: string[]): MulticastGroup => ({ metadata: { name: 'x' }, spec: { groupAddrs } })

test('groups of several resources are enabled once', () => {
  assert.equal(declaredGroups([group('225.0.0.11', '225.0.0.12'), group('225.0.0.11')]), [
    parseIpv4('225.0.0.11'),
    parseIpv4('225.0.0.12'),
  ])
})

test('the schema takes just the groups that a datapath can enable', () => {
  const [definition] = manifests('crds.yaml') as unknown as {
    spec: {
      versions: {
        schema: {
          openAPIV3Schema: { properties: { spec: { properties: { groupAddrs: { items: { pattern: string } } } } } }
        }
      }[]
    }
  }[]
  const pattern =
    definition?.spec.versions[0]?.schema.openAPIV3Schema.properties.spec.properties.groupAddrs.items.pattern
  assert.ok(pattern)
  const allowed = (text: string) => new RegExp(pattern).test(text)
  for (const text of ['224.0.1.0', '224.1.0.0', '225.0.0.11', '232.1.1.1', '239.255.255.255'])
    assert.ok(allowed(text), text)
  for (const text of [
    '224.0.0.0',
    '224.0.0.251',
    '223.1.1.1',
    '240.0.0.0',
    '225.0.0.256',
    '225.0.0',
    '225.0.0.11 ',
    '10.0.0.1',
  ])
    assert.not(allowed(text), text)
})

test('a node publishes itself, and others read of it what they need', () => {
  const core = {
    metadata: { name: 'n1', uid: 'u' },
    spec: { podCIDR: '10.1.0.0/24' },
    status: {
      addresses: [
        { type: 'Hostname', address: 'n1' },
        { type: 'InternalIP', address: '172.16.0.1' },
      ],
    },
  } as CoreNode
  const groups: [number, number][] = [
    [parseIpv4('225.0.0.12'), 1],
    [parseIpv4('225.0.0.11'), 3],
  ]
  const published = multicastNode(identityOf(core), 'u', groups, false) as Parameters<typeof peerOf>[0]
  assert.equal(published.spec, {
    nodeAddr: '172.16.0.1',
    podCidr: '10.1.0.0/24',
    groupAddrs: ['225.0.0.11', '225.0.0.12'],
    podsByGroup: {},
  })
  assert.equal(peerOf(published).groups, [
    [parseIpv4('225.0.0.11'), 1],
    [parseIpv4('225.0.0.12'), 1],
  ])
  const counted = multicastNode(identityOf(core), 'u', groups, true) as Parameters<typeof peerOf>[0]
  assert.equal(peerOf(counted).groups[0], [parseIpv4('225.0.0.11'), 3])
})

test('a node without address or pod network is told so', () => {
  const bare = { metadata: { name: 'n1', uid: 'u' }, spec: {}, status: {} } as CoreNode
  assert.throws(() => identityOf(bare), /no IPv4 InternalIP/)
  bare.status.addresses = [{ type: 'InternalIP', address: '172.16.0.1' }]
  assert.throws(() => identityOf(bare), /no podCIDR/)
  assert.throws(() => podNetwork('10.0.0.0/31'), /not an IPv4 network/)
})

test('addresses go round, leave out the node itself and those taken', () => {
  const addresses = new PodAddresses(podNetwork('10.0.0.8/29'))
  const host = (address: number | undefined) => (address === undefined ? undefined : address & 0xff)
  const taken = new Set([parseIpv4('10.0.0.11')])
  assert.equal(
    Array.from({ length: 5 }, () => host(addresses.take(taken))),
    [10, 12, 13, 14, 10],
  )
  const all = new Set([10, 11, 12, 13, 14].map(last => parseIpv4(`10.0.0.${last}`)))
  assert.is(addresses.take(all), undefined)
})

test('the manifests are YAML, and the agent has the rights for what it asks', () => {
  const rules = manifests('agent.yaml').flatMap(
    one => (one['rules'] as unknown as { resources: string[]; verbs: string[] }[]) ?? [],
  )
  const may = (verb: string, resource: string) =>
    rules.some(({ resources, verbs }) => resources.includes(resource) && verbs.includes(verb))
  for (const [verb, resource] of [
    ['get', 'nodes'],
    ['watch', 'isovalentmulticastgroups'],
    ['patch', 'isovalentmulticastnodes'],
    ['create', 'isovalentmulticastnodes'],
    ['delete', 'isovalentmulticastnodes'],
  ] as const)
    assert.ok(may(verb, resource), `${verb} ${resource}`)
})

test.run()
