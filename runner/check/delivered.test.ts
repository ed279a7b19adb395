import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { formatMac } from '../../generators/wire/address.ts'
import { suite } from '../../test/suite.ts'
import type { DeliveredWant } from '../suite/expectations.ts'
import type { PlannedStep } from '../suite/plan-types.ts'
import { delivered } from './delivered.ts'
import { GROUP_MAC, Scenario } from './scenario.ts'
import { intervalOf } from './window.ts'

const test = suite('check delivered')
const want: DeliveredWant = { stream: 's1', to: ['rx', 'far'], frames: 10, groupMac: true }

const sendStep = {
  id: 's1',
  line: 1,
  action: 'send' as const,
  pods: ['tx'],
  stream: { frame: {}, stamped: true, rate: 'max' as const, count: 10 },
  prime: [],
  meanwhile: [],
}

function rightRun(): Scenario {
  const scenario = new Scenario()
  scenario.sendWhole('s1', ['rx', 'far'])
  return scenario
}

function judge(scenario: Scenario, change: Partial<DeliveredWant> = {}) {
  return delivered.judge({ ...want, ...change }, scenario.sent, scenario.seen)
}

function streamOf(scenario: Scenario) {
  const stream = scenario.sent.of('s1')[0]
  if (!stream) throw new RangeError('no stream s1')
  return stream
}

test('passes when each frame came to each pod once, and says by which method', () => {
  const verdict = judge(rightRun())
  assert.is(verdict.status, 'pass', verdict.message)
  assert.is(verdict.method, 'fence')
})

test('names missing frames as ranges, and where the first was last seen', () => {
  const scenario = rightRun()
  for (const sequence of [1, 3, 4, 5]) scenario.lose(...scenario.at('far/eth0', streamOf(scenario), sequence))
  scenario.lose(...scenario.at('n2/lxc_far', streamOf(scenario), 1))
  const verdict = judge(scenario)
  assert.is(verdict.status, 'fail')
  assert.is(verdict.message, 'expected 10 copies of s1 at far, saw 6 (missing 1, 3-5)')
  assert.match(verdict.details?.join('\n') ?? '', '1 was last seen at n2/cilium_vxlan (in)')
  assert.is(verdict.frames?.length, 1)
})

test('a copy lost on the underlay is said to be', () => {
  const scenario = rightRun()
  for (const tap of ['n2/eth0', 'n2/cilium_vxlan', 'n2/lxc_far', 'far/eth0'])
    scenario.lose(...scenario.at(tap, streamOf(scenario), 2))
  assert.match(judge(scenario).details?.join('\n') ?? '', 'last seen at n1/eth0 (out): lost on the underlay')
})

test('a duplicate fails, also one that comes after the fence', () => {
  for (const laterNs of [500, 20_000_000]) {
    const scenario = rightRun()
    scenario.double(scenario.at('rx/eth0', streamOf(scenario), 7)[0], laterNs)
    const verdict = judge(scenario)
    assert.is(verdict.status, 'fail')
    assert.is(verdict.message, 'expected 10 copies of s1 at rx, saw 11 (duplicated 7)')
    assert.is(verdict.frames?.[0]?.note, 's1 7: copy 2 of 2 at rx/eth0')
  }
})

test('a sequence that was never sent fails', () => {
  const scenario = rightRun()
  const [frame] = scenario.at('rx/eth0', streamOf(scenario), 7)
  if (frame) scenario.frames.push({ ...frame, sequence: 99 })
  assert.match(judge(scenario).message, '1 frame that were never sent')
})

test('a copy too many whose stamp was broken fails', () => {
  const scenario = rightRun()
  const bytes = scenario.at('rx/eth0', streamOf(scenario), 7)[0]?.bytes.slice() ?? new Uint8Array()
  bytes[45] = (bytes[45] ?? 0) ^ 0xff
  scenario.plant('rx/eth0', 'in', bytes)
  const verdict = judge(scenario)
  assert.is(verdict.status, 'fail')
  assert.match(verdict.message, 'saw 10 (1 frame like it with no readable stamp)')
})

test('a sender of the plan that sent nothing is missed', () => {
  const scenario = rightRun()
  const send: PlannedStep = { ...sendStep, pods: ['tx', 'idle'] }
  scenario.steps.push(send)
  assert.match(judge(scenario).message, 'idle sent no frame of s1 in the window')
  assert.is(judge(scenario).status, 'inconclusive')
})

test('a wrong field fails with field, expected and seen', () => {
  const scenario = rightRun()
  for (const frame of scenario.at('far/eth0', streamOf(scenario))) {
    frame.bytes = frame.bytes.slice()
    frame.bytes[2] = 0x0e
  }
  const verdict = judge(scenario)
  assert.is(verdict.status, 'fail')
  assert.equal(verdict.differences?.[0], {
    field: 'ethernet.dst',
    expected: formatMac(GROUP_MAC),
    seen: '01:00:0e:7c:00:01',
  })
  assert.ok(verdict.message.length <= 200)
})

