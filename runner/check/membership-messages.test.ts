import * as assert from 'uvu/assert'
import { buildFrame } from '../../generators/frame.ts'
import type { IgmpFields } from '../../generators/frame-spec.ts'
import { parseIpv4 } from '../../generators/wire/address.ts'
import { suite } from '../../test/suite.ts'
import type { IgmpWant, JoinDelayWant, LeaveDelayWant } from '../suite/expectations.ts'
import type { PlannedStep } from '../suite/plan-types.ts'
import { igmpCheck } from './igmp.ts'
import { joinDelay } from './join-delay.ts'
import { leaveDelay } from './leave-delay.ts'
import { GROUP, Scenario } from './scenario.ts'

const test = suite('checks igmp, join-delay, leave-delay')
const OTHER = parseIpv4('233.252.0.2')

function message(igmp: IgmpFields, host = '10.1.0.2'): Uint8Array {
  return buildFrame({ ipv4: { src: parseIpv4(host) }, igmp })
}

const v3Join = message({
  type: 0x22,
  records: [
    { recordType: 4, multicastAddress: OTHER },
    { recordType: 4, multicastAddress: GROUP },
  ],
})
const v2Join = message({ type: 0x16, group: GROUP })
const v2Leave = message({ type: 0x17, group: GROUP })

function withMessages(...frames: Uint8Array[]): Scenario {
  const scenario = new Scenario()
  for (const frame of frames) {
    scenario.plant('rx/eth0', 'out', frame)
    scenario.plant('n1/lxc_rx', 'in', frame)
  }
  return scenario
}

const want: IgmpWant = {
  pods: ['rx'],
  direction: 'out',
  igmp: { records: [{ recordType: 4, multicastAddress: GROUP }] },
  count: 2,
}

function judge(scenario: Scenario, change: Partial<IgmpWant> = {}) {
  return igmpCheck.judge({ ...want, ...change }, scenario.sent, scenario.seen)
}

test('igmp: counts messages that hold each record, in any order', () => {
  const scenario = withMessages(v3Join, v3Join, v2Join)
  assert.is(judge(scenario).status, 'pass', judge(scenario).message)
  const both = [
    { recordType: 4, multicastAddress: GROUP },
    { recordType: 4, multicastAddress: OTHER },
  ]
  assert.is(judge(scenario, { igmp: { records: both } }).status, 'pass')
  assert.is(judge(scenario, { version: 3, igmp: {} }).status, 'pass')
  assert.is(judge(scenario, { version: 2, igmp: {}, count: 1 }).status, 'pass')
  assert.is(
    judge(scenario, { version: 2, igmp: { type: 0x16, group: GROUP }, ipv4: { ttl: 1, options: '94040000' }, count: 1 })
      .status,
    'pass',
  )
})

test('igmp: too few fail with the nearest message and its field', () => {
  const scenario = withMessages(v3Join)
  const verdict = judge(scenario, { igmp: { records: [{ recordType: 3, multicastAddress: GROUP }] }, count: 1 })
  assert.is(verdict.status, 'fail')
  assert.match(verdict.message, 'expected 1 matching IGMP messages at rx/eth0 (out), saw 0')
  assert.match(verdict.differences?.[0]?.field ?? '', /records\[0\]/)
  assert.is(verdict.frames?.length, 1)
  assert.is(judge(scenario, { version: 2, igmp: {}, count: 1 }).differences?.[0]?.field, 'igmp.version')
})

test('igmp: the Ethernet destination may have to be that of the group', () => {
  const wrong = v2Join.slice()
  wrong[2] = 0x0e
  const ofGroup: Partial<IgmpWant> = { version: 2, igmp: {}, count: 1, groupMac: true }
  assert.is(judge(withMessages(v2Join), ofGroup).status, 'pass')
  assert.is(judge(withMessages(wrong), ofGroup).differences?.[0]?.field, 'ethernet.dst')
})

test('igmp: too many fail with the frames', () => {
  const verdict = judge(withMessages(v3Join, v3Join, v3Join))
  assert.is(verdict.status, 'fail')
  assert.is(verdict.frames?.length, 3)
})

test('igmp: bounds and windows', () => {
  const scenario = withMessages(v2Join)
  scenario.step({ id: 'wait', line: 1, action: 'snapshot' })
  for (const frame of [v2Join, v2Join]) scenario.plant('rx/eth0', 'out', frame)
  const v2 = { igmp: { type: 0x16 } }
  assert.is(judge(scenario, { ...v2, count: { atLeast: 3 } }).status, 'pass')
  assert.is(judge(scenario, { ...v2, count: { atLeast: 4 } }).status, 'fail')
  assert.is(judge(scenario, { ...v2, count: 2, after: 'wait' }).status, 'pass')
  assert.is(judge(scenario, { ...v2, count: 1, before: 'wait' }).status, 'pass')
  assert.is(judge(scenario, { ...v2, after: 'never' }).status, 'inconclusive')
})

test('igmp: none of another pod may come in, proved by a control', () => {
  const none: Partial<IgmpWant> = { direction: 'in', igmp: {}, count: 0, control: { stream: 's1', to: ['rx'] } }
  const scenario = withMessages(v2Join)
  assert.is(judge(scenario, none).status, 'inconclusive')
  scenario.sendWhole('s1', ['rx'])
  assert.is(judge(scenario, none).status, 'pass')
  scenario.dropped.set('rx/eth0', 1)
  assert.is(judge(scenario, none).status, 'inconclusive')
  scenario.plant('rx/eth0', 'in', message({ type: 0x16, group: GROUP }, '10.1.0.3'))
  assert.is(judge(scenario, none).status, 'fail')
})

