import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import type { Fact } from '../observation.ts'
import type { MetricsWant, NodeMetricsWant } from '../suite/expectations.ts'
import type { PlannedStep } from '../suite/plan-types.ts'
import { metrics } from './metrics.ts'
import { nodeMetrics } from './node-metrics.ts'
import { GROUP, Scenario } from './scenario.ts'

const test = suite('checks metrics and node-metrics')

const FRAMES = 10
/** With the stamp of 18 octets. */
const PAYLOAD = 78
const PORT = 5001
const FAMILY = 'tetragon_socket_stats_udp_mcast_'
const want: MetricsWant = {
  between: ['before', 'after'],
  pod: 'far',
  direction: 'in',
  peer: 'tx',
  group: GROUP,
  port: PORT,
  sockets: 1,
  drops: 0,
}

/** The counters of one row that are not 0. */
type Row = Partial<Record<'rxsegs' | 'rxbytes' | 'txsegs' | 'txbytes' | 'drops' | 'consume_misses', number>>

const COUNTERS = ['consume_misses', 'drops', 'rxbytes', 'rxsegs', 'txbytes', 'txsegs']
const LABELS = {
  binary: '/usr/bin/socat',
  dstmcast: '10.1.0.1',
  dstnamespace: 'default',
  dstpod: 'tx',
  dstworkload: 'senders',
  namespace: 'default',
  pod: 'far',
  srcmcast: '233.252.0.1',
  workload: 'receivers',
}

function textOf(row: Row, labels: Record<string, string> = LABELS, type = 'counter'): string {
  const inner = Object.entries(labels).map(([name, value]) => `${name}="${value}"`)
  const values: Record<string, number | undefined> = row
  return COUNTERS.map(name => {
    const full = `${FAMILY}${name}_total`
    return `# TYPE ${full} ${type}\n${full}{${inner.join(',')}} ${values[name] ?? 0}\n`
  }).join('')
}

interface Told {
  before?: string
  after?: string
  /** Copies at the taps; left out: of all frames. */
  change?: (scenario: Scenario) => void
}

/** Ten datagrams from tx to far, between two snapshots of node n2 that say so. */
function scenarioOf({ before = '', after, change }: Told): Scenario {
  const scenario = new Scenario()
  for (const pod of scenario.site.pods)
    pod.labels = { namespace: 'default', pod: pod.name, workload: pod.name === 'tx' ? 'senders' : 'receivers' }
  const snapshot = (id: string, text: string) =>
    scenario.step({ id, line: 1, action: 'snapshot' } as PlannedStep, () => {
      for (const node of ['n1', 'n2']) scenario.observe(scrape(id, node, node === 'n2' ? text : ''))
    })
  snapshot('before', before)
  scenario.sendWhole('s1', ['far'], { count: FRAMES, payloadBytes: PAYLOAD - 18 })
  scenario.nowNs += 1_000_000
  change?.(scenario)
  snapshot('after', after ?? textOf({ rxsegs: FRAMES, rxbytes: FRAMES * PAYLOAD }))
  return scenario
}

const scrape = (step: string, node: string, text: string): Fact => ({ kind: 'scrape', step, node, text })

function judge(told: Told, changed: Partial<MetricsWant> = {}) {
  const scenario = scenarioOf(told)
  return metrics.judge({ ...want, ...changed }, scenario.sent, scenario.seen)
}

const ROW = { rxsegs: FRAMES, rxbytes: FRAMES * PAYLOAD }

test('metrics: what passed the tap is what was taken, whatever was before', () => {
  assert.equal(judge({}).status, 'pass', judge({}).message)
  const before = textOf({ rxsegs: 5, rxbytes: 390 })
  assert.is(judge({ before, after: textOf({ rxsegs: 15, rxbytes: 1170 }) }).status, 'pass')
})

