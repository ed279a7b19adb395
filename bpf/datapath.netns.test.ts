import { execFileSync } from 'node:child_process'
import * as assert from 'uvu/assert'
import { buildFrame, fragment } from '../generators/frame.ts'
import type { FrameSpec, IgmpFields } from '../generators/frame-spec.ts'
import { inNetns } from '../generators/linux/netns.ts'
import { PacketEmitter } from '../generators/linux/packet-emitter.ts'
import { parseIpv4, parseMac } from '../generators/wire/address.ts'
import { RECORD_TYPE } from '../generators/wire/igmp.ts'
import { suite } from '../test/suite.ts'
import { Testbed } from './testbed.ts'

const test = suite('datapath on three nodes', { timeoutMs: 60_000 })

const PODS = { tx: 'n1', a: 'n1', b: 'n1', idle: 'n1', c: 'n2', d: 'n2', e: 'n3', other: 'n3' }
const { CHANGE_TO_EXCLUDE_MODE, CHANGE_TO_INCLUDE_MODE, ALLOW_NEW_SOURCES } = RECORD_TYPE

let testbed: Testbed
/** Every test has a group of its own. */
let nextGroup = 0
const freshGroup = () => {
  const group = `239.192.0.${++nextGroup}`
  testbed.enable(group)
  return group
}

const join = (group: string, sources: number[] = []): IgmpFields => ({
  records: [{ recordType: CHANGE_TO_EXCLUDE_MODE, multicastAddress: parseIpv4(group), sources }],
})
const leave = (group: string): IgmpFields => ({
  records: [{ recordType: CHANGE_TO_INCLUDE_MODE, multicastAddress: parseIpv4(group) }],
})
const allow = (group: string, sources: number[]): IgmpFields => ({
  records: [{ recordType: ALLOW_NEW_SOURCES, multicastAddress: parseIpv4(group), sources }],
})

async function joined(group: string, pods: string[]): Promise<void> {
  for (const pod of pods) testbed.igmp(pod, join(group))
  await testbed.controlPlane?.settled()
}

/** Sends one datagram with a text of its own and tells where it arrived. */
function reach(group: string, from = 'tx', ipv4: FrameSpec['ipv4'] = {}): Record<string, number> {
  const text = `to ${group} number ${++sent} from ${from}`
  testbed.udp(from, group, text, ipv4)
  return testbed.arrivals(text, from)
}
let sent = 0

test.before(async () => {
  testbed = await Testbed.create(PODS)
})
test.after(() => testbed.close())

test('one copy a member, one tunnel packet a node, none to the sender or anyone else (D36, D37)', async () => {
  const group = freshGroup()
  await joined(group, ['tx', 'a', 'b', 'c', 'd', 'e'])
  assert.equal(reach(group), { a: 1, b: 1, c: 1, d: 1, e: 1, 'n1/eth0': 2 })
  assert.equal(reach(group, 'c'), { a: 1, b: 1, d: 1, e: 1, tx: 1, 'n2/eth0': 2 })
})

test('no members on a node: no tunnel packet to it, and a leave stops it', async () => {
  const group = freshGroup()
  await joined(group, ['a', 'c'])
  assert.equal(reach(group), { a: 1, c: 1, 'n1/eth0': 1 })
  testbed.igmp('c', leave(group))
  await testbed.controlPlane?.settled()
  assert.equal(reach(group), { a: 1 })
})

test('a member that joined on this node gets the very next frame', () => {
  const group = freshGroup()
  testbed.igmp('b', join(group))
  assert.equal(reach(group), { b: 1 })
})

test('the frame is the same everywhere, but for the destination MAC (D33)', async () => {
  const group = freshGroup()
  await joined(group, ['a', 'c'])
  const { address, mac } = testbed.pod('tx')
  const spec: FrameSpec = {
    ethernet: { src: mac, dst: parseMac('ff:ff:ff:ff:ff:ff') },
    ipv4: { src: address, dst: parseIpv4(group), ttl: 1, tos: 0x28, id: 7 },
    udp: { srcPort: 4000, dstPort: 5001 },
    payload: 'c0ffee'.repeat(20),
  }
  const frame = Buffer.from(buildFrame(spec)).toString('hex')
  testbed.sendRaw('tx', Buffer.from(frame, 'hex'))
  const seen = testbed.sightings('tx').filter(({ hex }) => hex.includes('c0ffee'))
  const low23 = (parseIpv4(group) & 0x7fffff).toString(16).padStart(6, '0')
  const want = `01005e${low23}${frame.slice(12)}`
  assert.is(seen.find(({ place }) => place === 'a')?.hex, want)
  assert.is(seen.find(({ place }) => place === 'c')?.hex, want)
  const outer = seen.find(({ place }) => place === 'n1/eth0')?.hex ?? ''
  // RFC 7348 §5: port 8472, no UDP checksum, flags 08, VNI 2; then the frame.
  assert.match(outer, new RegExp(`2118[0-9a-f]{4}00000800000000000200${want}$`))
})

