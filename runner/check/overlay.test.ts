import * as assert from 'uvu/assert'
import type { FrameSpec } from '../../generators/frame-spec.ts'
import { suite } from '../../test/suite.ts'
import type { CopyCount, EncapsulatedWant, ReplicationWant } from '../suite/expectations.ts'
import { encapsulated } from './encapsulated.ts'
import { replicationEfficiency } from './ledger-rows.ts'
import { replication } from './replication.ts'
import { Scenario, type SeenFrame } from './scenario.ts'

const test = suite('checks replication, encapsulated')

function rightRun(members = ['rx', 'far', 'far2']): Scenario {
  const scenario = new Scenario()
  scenario.sendWhole('s1', members)
  return scenario
}

function copy(scenario: Scenario, tap: string, sequence: number): SeenFrame {
  const stream = scenario.sent.of('s1')[0]
  const found = stream && scenario.at(tap, stream, sequence)[0]
  if (!found) throw new RangeError(`no copy of ${sequence} at ${tap}`)
  return found
}

const node = (place: 'uplink' | 'overlay', name: string, direction: 'in' | 'out', copies: number): CopyCount => ({
  place,
  node: name,
  direction,
  copies,
})
const pod = (name: string, copies: number): CopyCount => ({ place: 'pod', pod: name, copies })
const counts: CopyCount[] = [
  pod('rx', 1),
  pod('far', 1),
  pod('far2', 1),
  pod('idle', 0),
  pod('tx', 0),
  node('uplink', 'n1', 'out', 1),
  node('uplink', 'n1', 'in', 0),
  node('overlay', 'n1', 'out', 1),
  node('overlay', 'n1', 'in', 0),
  node('uplink', 'n2', 'in', 1),
  node('uplink', 'n2', 'out', 0),
  node('overlay', 'n2', 'in', 1),
  node('overlay', 'n2', 'out', 0),
]
const want: ReplicationWant = { stream: 's1', senders: [{ pod: 'tx', counts }] }

test('replication: one copy per member, one tunnel packet per remote node, none back, none on', () => {
  const scenario = rightRun()
  const verdict = replication.judge(want, scenario.sent, scenario.seen)
  assert.is(verdict.status, 'pass', verdict.message)
  assert.is(verdict.method, 'fence, echo')
  assert.is(replicationEfficiency(scenario.sent, scenario.seen), undefined)
  const layers = verdict.rows?.map(row => `${row.layer} ${row.tap} ${row.direction} ${row.copies}`)
  assert.ok(layers?.includes('uplink n1/eth0 out 10'))
  assert.ok(layers?.includes('remote pod far2/eth0 in 10'))
  assert.ok(layers?.includes('stimulus n1/lxc_tx in 10'))
})

test('replication: a copy too many or too few fails at its tap', () => {
  const spoil: [string, (s: Scenario) => void, RegExp][] = [
    [
      'per pod',
      s => s.double(copy(s, 'n1/eth0', 2)),
      /expected 1 of each of 10 datagrams of s1 at n1\/eth0 \(out\), saw 2 of 2/,
    ],
    ['not sent', s => s.lose(copy(s, 'n1/eth0', 2)), /at n1\/eth0 \(out\), saw 0 of 2/],
    [
      'sent on',
      s => s.frames.push({ ...copy(s, 'n2/eth0', 2), direction: 'out' }),
      /expected 0 .* at n2\/eth0 \(out\), saw 1 of 2/,
    ],
    [
      'to sender',
      s => s.frames.push({ ...copy(s, 'rx/eth0', 2), tap: 'tx/eth0' }),
      /expected 0 .* at tx\/eth0 \(in\), saw 1 of 2/,
    ],
    [
      'back',
      s => {
        const bytes = s.encapsulate(copy(s, 'rx/eth0', 2).bytes, 'n2', 'n1')
        s.frames.push({ ...copy(s, 'n1/eth0', 2), direction: 'in', bytes })
      },
      /expected 0 .* at n1\/eth0 \(in\), saw 1 of 2/,
    ],
    ['late', s => s.double(copy(s, 'rx/eth0', 2), 20_000_000), /at rx\/eth0 \(in\), saw 2 of 2/],
  ]
  for (const [what, change, message] of spoil) {
    const scenario = rightRun()
    change(scenario)
    const verdict = replication.judge(want, scenario.sent, scenario.seen)
    assert.is(verdict.status, 'fail', `${what}: ${verdict.message}`)
    assert.match(verdict.message, message)
  }
})

test('replication: no guard at the tap, dropped frames, no stimulus, a witness, a lost control: inconclusive', () => {
  const spoil: ((s: Scenario) => void)[] = [
    s => s.streams.splice(0, s.streams.length, ...s.streams.filter(({ role }) => role !== 'fence' && role !== 'echo')),
    s => s.dropped.set('n2/eth0', 1),
    s => s.withoutTap.add('n1/cilium_vxlan'),
    s => s.lose(copy(s, 'n1/lxc_tx', 2)),
    s => {
      s.lose(copy(s, 'rx/eth0', 2))
      s.observe({ kind: 'witness', phase: 'start', counters: { 'softnet dropped': 0 } })
      s.observe({ kind: 'witness', phase: 'end', counters: { 'softnet dropped': 1 } })
    },
    s => {
      s.double(copy(s, 'far/eth0', 2))
      for (const control of s.streams.filter(({ role }) => role === 'control')) s.lose(...s.at('far/eth0', control))
    },
  ]
  for (const [i, change] of spoil.entries()) {
    const scenario = rightRun()
    change(scenario)
    assert.is(replication.judge(want, scenario.sent, scenario.seen).status, 'inconclusive', `spoil ${i}`)
  }
})

