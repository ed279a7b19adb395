import * as assert from 'uvu/assert'
import type { IgmpFields } from '../generators/frame-spec.ts'
import { formatIpv4, parseIpv4 } from '../generators/wire/address.ts'
import { suite } from '../test/suite.ts'
import { startControlPlane } from './control-plane.ts'
import { Testbed } from './testbed.ts'

const test = suite('control plane', { timeoutMs: 60_000 })

let testbed: Testbed
let nextGroup = 0
const freshGroup = () => `239.193.0.${++nextGroup}`
const v2Report = (group: string): IgmpFields => ({ type: 0x16, group: parseIpv4(group) })
const v2Leave = (group: string): IgmpFields => ({ type: 0x17, group: parseIpv4(group) })

/** Subscribers of a group on a node, as the table prints them. */
function rows(node: string, group: string): string[] {
  return testbed
    .datapath(node)
    .subscribers(parseIpv4(group))
    .flatMap(table => table.subscribers.map(row => `${row.subscriber} ${row.type}`))
}
const N1 = '10.224.0.4 Remote Node'
const N2 = '10.224.0.5 Remote Node'

test.before(async () => {
  testbed = await Testbed.create({ a: 'n1', b: 'n1', c: 'n2', d: 'n3' })
})
test.after(() => testbed.close())

test('a node with members is a subscriber on every other node until its last member leaves', async () => {
  const group = freshGroup()
  testbed.enable(group)
  testbed.igmp('a', v2Report(group))
  testbed.igmp('b', v2Report(group))
  await testbed.controlPlane?.settled()
  assert.equal([rows('n2', group), rows('n3', group)], [[N1], [N1]])
  testbed.igmp('a', v2Leave(group))
  await testbed.controlPlane?.settled()
  assert.equal(rows('n2', group), [N1])
  testbed.igmp('b', v2Leave(group))
  await testbed.controlPlane?.settled()
  assert.equal([rows('n1', group), rows('n2', group), rows('n3', group)], [[], [], []])
})

test('a group enabled later on a node learns who has members elsewhere', async () => {
  const group = freshGroup()
  testbed.datapath('n1').enableGroup(parseIpv4(group))
  testbed.igmp('a', v2Report(group))
  await testbed.controlPlane?.settled()
  testbed.datapath('n2').enableGroup(parseIpv4(group))
  await testbed.controlPlane?.settled()
  assert.equal(rows('n2', group), [N1])
  testbed.datapath('n1').disableGroup(parseIpv4(group))
  await testbed.controlPlane?.settled()
  assert.equal(rows('n2', group), [])
})

test('an agent that restarts knows what its node knew, and what changed meanwhile', async () => {
  const [before, meanwhile] = [freshGroup(), freshGroup()]
  for (const group of [before, meanwhile]) testbed.enable(group)
  testbed.igmp('a', v2Report(before))
  testbed.igmp('c', v2Report(before))
  await testbed.controlPlane?.settled()
  testbed.igmp('a', v2Report(meanwhile))
  await testbed.controlPlane?.restart('n1')
  await testbed.controlPlane?.settled()
  assert.equal(rows('n2', before), ['10.2.0.1 Local Endpoint', N1])
  assert.equal(rows('n1', before), ['10.1.0.1 Local Endpoint', N2])
  assert.equal(rows('n2', meanwhile), [N1])
  testbed.igmp('a', v2Leave(before))
  await testbed.controlPlane?.settled()
  assert.equal(rows('n2', before), ['10.2.0.1 Local Endpoint'])
})

test('a thousand joins at once are all told', async () => {
  const groups = Array.from({ length: 900 }, (_, i) => formatIpv4(parseIpv4('239.200.0.0') + i))
  for (const group of groups) testbed.enable(group)
  for (const group of groups) testbed.igmp('c', v2Report(group))
  await testbed.controlPlane?.settled()
  const told = testbed
    .datapath('n1')
    .subscribers()
    .filter(table => table.subscribers.length === 1)
  assert.is(told.filter(table => table.group.startsWith('239.20')).length, 900)
  assert.is(testbed.datapath('n2').drops()['event-lost'], 0)
  for (const group of groups)
    for (const node of ['n1', 'n2', 'n3']) testbed.datapath(node).disableGroup(parseIpv4(group))
})

test('a control-plane fault shows, and only while it is on', async () => {
  for (const [fault, afterJoin, afterLeave] of [
    ['remote-join-lost', [], []],
    ['remote-leave-ignored', [N1], [N1]],
    ['remote-join-late', [], []],
  ] as const) {
    const group = freshGroup()
    await testbed.reload({ faults: [fault] })
    testbed.enable(group)
    testbed.igmp('a', v2Report(group))
    await testbed.controlPlane?.settled()
    assert.equal(rows('n2', group), [...afterJoin], fault)
    testbed.igmp('a', v2Leave(group))
    await testbed.controlPlane?.settled()
    assert.equal(rows('n2', group), [...afterLeave], fault)
  }
  await testbed.reload({})
})

test('two control planes that hear of each other by messages keep each other in step', async () => {
  const group = freshGroup()
  await testbed.controlPlane?.close()
  const [n1, n2] = [testbed.datapath('n1'), testbed.datapath('n2')]
  let news = 0
  const one = await startControlPlane([n1], () => news++)
  const two = await startControlPlane([n2])
  try {
    const carry = async () => two.setPeers(await one.published())
    await carry()
    const before = news
    testbed.enable(group)
    testbed.igmp('a', v2Report(group))
    await one.settled()
    await carry()
    assert.ok(news > before, 'a join is news')
    assert.equal(rows('n2', group), [N1])
    testbed.igmp('a', v2Leave(group))
    await one.settled()
    await carry()
    assert.equal(rows('n2', group), [])
    testbed.igmp('a', v2Report(group))
    await one.settled()
    await carry()
    await two.setPeers([])
    assert.equal(rows('n2', group), [], 'a node that is gone is nobody’s subscriber')
  } finally {
    await one.close()
    await two.close()
  }
})

test.run()
