import { mkdirSync } from 'node:fs'
import type { Server } from 'node:net'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { createNetns, inNetns, type Netns } from '../../generators/linux/netns.ts'
import { parseIpv4 } from '../../generators/wire/address.ts'
import { suite } from '../../test/suite.ts'
import { serve } from '../lab/protocol.ts'
import { ip } from '../target/namespaces.ts'
import { answerCall } from './calls.ts'
import { CniNode } from './node.ts'
import { podNetwork } from './pod-addresses.ts'
import type { NodeRequest } from './protocol.ts'

const test = suite('reference CNI on two nodes', { timeoutMs: 120_000 })

const GROUP = '225.0.0.11'
const PORT = 6666
const PLUGIN = fileURLToPath(new URL('./plugin.ts', import.meta.url))

/** A node in a namespace, its agent's socket, and pods made by the plugin as a runtime runs it. */
class TestNode {
  readonly ns: Netns = createNetns()
  readonly pods = new Map<string, Netns>()
  readonly id: string
  readonly address: string
  readonly cidr: string
  node: CniNode | undefined
  server: Server | undefined

  constructor(name: string, address: string, cidr: string) {
    this.id = `cnitest${process.pid}${name}`
    this.address = address
    this.cidr = cidr
  }

  async start(faults: string[] = []): Promise<void> {
    const identity = { name: this.id, address: parseIpv4(this.address), pods: podNetwork(this.cidr) }
    this.node = await inNetns(this.ns, () => CniNode.start(identity, faults, () => {}))
    this.server = await serve<NodeRequest>(this.id, async request => {
      assert.is(request.op, 'cni')
      return request.op === 'cni' && this.node ? answerCall(this.node, request) : null
    })
  }

  async stop(): Promise<void> {
    this.server?.close()
    await this.node?.close()
    this.node = undefined
  }

  /** Runs the plugin; what it printed, and its exit code. */
  async call(command: string, pod: string, environment: Record<string, string> = {}, config?: string) {
    const ns = this.pods.get(pod) ?? createNetns()
    this.pods.set(pod, ns)
    const env = { CNI_COMMAND: command, CNI_CONTAINERID: pod, CNI_IFNAME: 'eth0', CNI_NETNS: ns.path, ...environment }
    const input = config ?? JSON.stringify({ cniVersion: '1.0.0', name: 'n', type: 'castproof', socket: this.socket })
    const loader = ['--import', import.meta.resolve('tsx/esm')]
    const { stdout, exitCode } = await execa(process.execPath, [...loader, PLUGIN], { env, input, reject: false })
    return { exitCode, said: stdout === '' ? undefined : (JSON.parse(stdout) as Record<string, never>) }
  }

  get socket(): string {
    return `/run/castproof/${this.id}.sock`
  }

  async add(pod: string): Promise<string> {
    const { exitCode, said } = await this.call('ADD', pod)
    assert.is(exitCode, 0, JSON.stringify(said))
    const [ip] = (said as unknown as { ips: { address: string }[] }).ips
    return ip?.address.split('/')[0] ?? ''
  }

  in(pod: string): Netns {
    const ns = this.pods.get(pod)
    assert.ok(ns, pod)
    return ns
  }

  rows(): string[] {
    const tables = this.node?.tables() ?? []
    return tables.flatMap(({ group, subscribers }) => subscribers.map(row => `${group} ${row.subscriber} ${row.type}`))
  }
}

let one: TestNode
let two: TestNode

/** What the API server does in a cluster: each hears what the other publishes. */
async function carry(): Promise<void> {
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const) {
    assert.ok(from.node)
    const { address, pods } = from.node.identity
    await to.node?.setPeers([{ address, pods, groups: await from.node.published() }])
  }
}