test('igmp: missing messages at a tap that dropped are inconclusive', () => {
  const scenario = withMessages(v3Join)
  scenario.dropped.set('rx/eth0', 1)
  assert.is(judge(scenario).status, 'inconclusive')
})

const joinStep: PlannedStep = {
  id: 'j',
  line: 1,
  action: 'join',
  pods: ['rx'],
  group: GROUP,
  igmpVersion: 2,
  robustness: 1,
  via: 'emulator',
  answers: false,
}
const leaveStep: PlannedStep = { id: 'l', line: 1, action: 'leave', pods: ['rx'], group: GROUP }

/** A stream of 100 frames, 10 us apart; the message leaves after frame 20, copies come for the frames given. */
function around(step: PlannedStep, frame: Uint8Array, received: (sequence: number) => boolean): Scenario {
  const scenario = new Scenario()
  const stream = scenario.send('s1', { count: 100 })
  scenario.deliver(stream, ['rx'])
  scenario.lose(...scenario.at('rx/eth0', stream).filter(({ sequence }) => !received(sequence)))
  const atNs = stream.timeNs(20) + 5_000
  scenario.nowNs = atNs - 20_000
  scenario.step(step, () => {
    scenario.plant('rx/eth0', 'out', frame, atNs - 100)
    scenario.plant('n1/lxc_rx', 'in', frame, atNs)
  })
  return scenario
}

function fence(scenario: Scenario): void {
  const [stream] = scenario.sent.of('s1')
  if (!stream) throw new RangeError('no stream')
  scenario.nowNs = stream.timeNs(stream.count - 1) + 1000
  scenario.fence(stream)
}

const joinWant: JoinDelayWant = { stream: 's1', to: ['rx'], step: 'j', enforced: true, maxMs: 0.02 }
const leaveWant: LeaveDelayWant = { ...joinWant, step: 'l' }

test('join-delay: from the report at the veth to the first copy', () => {
  const scenario = around(joinStep, v2Join, k => k > 20)
  const verdict = joinDelay.judge(joinWant, scenario.sent, scenario.seen)
  assert.is(verdict.status, 'pass', verdict.message)
  const { joinDelayUs } = verdict.measurements ?? {}
  assert.is(joinDelayUs, 7.1)
})

test('join-delay: above an enforced bound, or never, fails; otherwise it is recorded', () => {
  const slow = around(joinStep, v2Join, k => k > 30)
  assert.is(joinDelay.judge(joinWant, slow.sent, slow.seen).status, 'fail')
  assert.is(joinDelay.judge({ ...joinWant, enforced: false }, slow.sent, slow.seen).status, 'pass')
  const never = around(joinStep, v2Join, () => false)
  assert.match(joinDelay.judge(joinWant, never.sent, never.seen).message, 'saw no copy')
})

test('join-delay, leave-delay: a stream that ends soon after the change decides only about a bound', () => {
  const recorded = { enforced: false }
  const joins = around(joinStep, v2Join, () => false)
  assert.match(joinDelay.judge({ ...joinWant, ...recorded }, joins.sent, joins.seen).message, '50 ms would decide')
  assert.is(joinDelay.judge({ ...joinWant, ...recorded }, joins.sent, joins.seen).status, 'inconclusive')
  const leaves = around(leaveStep, v2Leave, () => true)
  assert.is(leaveDelay.judge({ ...leaveWant, ...recorded }, leaves.sent, leaves.seen).status, 'inconclusive')
  assert.is(leaveDelay.judge({ ...leaveWant, maxMs: 5 }, leaves.sent, leaves.seen).status, 'inconclusive')
})

test('join-delay: no report of the group, no stream under way, a dropping tap are inconclusive', () => {
  const other = around(joinStep, message({ type: 0x16, group: OTHER }), k => k > 20)
  const dropped = around(joinStep, v2Join, k => k > 20)
  dropped.dropped.set('n1/lxc_rx', 1)
  const late = new Scenario()
  late.step(joinStep, () => late.plant('n1/lxc_rx', 'in', v2Join))
  late.sendWhole('s1', ['rx'])
  for (const scenario of [other, dropped, late]) {
    assert.is(joinDelay.judge(joinWant, scenario.sent, scenario.seen).status, 'inconclusive')
  }
})

test('leave-delay: from the leave at the veth to the last copy, 0 when none came after it', () => {
  for (const [last, us] of [
    [21, 7.1],
    [20, 0],
  ] as const) {
    const scenario = around(leaveStep, v2Leave, k => k <= last)
    const unguarded = leaveDelay.judge(leaveWant, scenario.sent, scenario.seen)
    assert.is(unguarded.status, 'inconclusive', 'a later copy may still be on the way')
    fence(scenario)
    const verdict = leaveDelay.judge(leaveWant, scenario.sent, scenario.seen)
    assert.is(verdict.status, 'pass', verdict.message)
    const { leaveDelayUs } = verdict.measurements ?? {}
    assert.is(leaveDelayUs, us)
  }
})

test('leave-delay: above an enforced bound, or to the end of the stream, fails', () => {
  const slow = around(leaveStep, v2Leave, k => k <= 40)
  assert.is(leaveDelay.judge(leaveWant, slow.sent, slow.seen).status, 'fail')
  const never = around(leaveStep, v2Leave, () => true)
  assert.match(leaveDelay.judge(leaveWant, never.sent, never.seen).message, 'saw it to the end')
})

test('leave-delay: a pod that is killed leaves when the step starts', () => {
  const scenario = around({ id: 'l', line: 1, action: 'kill', pods: ['rx'] }, v2Leave, k => k <= 19)
  const verdict = leaveDelay.judge(leaveWant, scenario.sent, scenario.seen)
  assert.is(verdict.status, 'pass', verdict.message)
})

test.run()