test('source filters decide on delivery, on the other node as well (D02, D04, D08)', async () => {
  const group = freshGroup()
  const s1 = parseIpv4('192.0.2.1')
  testbed.igmp('a', allow(group, [s1]))
  testbed.igmp('b', join(group, [s1]))
  testbed.igmp('c', allow(group, [s1]))
  testbed.igmp('d', join(group, [s1]))
  await testbed.controlPlane?.settled()
  assert.equal(reach(group, 'tx', { src: s1 }), { a: 1, c: 1, 'n1/eth0': 1 })
  assert.equal(reach(group, 'tx', { src: s1 + 1 }), { b: 1, d: 1, 'n1/eth0': 1 })
})

test('a veth receives what any host behind it wants (D32)', () => {
  const group = freshGroup()
  const [s1, s2, s3] = [1, 2, 3].map(i => parseIpv4('192.0.2.0') + i) as [number, number, number]
  testbed.igmp('a', allow(group, [s1]), '10.99.0.1')
  testbed.igmp('a', join(group, [s1, s2]), '10.99.0.2')
  for (const [source, copies] of [
    [s1, { a: 1 }],
    [s2, {}],
    [s3, { a: 1 }],
  ] as const)
    assert.equal(reach(group, 'tx', { src: source }), copies)
  testbed.igmp('a', leave(group), '10.99.0.2')
  for (const [source, copies] of [
    [s1, { a: 1 }],
    [s2, {}],
    [s3, {}],
  ] as const)
    assert.equal(reach(group, 'tx', { src: source }), copies)
})

test("a leave in another's name does not touch it (D26)", () => {
  const group = freshGroup()
  testbed.igmp('a', join(group))
  testbed.igmp('b', { type: 0x17, group: parseIpv4(group) }, '10.1.0.2')
  testbed.igmp('b', leave(group), '10.1.0.2')
  assert.equal(reach(group), { a: 1 })
})

test('IGMP reaches neither another pod nor another node (D27)', async () => {
  const group = freshGroup()
  await joined(group, ['a', 'c'])
  testbed.igmp('b', join(group))
  const igmp = testbed.sightings('tx').filter(({ hex }) => hex.includes('94040000'))
  assert.equal(igmp, [])
})

test('groups that share their MAC are told apart (D30)', () => {
  testbed.enable('224.1.2.3')
  testbed.enable('239.129.2.3')
  testbed.igmp('a', join('224.1.2.3'))
  assert.equal(reach('239.129.2.3'), {})
  assert.equal(reach('224.1.2.3'), { a: 1 })
})

test('every fragment is replicated', async () => {
  const group = freshGroup()
  await joined(group, ['a', 'c'])
  const { address, mac } = testbed.pod('tx')
  const whole = buildFrame({
    ethernet: { src: mac },
    ipv4: { src: address, dst: parseIpv4(group), flags: 0, id: 77 },
    udp: { dstPort: 5001 },
    payload: 'fa57'.repeat(1000),
  })
  const fragments = fragment(whole, 800)
  for (const each of fragments) testbed.sendRaw('tx', each)
  const seen = testbed.sightings('tx').filter(({ hex }) => hex.includes('fa57fa57'))
  const at = (place: string) => seen.filter(sighting => sighting.place === place).map(({ hex }) => hex)
  const want = fragments.map(each => Buffer.from(each).toString('hex'))
  assert.ok(want.length > 2)
  assert.equal(at('a'), want)
  assert.equal(at('c'), want)
})