test('a frame that still wears its tunnel header is no delivery', () => {
  const scenario = rightRun()
  for (const frame of scenario.at('far/eth0', streamOf(scenario), 0)) {
    frame.bytes = scenario.encapsulate(frame.bytes, 'n1', 'n2')
    frame.levels = 1
    frame.innerAt = 50
  }
  assert.match(judge(scenario).message, 'VXLAN levels: expected 0, saw 1')
})

test('an altered frame that lost its stamp is shown as the nearest', () => {
  const scenario = rightRun()
  for (const frame of scenario.at('rx/eth0', streamOf(scenario), 4)) {
    frame.bytes = frame.bytes.slice()
    frame.bytes[45] = 0xff
    delete frame.stream
  }
  const verdict = judge(scenario)
  assert.is(verdict.status, 'fail')
  assert.match(
    verdict.details?.join('\n') ?? '',
    /nearest frame at rx\/eth0: payload byte 3 expected \d+ .*saw 255 \(0xff\)/,
  )
})

test('without a fence it is inconclusive, right or not', () => {
  const scenario = new Scenario()
  const stream = scenario.send('s1')
  scenario.deliver(stream, ['rx', 'far'])
  assert.is(judge(scenario).status, 'inconclusive')
  assert.match(judge(scenario).message, 'no fence was sent for s1')
  scenario.lose(...scenario.at('rx/eth0', stream, 1))
  assert.is(judge(scenario).status, 'inconclusive')
})

test('a fence that arrived before the last frame was sent is none', () => {
  const scenario = rightRun()
  for (const guard of scenario.sent.serving(streamOf(scenario).number, 'fence')) {
    for (const frame of scenario.at('rx/eth0', guard)) frame.timeNs = 0
  }
  assert.match(judge(scenario).message, 'the fence did not arrive at rx/eth0')
})

test('a missing copy with a complete unicast control fails also where no fence arrives', () => {
  const scenario = rightRun()
  scenario.lose(...scenario.frames.filter(frame => frame.tap === 'rx/eth0' && !isControl(scenario, frame.stream)))
  assert.is(judge(scenario).status, 'fail')
})

test('a lost unicast control makes every departure inconclusive', () => {
  const scenario = rightRun()
  scenario.lose(...scenario.frames.filter(frame => frame.tap === 'far/eth0'))
  const verdict = judge(scenario)
  assert.is(verdict.status, 'inconclusive')
  assert.match(verdict.message, 'path broken: unicast control lost too')
})

test('a tap that dropped, ended early or is not there is inconclusive', () => {
  const spoil: ((scenario: Scenario) => void)[] = [
    s => s.dropped.set('rx/eth0', 3),
    s => s.trouble.set('rx/eth0', 'the file ends early'),
    s => s.withoutTap.add('rx/eth0'),
    s => s.dropped.set('n1/lxc_tx', 1),
  ]
  for (const change of spoil) {
    const scenario = rightRun()
    change(scenario)
    assert.is(judge(scenario).status, 'inconclusive')
  }
})

test("a stimulus that the sender's veth did not see once each is inconclusive", () => {
  const lost = rightRun()
  lost.lose(...lost.at('n1/lxc_tx', streamOf(lost), 5))
  lost.lose(...lost.at('rx/eth0', streamOf(lost), 5))
  assert.match(judge(lost).message, '1 of 10 frames of s1 reached n1/lxc_tx not at all (5)')
  assert.is(judge(lost).status, 'inconclusive')
  const doubled = rightRun()
  doubled.double(doubled.at('n1/lxc_tx', streamOf(doubled), 5)[0])
  doubled.double(doubled.at('rx/eth0', streamOf(doubled), 5)[0])
  assert.is(judge(doubled).status, 'inconclusive')
})

test('a witness that explains all missing copies makes it inconclusive, one that explains fewer does not', () => {
  for (const [counter, lost, status] of [
    ['softnet dropped', 2, 'inconclusive'],
    ['softnet dropped', 1, 'fail'],
    ['n1/lxc_rx rx dropped', 2, 'inconclusive'],
    ['n2/lxc_far2 rx dropped', 2, 'fail'],
    ['softnet time_squeeze', 2, 'fail'],
  ] as const) {
    const scenario = rightRun()
    for (const sequence of [8, 9]) scenario.lose(...scenario.at('rx/eth0', streamOf(scenario), sequence))
    scenario.observe({ kind: 'witness', phase: 'start', counters: { [counter]: 5 } })
    scenario.observe({ kind: 'witness', phase: 'end', counters: { [counter]: 5 + lost } })
    const verdict = judge(scenario)
    assert.is(verdict.status, status, `${counter} +${lost}: ${verdict.message}`)
    if (status === 'inconclusive') assert.match(verdict.message, `lost at ${counter} +2`)
  }
})

