import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { content } from './content.ts'
import { duplicates } from './duplicates.ts'
import { latency } from './latency.ts'
import { order } from './order.ts'
import { Scenario, type SeenFrame } from './scenario.ts'

const test = suite('checks duplicates, order, content, latency')
const want = { stream: 's1', at: ['rx', 'far'] }

function rightRun(options = {}): Scenario {
  const scenario = new Scenario()
  scenario.sendWhole('s1', ['rx', 'far'], options)
  return scenario
}

function copy(scenario: Scenario, tap: string, sequence: number): SeenFrame {
  const stream = scenario.sent.of('s1')[0]
  const found = stream && scenario.at(tap, stream, sequence)[0]
  if (!found) throw new RangeError(`no copy of ${sequence} at ${tap}`)
  return found
}

function loseAll(scenario: Scenario): void {
  const stream = scenario.sent.of('s1')[0]
  for (const tap of ['rx/eth0', 'far/eth0']) if (stream) scenario.lose(...scenario.at(tap, stream))
}

/** Unicast control of both pods gone, everything else as it was. */
function breakPath(scenario: Scenario): void {
  for (const { role, ...stream } of scenario.streams) {
    if (role === 'control')
      scenario.lose(...scenario.frames.filter(f => f.stream === stream.number && f.direction === 'in'))
  }
}

test('duplicates: passes on a right run, also with copies missing', () => {
  const scenario = rightRun()
  scenario.lose(copy(scenario, 'rx/eth0', 2))
  assert.is(duplicates.judge(want, scenario.sent, scenario.seen).status, 'pass')
})

test('duplicates: a second copy fails, whenever it comes', () => {
  for (const laterNs of [1, 20_000_000]) {
    const scenario = rightRun()
    scenario.double(copy(scenario, 'far/eth0', 3), laterNs)
    const verdict = duplicates.judge(want, scenario.sent, scenario.seen)
    assert.is(verdict.status, 'fail')
    assert.match(verdict.message, 'at far, saw 1 frame more often (3)')
  }
})

test('duplicates: nothing seen, no fence, dropped, sent twice, path broken are inconclusive', () => {
  const spoil: ((s: Scenario) => void)[] = [
    loseAll,
    s => s.streams.splice(1),
    s => s.dropped.set('rx/eth0', 1),
    s => {
      s.double(copy(s, 'n1/lxc_tx', 3))
      s.double(copy(s, 'rx/eth0', 3))
    },
    s => {
      s.double(copy(s, 'rx/eth0', 3))
      breakPath(s)
    },
  ]
  for (const change of spoil) {
    const scenario = rightRun()
    change(scenario)
    assert.is(duplicates.judge(want, scenario.sent, scenario.seen).status, 'inconclusive')
  }
})

test('order: right, also with gaps and duplicates', () => {
  const scenario = rightRun()
  scenario.lose(copy(scenario, 'rx/eth0', 2))
  scenario.double(copy(scenario, 'rx/eth0', 3), 50_000)
  const verdict = order.judge(want, scenario.sent, scenario.seen)
  assert.is(verdict.status, 'pass', verdict.message)
  assert.equal(verdict.measurements, { reordered: 0, reorderingExtent: 0 })
})

test('order: late frames are counted, with the extent of RFC 4737', () => {
  const scenario = rightRun()
  copy(scenario, 'rx/eth0', 2).timeNs = copy(scenario, 'rx/eth0', 5).timeNs + 1
  const verdict = order.judge(want, scenario.sent, scenario.seen)
  assert.is(verdict.status, 'fail')
  assert.is(verdict.message, 'expected frames of s1 in order at rx, saw 1 of 10 late (2), extent 3')
  assert.equal(verdict.measurements, { reordered: 1, reorderingExtent: 3 })
  breakPath(scenario)
  assert.is(order.judge(want, scenario.sent, scenario.seen).status, 'inconclusive')
})

test('order: nothing came, or the tap dropped: inconclusive', () => {
  const [empty, dropped] = [rightRun(), rightRun()]
  loseAll(empty)
  dropped.dropped.set('rx/eth0', 1)
  assert.is(order.judge(want, empty.sent, empty.seen).status, 'inconclusive')
  assert.is(order.judge(want, dropped.sent, dropped.seen).status, 'inconclusive')
})