test('replication: what the underlay floods to another node did not come to this one', () => {
  const scenario = rightRun()
  const flooded = copy(scenario, 'n2/eth0', 2)
  const bytes = scenario.encapsulate(copy(scenario, 'rx/eth0', 2).bytes, 'n1', 'n2', { ipv4: { dst: 0x0a000063 } })
  scenario.frames.push({ ...flooded, bytes })
  const verdict = replication.judge(want, scenario.sent, scenario.seen)
  assert.is(verdict.status, 'pass', verdict.message)
  scenario.frames.push({ ...flooded })
  assert.is(replication.judge(want, scenario.sent, scenario.seen).status, 'fail')
})

test('replication: a sender that sent nothing is inconclusive', () => {
  const scenario = rightRun()
  const idle = { ...want, senders: [{ pod: 'idle', counts: [pod('rx', 1)] }] }
  assert.is(replication.judge(idle, scenario.sent, scenario.seen).status, 'inconclusive')
})

test('efficiency: copies that no member needs lower it', () => {
  const scenario = rightRun()
  scenario.expect.push({ check: 'delivered', line: 1, want: { stream: 's1', to: ['rx', 'far', 'far2'] } })
  assert.is(replicationEfficiency(scenario.sent, scenario.seen), 1)
  for (let sequence = 0; sequence < 10; sequence++) scenario.double(copy(scenario, 'n1/eth0', sequence))
  assert.is(replicationEfficiency(scenario.sent, scenario.seen), 40 / 50)
})

const wrapped: EncapsulatedWant = { stream: 's1', fromNodes: ['n1'], toNodes: ['n1', 'n2'], levels: 1, groupMac: true }

test('encapsulated: once to each remote node, in a right header', () => {
  const scenario = rightRun()
  const verdict = encapsulated.judge(wrapped, scenario.sent, scenario.seen)
  assert.is(verdict.status, 'pass', verdict.message)
})

test('encapsulated: each wrong outer field is named with expected and seen', () => {
  const changes: [FrameSpec, RegExp][] = [
    [{ vxlan: { flags: 0 } }, /vxlan\.flags: expected 8, saw 0/],
    [{ vxlan: { reserved1: 1 } }, /vxlan\.reserved1: expected 0, saw 1/],
    [{ vxlan: { reserved2: 3 } }, /vxlan\.reserved2: expected 0, saw 3/],
    [{ vxlan: { vni: 8 } }, /vxlan\.vni: expected 7, saw 8/],
    [{ udp: { dstPort: 4789 } }, /udp\.dstPort: expected 8472 \(0x2118\), saw 4789 \(0x12b5\)/],
    [{ ipv4: { src: 0x0a000009 } }, /ipv4\.src: expected 10\.0\.0\.1, saw 10\.0\.0\.9/],
    [{ ipv4: { dst: 0x0a000009 } }, /copies to 10\.0\.0\.9; to n2: nothing of 4/],
  ]
  for (const [change, message] of changes) {
    const scenario = rightRun()
    const frame = copy(scenario, 'n1/eth0', 4)
    frame.bytes = scenario.encapsulate(copy(scenario, 'n1/cilium_vxlan', 4).bytes, 'n1', 'n2', change)
    const verdict = encapsulated.judge(wrapped, scenario.sent, scenario.seen)
    assert.is(verdict.status, 'fail', verdict.message)
    assert.match(verdict.message, message)
    assert.ok((verdict.frames?.length ?? 0) > 0)
  }
})

test('encapsulated: in clear, one per pod, missing, wrong inner MAC fail', () => {
  const spoil: [(s: Scenario) => void, RegExp][] = [
    [
      s => Object.assign(copy(s, 'n1/eth0', 4), { bytes: copy(s, 'rx/eth0', 4).bytes, levels: 0, innerAt: 0 }),
      /VXLAN levels: expected 1, saw 0/,
    ],
    [s => s.double(copy(s, 'n1/eth0', 4)), /to n2: more than one of 4/],
    [s => s.lose(copy(s, 'n1/eth0', 4)), /to n2: nothing of 4/],
    [
      s => {
        const inner = copy(s, 'n1/cilium_vxlan', 4).bytes.slice()
        inner[2] = 0x0e
        copy(s, 'n1/eth0', 4).bytes = s.encapsulate(inner, 'n1', 'n2')
      },
      /inner\.ethernet\.dst: expected 01:00:5e:7c:00:01, saw 01:00:0e:7c:00:01/,
    ],
  ]
  for (const [change, message] of spoil) {
    const scenario = rightRun()
    change(scenario)
    const verdict = encapsulated.judge(wrapped, scenario.sent, scenario.seen)
    assert.is(verdict.status, 'fail', verdict.message)
    assert.match(verdict.message, message)
  }
})

test('encapsulated: dropped, no fence, no sender on the node: inconclusive', () => {
  const [dropped, bare] = [rightRun(), rightRun()]
  dropped.dropped.set('n1/eth0', 2)
  bare.streams.splice(1)
  assert.is(encapsulated.judge(wrapped, dropped.sent, dropped.seen).status, 'inconclusive')
  assert.is(encapsulated.judge(wrapped, bare.sent, bare.seen).status, 'inconclusive')
  const elsewhere = rightRun()
  assert.is(
    encapsulated.judge({ ...wrapped, fromNodes: ['n2'] }, elsewhere.sent, elsewhere.seen).status,
    'inconclusive',
  )
})

test.run()