test('a window takes frames by the time they were sent', () => {
  const scenario = new Scenario()
  const before = scenario.send('s1')
  scenario.step({ id: 'join', line: 1, action: 'snapshot' })
  assert.is(judge(scenario, { after: 'join', frames: 10 }).status, 'inconclusive')
  scenario.deliver(before, ['rx', 'far'])
  for (const pod of ['rx', 'far']) scenario.control(before, pod)
  scenario.fence(before)
  assert.is(judge(scenario, { before: 'join' }).status, 'pass')
  assert.match(judge(scenario, { after: 'join', frames: 0 }).message, 'no frame of s1 was sent in the window')
  assert.match(judge(scenario, { after: 'nowhere', frames: 0 }).message, 'step nowhere did not come to its end')
})

test('an edge may be so much later than a step: than its end where the window opens, than its start where it closes', () => {
  const scenario = new Scenario()
  scenario.step({ id: 'join', line: 1, action: 'snapshot' }, () => scenario.send('s1'))
  const { seen } = scenario
  const [startNs, endNs] = [seen.stepTimeNs('join', 'start') ?? 0, seen.stepTimeNs('join', 'end') ?? 0]
  assert.ok(startNs < endNs)
  const moment = { step: 'join', laterMs: 3 }
  assert.equal(intervalOf({ after: moment }, seen), { afterNs: endNs + 3e6, beforeNs: Infinity })
  assert.equal(intervalOf({ before: moment }, seen), { afterNs: -Infinity, beforeNs: startNs + 3e6 })
})

test('a pod that was killed after the last frame needs no fence', () => {
  const scenario = new Scenario()
  const stream = scenario.send('s1')
  scenario.deliver(stream, ['rx', 'far'])
  scenario.step({ id: 'gone', line: 1, action: 'kill', pods: ['rx', 'far'] })
  assert.is(judge(scenario).method, 'pod gone')
})

test('a pod that was killed mid-stream is judged by the frames before that', () => {
  const scenario = new Scenario()
  const stream = scenario.send('s1', { count: 20 })
  scenario.deliver(stream, ['rx', 'far'])
  scenario.nowNs = stream.timeNs(12) - 15_000
  const kill = { id: 'gone', line: 1, action: 'kill', pods: ['rx', 'far'] } as const
  scenario.step({ ...kill, pods: [...kill.pods] })
  const before = { before: 'gone', frames: 12 }
  assert.is(judge(scenario, before).method, 'pod gone', judge(scenario, before).message)
  assert.is(judge(scenario, { frames: 20 }).status, 'inconclusive')
})

test('every fragment of every datagram counts', () => {
  const scenario = new Scenario()
  const stream = scenario.sendWhole('s1', ['rx', 'far'], { payloadBytes: 300, fragmentBytes: 128 })
  assert.ok(stream.frames(0).length > 2)
  assert.is(judge(scenario).status, 'pass', judge(scenario).message)
  scenario.lose(...scenario.at('rx/eth0', stream, 3).slice(-1))
  const verdict = judge(scenario)
  assert.is(verdict.status, 'fail')
  assert.match(verdict.message, /expected 40 fragments of s1 at rx, saw 39 \(missing 3\)/)
})

test('sequences may start anywhere', () => {
  const scenario = new Scenario()
  const stream = scenario.sendWhole('s1', ['rx', 'far'], { firstSequence: 4_000_000_000 })
  assert.is(judge(scenario).status, 'pass')
  scenario.lose(...scenario.at('rx/eth0', stream, 4_000_000_003))
  assert.match(judge(scenario).message, 'missing 4000000003')
})

test('passes exactly when every (receiver, sequence) has one copy', () => {
  const copies = fc.array(fc.constantFrom(1, 1, 1, 1, 1, 1, 0, 2), { minLength: 6, maxLength: 6 })
  fc.assert(
    fc.property(copies, ([...counts]) => {
      const scenario = new Scenario()
      const stream = scenario.sendWhole('s1', ['rx', 'far'], { count: 3 })
      for (const [i, n] of counts.entries()) {
        const tap = i < 3 ? 'rx/eth0' : 'far/eth0'
        if (n === 0) scenario.lose(...scenario.at(tap, stream, i % 3))
        if (n === 2) scenario.double(scenario.at(tap, stream, i % 3)[0])
      }
      const { status } = judge(scenario, { frames: 3 })
      assert.is(status, counts.every(n => n === 1) ? 'pass' : 'fail')
    }),
    { numRuns: 60 },
  )
})

function isControl(scenario: Scenario, number: number | undefined): boolean {
  return scenario.streams.find(stream => stream.number === number)?.role === 'control'
}

test.run()
