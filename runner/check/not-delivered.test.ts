import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import type { NotDeliveredWant } from '../suite/expectations.ts'
import { notDelivered } from './not-delivered.ts'
import { Scenario } from './scenario.ts'

const test = suite('check not-delivered')
const want: NotDeliveredWant = {
  stream: 's1',
  to: ['idle', 'far2'],
  control: { stream: 's1', to: ['rx', 'far'] },
  allowWeaker: false,
}

function rightRun(): Scenario {
  const scenario = new Scenario()
  scenario.sendWhole('s1', ['rx', 'far'])
  return scenario
}

function judge(scenario: Scenario, change: Partial<NotDeliveredWant> = {}) {
  return notDelivered.judge({ ...want, ...change }, scenario.sent, scenario.seen)
}

function streamOf(scenario: Scenario) {
  const stream = scenario.sent.of('s1')[0]
  if (!stream) throw new RangeError('no stream s1')
  return stream
}

/** One copy of sequence 6 at the pod, this long after it was sent. */
function leak(scenario: Scenario, pod: string, laterNs: number): void {
  const [frame] = scenario.at('rx/eth0', streamOf(scenario), 6)
  if (frame) scenario.frames.push({ ...frame, tap: `${pod}/eth0`, timeNs: frame.timeNs + laterNs })
}

test('passes with fence and positive control', () => {
  const verdict = judge(rightRun())
  assert.is(verdict.status, 'pass', verdict.message)
  assert.is(verdict.method, 'fence')
})

test('a copy fails, at once, 1 ms later, and 20 ms later, long after the fence', () => {
  for (const laterNs of [0, 1_000_000, 20_000_000]) {
    const scenario = rightRun()
    leak(scenario, 'idle', laterNs)
    const verdict = judge(scenario)
    assert.is(verdict.status, 'fail')
    assert.is(verdict.message, 'expected no copy of s1 at idle, saw 1 (sequences 6)')
    assert.is(verdict.frames?.length, 1)
  }
})

test('a leaked copy with a broken stamp, or in fragments without a head, is a leak too', () => {
  const [frame] = rightRun().at('rx/eth0', streamOf(rightRun()), 6)
  const broken = frame?.bytes.slice() ?? new Uint8Array()
  broken[45] = (broken[45] ?? 0) ^ 0xff
  const tail = frame?.bytes.slice() ?? new Uint8Array()
  tail[21] = 4
  for (const bytes of [broken, tail]) {
    const scenario = rightRun()
    scenario.plant('idle/eth0', 'in', bytes)
    const verdict = judge(scenario)
    assert.is(verdict.status, 'fail')
    assert.match(verdict.message, 'saw 1 frame with its addresses and ports and no readable stamp')
    assert.is(verdict.frames?.length, 1)
  }
})

test('what is not like the stream is background: another port, source, group, time', () => {
  const [frame] = rightRun().at('rx/eth0', streamOf(rightRun()), 6)
  const changes: [number, number?][] = [[37], [29], [33], [45, 0]]
  for (const [at, timeNs] of changes) {
    const bytes = frame?.bytes.slice() ?? new Uint8Array()
    bytes[at] = (bytes[at] ?? 0) ^ 1
    bytes[45] = (bytes[45] ?? 0) ^ 0xf0
    const scenario = new Scenario()
    scenario.nowNs = 1e9
    scenario.sendWhole('s1', ['rx', 'far'])
    scenario.plant('idle/eth0', 'in', bytes, timeNs)
    assert.is(judge(scenario).status, 'pass', `octet ${at}`)
  }
})

test('a leak is a leak even where fence, control, stimulus and tap are unsound', () => {
  const scenario = rightRun()
  leak(scenario, 'far2', 0)
  scenario.dropped.set('far2/eth0', 9)
  scenario.lose(...scenario.at('n1/lxc_tx', streamOf(scenario)), ...scenario.at('rx/eth0', streamOf(scenario)))
  assert.is(judge(scenario).status, 'fail')
})

test('a leaked prime fails', () => {
  const scenario = rightRun()
  const prime = scenario.send('s1.prime', { role: 'prime', of: streamOf(scenario), count: 2 })
  assert.is(judge(scenario).status, 'pass')
  scenario.deliver(prime, ['idle'])
  assert.match(judge(scenario).message, 'saw 2 (its primes)')
})

test('a window leaves primes and frames of another time out', () => {
  const scenario = new Scenario()
  const stream = scenario.send('s1')
  scenario.deliver(stream, ['rx', 'far'])
  scenario.step({ id: 'left', line: 1, action: 'snapshot' })
  const late = scenario.send('s1', { pod: 'rx' })
  scenario.deliver(late, ['far'])
  scenario.fence(late)
  const control = { stream: 's1', to: ['far'] }
  assert.is(judge(scenario, { to: ['idle', 'tx'], after: 'left', control }).status, 'pass')
  assert.is(judge(scenario, { to: ['rx'], after: 'left', from: ['tx'], control }).status, 'inconclusive')
})

test('no fence, a fence that did not come, or one before the last frame: inconclusive', () => {
  const guards = (s: Scenario) => s.sent.serving(streamOf(s).number, 'fence')
  const spoil: [(s: Scenario) => void, RegExp][] = [
    [
      s => s.streams.splice(0, s.streams.length, ...s.streams.filter(({ role }) => role !== 'fence')),
      /no fence was sent/,
    ],
    [s => guards(s).map(guard => s.lose(...s.at('idle/eth0', guard))), /the fence did not arrive at idle\/eth0/],
    [s => guards(s).map(guard => Object.assign(guard, { timeNs: () => 0 })), /the fence did not arrive/],
  ]
  for (const [change, message] of spoil) {
    const scenario = rightRun()
    change(scenario)
    const verdict = judge(scenario)
    assert.is(verdict.status, 'inconclusive')
    assert.match(verdict.message, message)
  }
})

test('no positive control in the window: inconclusive', () => {
  const scenario = rightRun()
  scenario.lose(...scenario.at('far/eth0', streamOf(scenario), 0))
  const verdict = judge(scenario)
  assert.is(verdict.status, 'inconclusive')
  assert.match(verdict.message, 'positive control s1 is not complete at far')
  assert.match(judge(rightRun(), { control: { stream: 's9', to: ['rx'] } }).message, 'stream s9 was not sent')
})

test('tap dropped, tap missing, stimulus unseen: inconclusive', () => {
  const spoil: ((s: Scenario) => void)[] = [
    s => s.dropped.set('idle/eth0', 1),
    s => s.trouble.set('idle/eth0', 'the file ends early'),
    s => s.withoutTap.add('far2/eth0'),
    s => s.lose(...s.at('n1/lxc_tx', streamOf(s), 0)),
  ]
  for (const change of spoil) {
    const scenario = rightRun()
    change(scenario)
    assert.is(judge(scenario).status, 'inconclusive')
  }
})

test("at the sender's own veth the echo proves it, unless the profile refuses weaker proofs", () => {
  const scenario = rightRun()
  const verdict = judge(scenario, { to: ['tx'], allowWeaker: true })
  assert.is(verdict.status, 'pass', verdict.message)
  assert.is(verdict.method, 'echo')
  assert.match(judge(scenario, { to: ['tx'] }).message, 'proved by echo only, which the profile refuses')
  leak(scenario, 'tx', 0)
  assert.is(judge(scenario, { to: ['tx'], allowWeaker: true }).status, 'fail')
})

test.run()