test('content: the same bytes pass, of fragments too, whatever the Ethernet header', () => {
  for (const options of [{}, { payloadBytes: 300, fragmentBytes: 128 }]) {
    const scenario = rightRun(options)
    const frame = copy(scenario, 'rx/eth0', 2)
    frame.bytes = frame.bytes.slice()
    frame.bytes[0] = 0xff
    const verdict = content.judge(want, scenario.sent, scenario.seen)
    assert.is(verdict.status, 'pass', verdict.message)
  }
})

test('content: a changed byte fails under the name of its field', () => {
  const changes: [number, RegExp][] = [
    [14 + 8, /ipv4\.ttl: expected 4, saw 5/],
    [14 + 19, /ipv4\.dst: expected 233\.252\.0\.1, saw 233\.252\.0\.0/],
    [14 + 10, /ipv4\.checksum/],
    [34 + 3, /udp\.dstPort: expected 5001 \(0x1389\), saw 5000 \(0x1388\)/],
    [42 + 30, /payload byte 30: expected 0, saw 1/],
  ]
  for (const [at, message] of changes) {
    const scenario = rightRun()
    const frame = copy(scenario, 'far/eth0', 4)
    frame.bytes = frame.bytes.slice()
    frame.bytes[at] = (frame.bytes[at] ?? 0) ^ 1
    const verdict = content.judge(want, scenario.sent, scenario.seen)
    assert.is(verdict.status, 'fail')
    assert.match(verdict.message, message)
  }
})

test('content: a shortened datagram fails; nothing to compare, a dropping tap, a broken path are inconclusive', () => {
  const scenario = rightRun()
  const frame = copy(scenario, 'rx/eth0', 4)
  frame.bytes = frame.bytes.slice(0, -10)
  assert.match(content.judge(want, scenario.sent, scenario.seen).message, 'datagram length: expected 68')
  breakPath(scenario)
  assert.is(content.judge(want, scenario.sent, scenario.seen).status, 'inconclusive')
  const [empty, dropped] = [rightRun(), rightRun()]
  loseAll(empty)
  dropped.dropped.set('rx/eth0', 1)
  assert.is(content.judge(want, empty.sent, empty.seen).status, 'inconclusive')
  assert.is(content.judge(want, dropped.sent, dropped.seen).status, 'inconclusive')
})

const latencyWant = { stream: 's1', to: ['rx', 'far'], maxMs: 0.003 }

test('latency: recorded always, a bound fails only where it is enforced', () => {
  const scenario = rightRun()
  const free = latency.judge({ ...latencyWant, enforced: false }, scenario.sent, scenario.seen)
  assert.is(free.status, 'pass', free.message)
  assert.equal(free.measurements, { latencyUsMin: 1.1, latencyUsP50: 1.1, latencyUsP99: 5.1, latencyUsMax: 5.1 })
  const bound = latency.judge({ ...latencyWant, enforced: true }, scenario.sent, scenario.seen)
  assert.is(bound.status, 'fail')
  assert.is(bound.message, 'latency of s1 at far: expected at most 0.003 ms, saw 0.005 ms')
})

test('latency: between two clocks a bound is broken only by more than they may be off', () => {
  const scenario = new Scenario()
  scenario.sendWhole('s1', ['rx', 'far'])
  const judge = (clockErrorNs: number) => {
    scenario.clockErrorNs = clockErrorNs
    return latency.judge({ ...latencyWant, enforced: true }, scenario.sent, scenario.seen)
  }
  assert.is(judge(2000).message, 'latency of s1 at far: expected at most 0.003 ms, saw 0.005 +- 0.002 ms')
  assert.is(judge(2500).status, 'pass')
  assert.is(judge(2500).measurements?.['latencyClockErrorUs'], 2.5)
})

test('latency: a stepped clock, no copy, no stimulus are inconclusive', () => {
  const spoil: ((s: Scenario) => void)[] = [
    s => s.observe({ kind: 'clock', stepNs: '5000000' }),
    loseAll,
    s => s.lose(copy(s, 'n1/lxc_tx', 0)),
  ]
  for (const change of spoil) {
    const scenario = rightRun()
    change(scenario)
    assert.is(latency.judge({ ...latencyWant, enforced: false }, scenario.sent, scenario.seen).status, 'inconclusive')
  }
})

test.run()
