import * as assert from 'uvu/assert'
import { buildFrame } from '../../generators/frame.ts'
import { parseIpv4 } from '../../generators/wire/address.ts'
import { suite } from '../../test/suite.ts'
import type { PimWant } from '../suite/expectations.ts'
import { pimCheck } from './pim.ts'
import { Scenario } from './scenario.ts'

const test = suite('check pim')

// As FRR 8.4.4 sent them.
const HELLO = '20000e820001000200140002000401f409c40013000400000001001400047c2b494d'
const JOIN = '2300d42401000a000202000100d201000020efc3fffe000100000100072001010101'

function frame(payload: string, ipv4: { ttl?: number; dst?: string } = {}): Uint8Array {
  const dst = parseIpv4(ipv4.dst ?? '224.0.0.13')
  return buildFrame({ ipv4: { protocol: 103, ttl: ipv4.ttl ?? 1, src: parseIpv4('10.0.2.1'), dst }, payload })
}

function scenario(...frames: Uint8Array[]): Scenario {
  const made = new Scenario()
  for (const bytes of frames) made.plant('n1/eth0', 'out', bytes)
  return made
}

const want: PimWant = {
  node: 'n1',
  interface: 'eth0',
  direction: 'out',
  type: 'hello',
  count: { atLeast: 1 },
  ipv4: { ttl: 1, dst: parseIpv4('224.0.0.13') },
  holdtimeS: { atLeast: 1 },
}
const join: PimWant = {
  ...want,
  type: 'join-prune',
  list: 'join',
  group: parseIpv4('239.195.255.254'),
  source: '*',
}

function judge(made: Scenario, asked: PimWant) {
  return pimCheck.judge(asked, made.sent, made.seen)
}

test('a right Hello passes, and only those of the interface and direction count', () => {
  assert.is(judge(scenario(frame(HELLO)), want).status, 'pass')
  assert.is(judge(scenario(frame(HELLO)), { ...want, direction: 'in' }).status, 'fail')
  assert.is(judge(scenario(frame(JOIN)), want).status, 'fail')
  assert.is(judge(scenario(), want).status, 'fail')
})

test('a Hello with another TTL, destination, checksum or Holdtime fails, and says which', () => {
  assert.match(judge(scenario(frame(HELLO, { ttl: 64 })), want).message, 'ttl')
  assert.match(judge(scenario(frame(HELLO, { dst: '224.0.0.2' })), want).message, 'dst')
  assert.match(judge(scenario(frame(HELLO.replace('0e82', '0e83'))), want).message, 'pim.checksum')
  assert.match(judge(scenario(frame('2000dfff')), want).message, 'pim.holdtime')
  assert.match(judge(scenario(frame(`${HELLO}0001`)), want).message, 'well formed')
})

test('a Join is known by its list, group and wildcard, and its upstream neighbour is compared', () => {
  assert.is(judge(scenario(frame(JOIN)), { ...join, upstream: parseIpv4('10.0.2.2') }).status, 'pass')
  assert.match(judge(scenario(frame(JOIN)), { ...join, upstream: parseIpv4('10.0.2.9') }).message, '10.0.2.9')
  assert.is(judge(scenario(frame(JOIN)), { ...join, list: 'prune' }).status, 'fail')
  assert.is(judge(scenario(frame(JOIN)), { ...join, source: parseIpv4('1.1.1.1') }).status, 'fail')
  assert.is(judge(scenario(frame(JOIN)), { ...join, group: parseIpv4('239.0.0.2') }).status, 'fail')
})

test('absence passes only where PIM is heard at all', () => {
  const none: PimWant = { ...want, type: 'assert', count: 0 }
  assert.is(judge(scenario(frame(HELLO)), none).status, 'pass')
  assert.is(judge(scenario(), none).status, 'inconclusive')
  assert.is(judge(scenario(frame('2500daff')), none).status, 'fail')
})

test('a tap that lost frames, or is not there, proves nothing', () => {
  const lost = scenario(frame(HELLO))
  lost.dropped.set('n1/eth0', 3)
  assert.is(judge(lost, want).status, 'inconclusive')
  assert.is(judge(scenario(frame(HELLO)), { ...want, interface: 'gi9-0' }).status, 'inconclusive')
})

test.run()