test('metrics: each counter that is off by one is a failure that says so', () => {
  const off: [Row, RegExp][] = [
    [{ ...ROW, rxsegs: 11 }, /took 11 and dropped 0 segments, of 10/],
    [{ ...ROW, rxsegs: 9, drops: 1 }, /took 9 and dropped 1 segments: expected 0 drops/],
    [{ ...ROW, drops: 1 }, /took 10 and dropped 1 segments, of 10/],
    [{ ...ROW, rxbytes: 781 }, /took 781 bytes in 10 segments: UDP payload is 780/],
    [{ ...ROW, txsegs: 1 }, /txsegs of far's row grew by 1/],
    [{ ...ROW, consume_misses: 1 }, /consume_misses/],
  ]
  for (const [row, why] of off) {
    const verdict = judge({ after: textOf(row) })
    assert.is(verdict.status, 'fail')
    assert.match([verdict.message, ...(verdict.details ?? [])].join('\n'), why)
  }
})

test('metrics: drops that are allowed make up for what was not taken, in bytes too', () => {
  const drops = { atLeast: 1 }
  assert.is(judge({ after: textOf({ rxsegs: 7, rxbytes: 546, drops: 3 }) }, { drops }).status, 'pass')
  assert.is(judge({ after: textOf({ rxsegs: 7, rxbytes: 606, drops: 3 }) }, { drops }).status, 'fail')
  assert.is(judge({ after: textOf(ROW) }, { drops }).status, 'fail')
})

test('metrics: labels are the pods of both sides, and the row is there', () => {
  const other = (changed: Record<string, string>) => judge({ after: textOf(ROW, { ...LABELS, ...changed }) })
  assert.match(other({ dstpod: '' }).message, /label dstpod of far's socket is "", expected "tx"/)
  assert.match(other({ workload: 'x' }).message, /label workload/)
  assert.match(other({ srcmcast: '10.1.0.1', dstmcast: '233.252.0.1' }).message, /no row of pod far/)
  assert.match(other({ pod: 'far2' }).message, /no row of pod far/)
  assert.match(other({ binary: '/bin/cat' }).message || 'pass', /sockets are counted/)
  assert.match(judge({}, { binary: '/usr/bin/nc' }).message, /label binary/)
})

test('metrics: a pod of another node in an agent’s answer is a failure', () => {
  const after = textOf(ROW) + textOf({}, { ...LABELS, pod: 'rx' }).replace(/# TYPE.*\n/g, '')
  assert.match(judge({ after }).message, /n2 tells of rx, a pod of another node/)
})

test('metrics: a counter that fell, a gauge, and a text that is none', () => {
  assert.match(judge({ before: textOf({ rxsegs: 20, rxbytes: 1560 }) }).message, /fell from 1560 to 780/)
  assert.match(judge({ after: textOf(ROW, LABELS, 'gauge') }).message, /is a gauge, not a counter/)
  assert.match(judge({ after: `${textOf(ROW)}what{ is this\n` }).message, /no sample: what/)
})

test('metrics: nothing sent, frames lost by the tap, traffic during a snapshot, no scrape: inconclusive', () => {
  const none = judge({ change: scenario => scenario.lose(...scenario.frames.filter(f => f.tap === 'far/eth0')) })
  assert.is(none.status, 'inconclusive')
  assert.is(judge({ change: scenario => scenario.dropped.set('far/eth0', 1) }).status, 'inconclusive')
  assert.is(judge({}, { between: ['before', 'never'] }).status, 'inconclusive')
  assert.is(judge({ change: scenario => (scenario.clockErrorNs = 1e9) }).status, 'inconclusive')
  const meanwhile = scenarioOf({})
  const last = meanwhile.frames.filter(f => f.tap === 'far/eth0').at(0)
  const ended = meanwhile.observations.find(o => o.kind === 'step' && o.step === 'before' && o.phase === 'end')
  if (last && ended) last.timeNs = Number(BigInt(ended.tNs) - 1_790_000_000_000_000_000n) - 1
  assert.is(metrics.judge(want, meanwhile.sent, meanwhile.seen).status, 'inconclusive')
})

test('metrics: what the program wrote it was given; less may be on the way', () => {
  const lines = (count: number) => (scenario: Scenario) => {
    for (let i = 0; i < count; i++)
      scenario.observe({ kind: 'program', step: 'cat', pod: 'far', program: 'socat', event: 'stdout', text: 'x' })
  }
  const status = (count: number) => judge({ change: lines(count) }, { program: 'cat' }).status
  assert.equal([status(10), status(11), status(9)], ['pass', 'fail', 'inconclusive'])
})

const nodeWant: NodeMetricsWant = { between: ['before', 'after'], node: 'n2', group: GROUP, local: 1, remote: 0 }

interface NodeText {
  pods?: number
  nodes?: number
  noMembers?: number
  local?: number
}

/** Copies at the taps of far and far2: ten datagrams, the guards and what came back. */
function nodeText({ pods = 0, nodes = 0, noMembers = 0, local = 1 }: NodeText): string {
  return [
    '# TYPE castproof_datapath_copies_total counter',
    `castproof_datapath_copies_total{to="pod"} ${pods}`,
    `castproof_datapath_copies_total{to="node"} ${nodes}`,
    '# TYPE castproof_datapath_drops_total counter',
    `castproof_datapath_drops_total{reason="no-members"} ${noMembers}`,
    '# TYPE castproof_datapath_memberships gauge',
    `castproof_datapath_memberships{group="233.252.0.1",type="local"} ${local}`,
    'castproof_datapath_memberships{group="233.252.0.1",type="remote"} 0',
    '',
  ].join('\n')
}

function judgeNode(after: NodeText, drops = 4) {
  const scenario = scenarioOf({ before: nodeText({}), after: nodeText(after) })
  for (const [step, reasons] of [
    ['before', 0],
    ['after', drops],
  ] as const)
    scenario.observe({ kind: 'drops', step, node: 'n2', reasons: { 'no-members': reasons } })
  return nodeMetrics.judge(nodeWant, scenario.sent, scenario.seen)
}

/** 10 of s1 and 2 guards to far, 2 guards to far2; one of the two sends the echo, to the other and to three on n1. */
const COPIES = { pods: 16, nodes: 2, noMembers: 4 }

test('node-metrics: copies at the taps, drops as counted, subscribers as the suite says', () => {
  assert.equal(judgeNode(COPIES).status, 'pass', judgeNode(COPIES).message)
  assert.match(judgeNode({ ...COPIES, pods: 10 }).message, /10 copies to pods, 16 passed the taps/)
  assert.match(judgeNode({ ...COPIES, nodes: 3 }).message, /3 copies to nodes, 2 passed/)
  assert.match(
    judgeNode({ ...COPIES, noMembers: 5 }).message,
    /says 5 drops "no-members" in its metrics, 4 in its drop/,
  )
  assert.match(judgeNode({ ...COPIES, local: 2 }).message, /says 2 local subscribers/)
})

test.run()