test('a member whose link is down costs the others nothing, and is counted (D38)', async () => {
  const group = freshGroup()
  await joined(group, ['a', 'b', 'idle', 'c'])
  const link = (state: string) =>
    inNetns(testbed.pod('b').node.ns, () => execFileSync('ip', ['link', 'set', testbed.pod('b').nodeInterface, state]))
  link('down')
  testbed.deaf.add('b')
  const before = testbed.datapath('n1').drops()['member-down']
  assert.equal(reach(group), { a: 1, idle: 1, c: 1, 'n1/eth0': 1 })
  assert.ok(testbed.datapath('n1').drops()['member-down'] > before)
  link('up')
  testbed.deaf.delete('b')
  assert.equal(reach(group), { a: 1, b: 1, idle: 1, c: 1, 'n1/eth0': 1 })
})

test('unicast reaches pods of this node and of others', () => {
  for (const [to, copies] of [
    ['a', { a: 1 }],
    ['e', { e: 1, 'n1/eth0': 1 }],
  ] as const) {
    const text = `unicast to ${to}`
    const { address } = testbed.pod(to)
    testbed.send('tx', { ipv4: { dst: address }, udp: { dstPort: 9 }, payload: Buffer.from(text).toString('hex') })
    const { tx: _, [`${testbed.pod(to).node.name}/eth0`]: __, ...seen } = testbed.arrivals(text, 'tx')
    assert.equal({ ...copies, ...seen }, { ...copies })
    assert.is(seen[to], 1)
  }
})

/** A tunnel packet to n1 as if from `outerSource`, with a datagram for the group. */
function inject(group: string, outer: FrameSpec): Record<string, number> {
  const text = `injected ${++sent}`
  const [n1, n2] = [testbed.node('n1'), testbed.node('n2')]
  const neighbours = inNetns(n2.ns, () => execFileSync('ip', ['neigh', 'show'], { encoding: 'utf8' }))
  const mac = /10\.224\.0\.4 dev eth0 lladdr (\S+)/.exec(neighbours)?.[1] ?? ''
  const frame = buildFrame({
    ethernet: { src: 0x020000000001, dst: parseMac(mac) },
    ipv4: { src: n2.address, dst: n1.address, ...outer.ipv4 },
    udp: { srcPort: 55555, dstPort: 8472, ...outer.udp },
    vxlan: { flags: 8, vni: 2, ...outer.vxlan },
    inner: {
      ethernet: { src: 0x020000000002 },
      ipv4: { src: parseIpv4('192.0.2.9'), dst: parseIpv4(group) },
      udp: { dstPort: 5001 },
      payload: Buffer.from(text).toString('hex'),
    },
  })
  const emitter = new PacketEmitter(n2.ns.fd)
  emitter.send(n2.uplinkIndex, frame)
  emitter.close()
  const { 'n2/eth0': _, ...seen } = testbed.arrivals(text, 'c')
  return seen
}

test('from the overlay: known nodes, the right VNI, the I flag, a right checksum or none (O03, O04)', () => {
  const group = freshGroup()
  testbed.igmp('a', join(group))
  assert.equal(inject(group, {}), { a: 1 })
  assert.equal(inject(group, { udp: { checksum: 0 } }), { a: 1 })
  assert.equal(inject(group, { udp: { checksum: 0x1234 } }), {})
  const before = testbed.datapath('n1').drops()
  assert.equal(inject(group, { vxlan: { flags: 0 } }), {})
  assert.equal(inject(group, { vxlan: { vni: 3 } }), {})
  assert.equal(inject(group, { ipv4: { src: parseIpv4('10.224.0.99') } }), {})
  const after = testbed.datapath('n1').drops()
  for (const reason of ['vxlan-flag', 'vni', 'outer-source'] as const)
    assert.is(after[reason] - before[reason], 1, reason)
})

test('a pod that is detached is no member any more, here and elsewhere', async () => {
  const group = freshGroup()
  await joined(group, ['c', 'e'])
  const { node, nodeIndex } = testbed.pod('c')
  testbed.datapath(node.name).detachPod(nodeIndex)
  await testbed.controlPlane?.settled()
  assert.equal(
    testbed
      .datapath('n1')
      .subscribers(parseIpv4(group))
      .flatMap(table => table.subscribers.map(row => row.subscriber)),
    ['10.224.0.6'],
  )
  testbed.attach(testbed.pod('c'))
  testbed.igmp('c', { type: 0x16, group: parseIpv4('239.255.255.250') })
  assert.equal(reach(group), { e: 1, 'n1/eth0': 1 })
})

test.run()
