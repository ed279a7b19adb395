import * as assert from 'uvu/assert'
import { createNetns, type Netns } from '../../generators/linux/netns.ts'
import { suite } from '../../test/suite.ts'
import { IpSession } from './ip-session.ts'

const test = suite('ip that stays', { timeoutMs: 60_000 })

let ns: Netns
let session: IpSession
test.beforeEach(() => {
  ns = createNetns()
  session = new IpSession(ns)
})
test.afterEach(async () => {
  await session.close()
  ns.close()
})

test('lines are done when the run is, in one process', async () => {
  assert.is(await session.run(['link add v0 type veth peer name v1']), '')
  assert.match(await session.run(['link show dev v0']), /^\d+: v0@v1:/)
  assert.is(await session.run([]), '')
})

test('runs asked for at once take turns', async () => {
  await session.run(['link set lo up'])
  const shown = await Promise.all(
    ['1.1.1.1', '2.2.2.2', '3.3.3.3'].map(to => session.run([`route get ${to} from 127.0.0.1`])),
  ).catch(error => String(error))
  assert.match(String(shown), /unreachable/i)
  assert.match(await session.run(['route show table local']), /127\.0\.0\.1/)
})

test('a line that fails is named, what comes later is not tried, and the next run works', async () => {
  await session.run(['link set lo up'])
  await session.run(['link add v0 type veth peer name v1'])
  const failure = await session
    .run(['link set v0 mtu 1300', 'link set nosuch up', 'link set v0 mtu 1200'])
    .catch(String)
  assert.match(failure, /Cannot find device "nosuch".* in: link set nosuch up$/s)
  assert.match(await session.run(['link show dev v0']), /mtu 1300/)
})

test('a list that ends the process is whole, and the next run works', async () => {
  assert.is(await session.run(['xfrm state list nokeys']), '')
  assert.is(await session.run(['link set lo up']), '')
})

test('it ends with close, and starts again when asked', async () => {
  await session.run(['link set lo up'])
  await session.close()
  assert.is(await session.run(['link set lo mtu 1400']), '')
})

test.run()