async function until(what: string, done: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + 10_000
  while (!(await done())) {
    assert.ok(performance.now() < deadlineMs, `never: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

async function ping(from: Netns, to: string): Promise<boolean> {
  const { exitCode } = await inNetns(from, () => execa('ping', ['-c1', '-W2', to], { reject: false }))
  return exitCode === 0
}

/** An ordinary program that joins; it ends once `lines` lines have come, or when killed. */
function listen(pod: Netns) {
  const join = `UDP4-RECV:${PORT},reuseaddr,ip-add-membership=${GROUP}:0.0.0.0`
  return inNetns(pod, () => execa('socat', ['-u', join, '-'], { reject: false, timeout: 30_000 }))
}

async function say(pod: Netns, text: string): Promise<void> {
  await inNetns(pod, () => execa('socat', ['-u', '-', `UDP4-DATAGRAM:${GROUP}:${PORT}`], { input: text }))
}

/** What each of the pods hears of one datagram from `a1`; the line `end` to a guard shows that it was all. */
async function heard(receivers: Netns[], members: () => boolean): Promise<string[]> {
  const programs = receivers.map(listen)
  await until('all are members', async () => {
    await carry()
    return members()
  })
  const texts = programs.map(() => '')
  for (const [i, program] of programs.entries())
    program.stdout?.on('data', (chunk: Buffer) => {
      texts[i] += String(chunk)
    })
  await say(one.in('a1'), 'hello\n')
  await say(one.in('a1'), 'end\n')
  await until('the last line is everywhere', () => texts.every(text => text.includes('end')))
  for (const program of programs) program.kill()
  await Promise.all(programs)
  return texts
}

test.before(async () => {
  mkdirSync('/run/castproof', { recursive: true, mode: 0o700 })
  one = new TestNode('a', '172.20.0.1', '10.20.1.0/24')
  two = new TestNode('b', '172.20.0.2', '10.20.2.0/29')
  await ip(one.ns, ['link set lo up', `link add eth0 type veth peer name eth0 netns ${two.ns.path}`])
  for (const node of [one, two]) await ip(node.ns, [`addr add ${node.address}/24 dev eth0`, 'link set eth0 up'])
  for (const node of [one, two]) await node.start()
})
test.after(async () => {
  for (const node of [one, two]) {
    await node.stop()
    for (const ns of node.pods.values()) ns.close()
    node.ns.close()
  }
})

test('the plugin says what it speaks, and refuses what it does not, with the codes of the specification', async () => {
  const version = await one.call('VERSION', 'x')
  assert.equal(version, {
    exitCode: 0,
    said: { cniVersion: '1.0.0', supportedVersions: ['0.3.1', '0.4.0', '1.0.0'] },
  } as never)
  const code = async (command: string, environment: Record<string, string>, config?: string) => {
    const { exitCode, said } = await one.call(command, 'x', environment, config)
    assert.is(exitCode, 1)
    assert.type(said?.['msg'], 'string')
    return said?.['code'] as unknown as number
  }
  assert.is(await code('ADD', {}, '{"cniVersion":"9.0.0"}'), 1)
  assert.is(await code('ADD', { CNI_NETNS: '/nowhere' }), 3)
  assert.is(await code('ADD', { CNI_CONTAINERID: '' }), 4)
  assert.is(await code('PAINT', {}), 4)
  assert.is(await code('ADD', {}, 'no json'), 6)
  assert.is(await code('ADD', {}, '{"cniVersion":"1.0.0","socket":"/nowhere/cni.sock"}'), 11)
})

test('pods reach each other, their node and the other node; ADD again gives the same answer', async () => {
  const [a1, a2, b1] = [await one.add('a1'), await one.add('a2'), await two.add('b1')]
  assert.equal([a1, a2, b1], ['10.20.1.2', '10.20.1.3', '10.20.2.2'])
  assert.is(await one.add('a1'), a1)
  await carry()
  assert.ok(await ping(one.in('a1'), a2), 'pod of the same node')
  assert.ok(await ping(one.in('a1'), b1), 'pod of the other node')
  assert.ok(await ping(one.ns, a1), 'as the kubelet probes')
  assert.ok(await ping(one.ns, b1), 'a program of the node to a pod of the other')
  assert.ok(await ping(two.in('b1'), one.address), 'the other node')
})

test('a datagram reaches members once, on both nodes; the tables are those of the founding document', async () => {
  for (const { node } of [one, two]) await node?.setGroups([parseIpv4(GROUP)])
  const rows = [`${GROUP} 10.20.1.3 Local Endpoint`, `${GROUP} ${two.address} Remote Node`]
  const texts = await heard([one.in('a2'), two.in('b1')], () => one.rows().join() === rows.join())
  assert.equal(texts, ['hello\nend\n', 'hello\nend\n'])
  await until('all have left', async () => {
    await carry()
    return one.rows().length === 0
  })
})

test('a fault shows, and its absence again', async () => {
  const members = () => one.rows().length === 1
  await one.node?.setFaults(['duplicate-local'])
  assert.equal(await heard([one.in('a2')], members), ['hello\nhello\nend\nend\n'])
  await one.node?.setFaults([])
  assert.equal(await heard([one.in('a2')], members), ['hello\nend\n'])
})

test('CHECK finds what somebody changed', async () => {
  await one.add('a3')
  assert.is((await one.call('CHECK', 'a3')).exitCode, 0)
  await ip(one.in('a3'), ['addr flush dev eth0'])
  const { exitCode, said } = await one.call('CHECK', 'a3')
  assert.is(exitCode, 1)
  assert.match(String(said?.['msg']), 'no address, not 10.20.1.4')
  assert.is((await one.call('CHECK', 'never-added')).exitCode, 1)
})

test('DEL takes pod and membership away, twice is once, and an address is not given out again at once', async () => {
  await carry()
  const program = listen(two.in('b1'))
  await until('b1 is a member', () => two.rows().length === 1)
  assert.is((await two.call('DEL', 'b1', { CNI_NETNS: '' })).exitCode, 0)
  assert.equal(two.rows(), [])
  assert.is((await two.call('DEL', 'b1')).exitCode, 0)
  program.kill()
  await program
  const names = ['b2', 'b3', 'b4', 'b5']
  const addresses: string[] = []
  for (const name of names) addresses.push(await two.add(name))
  assert.equal(addresses, ['10.20.2.3', '10.20.2.4', '10.20.2.5', '10.20.2.6'])
  assert.is(await two.add('b6'), '10.20.2.2')
  const { exitCode, said } = await two.call('ADD', 'b7')
  assert.is(exitCode, 1)
  assert.match(String(said?.['msg']), 'no address is free in 10.20.2.0/29')
})

test('a member whose veth is gone before DEL is forgotten by DEL', async () => {
  const program = listen(two.in('b2'))
  await until('b2 is a member', () => two.rows().length === 1)
  const pod = (await two.node?.pods())?.find(({ containerId }) => containerId === 'b2')
  await ip(two.ns, [`link del ${pod?.nodeInterface}`])
  assert.is((await two.call('DEL', 'b2')).exitCode, 0)
  assert.equal(two.rows(), [])
  program.kill()
  await program
})

test('an agent that goes leaves no program and no device; one that comes serves the pods that are there', async () => {
  await one.stop()
  const show = async (...words: string[]) => (await inNetns(one.ns, () => execa(words[0] ?? '', words.slice(1)))).stdout
  assert.not.match(await show('ip', 'link'), 'cilium_vxlan')
  assert.not.match(await show('ip', 'route'), '10.20.2')
  assert.not.match(await show('tc', 'qdisc'), 'clsact')
  await ip(one.ns, ['link add lxc0123456789ab type veth peer name unfinished'])
  await one.start()
  assert.not.match(await show('ip', 'link'), 'lxc0123456789ab')
  await one.node?.setGroups([parseIpv4(GROUP)])
  await carry()
  assert.ok(await ping(one.in('a1'), '10.20.1.3'))
  assert.equal(await heard([one.in('a2')], () => one.rows().length === 1), ['hello\nend\n'])
})

test.run()
