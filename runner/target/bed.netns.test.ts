import { readdirSync, readlinkSync } from 'node:fs'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { inNetns, type Netns } from '../../generators/linux/netns.ts'
import { suite } from '../../test/suite.ts'
import { Bed } from './bed.ts'

const test = suite('bed')
const pods = ['n1-1', 'n2-1', 'n2-2'].map(name => ({ name, node: name.slice(0, 2) }))

async function inside(ns: Netns, ...argv: [string, ...string[]]): Promise<string> {
  const [file, ...args] = argv
  return (await inNetns(ns, () => execa(file, args))).stdout
}

function heldNamespaces(): number {
  const targets = readdirSync('/proc/self/fd').map(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return ''
    }
  })
  return targets.filter(target => target.startsWith('net:')).length
}

test('nodes reach each other over the underlay, and only by the neighbours that were set', async () => {
  const bed = await Bed.create({ nodes: ['n1', 'n2'], pods })
  const n1 = bed.nodes.get('n1')
  assert.ok(n1)
  assert.match(await inside(n1.ns, 'ping', '-c', '1', '-W', '1', '10.224.0.5'), '1 received')
  assert.match(await inside(n1.ns, 'ip', 'neigh'), /10\.224\.0\.5 dev eth0 lladdr \S+ PERMANENT/)
  await bed.close()
})

test('the bed is quiet: no IPv6, no reverse-path filter, whatever the first namespace has', async () => {
  const bed = await Bed.create({ nodes: ['n1', 'n2'], pods })
  const pod = bed.pods.get('n2-2')
  assert.ok(pod)
  assert.is(await inside(pod.ns, 'ip', '-6', 'addr'), '')
  assert.is(await inside(pod.ns, 'cat', '/proc/sys/net/ipv4/conf/eth0/rp_filter'), '0')
  assert.match(await inside(pod.ns, 'ip', 'route'), 'default via 169.254.1.1 dev eth0')
  assert.match(await inside(pod.ns, 'ethtool', '-k', 'eth0'), 'generic-receive-offload: off')
  await bed.close()
})

test('a removed pod can be made anew in the namespace where its tap still listens', async () => {
  const bed = await Bed.create({ nodes: ['n1', 'n2'], pods })
  const before = bed.pods.get('n2-1')
  assert.ok(before)
  await bed.removePod('n2-1')
  assert.not.match(await inside(before.node.ns, 'ip', '-br', 'link'), 'lxc1@')
  const [again] = await bed.makePods(['n2-1'])
  assert.is(again?.ns, before.ns)
  assert.is(again?.address, before.address)
  assert.is(again?.nodeIndex, before.nodeIndex)
  await bed.close()
})

test('pods of a crowded node share one namespace', async () => {
  const many = Array.from({ length: 100 }, (_, k) => ({ name: `n1-${k + 1}`, node: 'n1' }))
  const bed = await Bed.create({ nodes: ['n1'], pods: many })
  assert.is(new Set([...bed.pods.values()].map(pod => pod.ns)).size, 1)
  assert.is(new Set([...bed.pods.values()].map(pod => pod.podIndex)).size, 100)
  await bed.close()
})

test('close lets go of every namespace', async () => {
  const before = heldNamespaces()
  const bed = await Bed.create({ nodes: ['n1', 'n2'], pods })
  assert.is(heldNamespaces(), before + 1 + 2 + 3)
  await bed.close()
  assert.is(heldNamespaces(), before)
})

test('a bring-up that fails half way takes down its own names and leaves a foreign one', async () => {
  const prefix = `cp-test${process.pid}`
  const before = heldNamespaces()
  await execa('ip', ['netns', 'add', `${prefix}-n2-2`])
  try {
    const failure = await Bed.create({ nodes: ['n1', 'n2'], pods }, prefix).catch((error: unknown) => error)
    assert.match(String(failure), 'File exists')
    const left = (await execa('ip', ['netns', 'list'])).stdout.split('\n').filter(line => line.startsWith(prefix))
    assert.equal(
      left.map(line => line.split(' ')[0]),
      [`${prefix}-n2-2`],
    )
    assert.is(heldNamespaces(), before)
  } finally {
    await execa('ip', ['netns', 'del', `${prefix}-n2-2`])
  }
})

test.run()
