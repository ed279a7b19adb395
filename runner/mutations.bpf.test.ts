import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import type { RunResult, Status } from '../reports/result.ts'
import { AlteredRun } from '../test/altered-run.ts'
import { invoke } from '../test/invoke.ts'
import { suite } from '../test/suite.ts'
import { CHECKS } from './check/registry.ts'
import type { Observation } from './observation.ts'

/**
 * One run on real packets with every check that judges the reference datapath, once each, all green. Then copies of its
 * directory, each with one change made by editcap, mergecap or scapy, or to an observation where there is no packet to
 * change: every check must say what that change implies, and those that it does not concern must stay green.
 */
const test = suite('mutations of a run', { timeoutMs: 120_000 })

const TESTDATA = fileURLToPath(new URL('testdata', import.meta.url))
/** They judge encryption, routers, exporters, collectors and metrics, and have witnesses of their own. */
const ELSEWHERE = [
  'encrypted',
  'esp',
  'xfrm',
  'pim',
  'flow-accounting',
  'flow-messages',
  'analyser',
  'metrics',
  'node-metrics',
]

/** Where testdata/every-check.yaml puts its roles. */
const SENDER = 'n1/lxc_n1-1'
const NEAR = 'n1-2/eth0'
const IDLE = 'n1-3/eth0'
const FAR = 'n2-1/eth0'
const MOVER = 'n2-2/eth0'
const MOVER_AT_NODE = 'n2/lxc_n2-2'
const UPLINK = 'n1/eth0'

/** Display filters of Wireshark. */
const S1 = 'udp && ip.dst == 225.0.0.11'
const S2 = 'udp && ip.dst == 225.0.0.13'
const GUARD = 'udp.dstport == 5999 && ip.dst == 239.195.255.254'
const reportOf = (group: string) => `igmp.maddr == ${group}`

type Expected = readonly [Status, RegExp]

interface Mutation {
  /** What is done to the run. */
  what: string
  change(run: AlteredRun): void
  /** By check; `igmp in` is the second expectation of `igmp`. All others stay green. */
  says: Record<string, Expected>
}

/** Frame k of those that match at a tap. */
function nth(run: AlteredRun, tap: string, filter: string, k: number): number {
  const frame = run.frames(tap, filter).at(k)
  if (frame === undefined) throw new RangeError(`${tap}: no frame ${k} of ${filter}`)
  return frame
}

/** Copy 5 of the 20 of s1 at a tap: from the end, since datagrams that primed the stream came before. */
function copy5(run: AlteredRun, tap: string): number {
  return nth(run, tap, S1, 5 - 20)
}

function observing<Kind extends Observation['kind']>(
  kind: Kind,
  change: (o: Observation & { kind: Kind }) => Observation | undefined,
) {
  return (run: AlteredRun) => run.observe(o => (o.kind === kind ? change(o as Observation & { kind: Kind }) : o))
}

/** What rests on each frame having left the sender once. */
const OF_STIMULUS = ['delivered', 'not-delivered', 'replication', 'encapsulated', 'latency']
/** What a copy that is still on the way could turn over. */
const OF_FENCE = [
  'delivered',
  'not-delivered',
  'duplicates',
  'order',
  'content',
  'replication',
  'encapsulated',
  'latency',
]

function all(checks: readonly string[], text: RegExp): Record<string, Expected> {
  return Object.fromEntries(checks.map(check => [check, ['inconclusive', text]]))
}

const ALTERED_TTL = 'p[IP].ttl -= 1; del p[IP].chksum'

const MUTATIONS: readonly Mutation[] = [
  {
    what: 'a copy dropped at a member',
    change: run => run.drop(FAR, [copy5(run, FAR)]),
    says: {
      delivered: ['fail', /at n2-1, saw 19 \(missing 5\)/],
      replication: ['fail', /at n2-1\/eth0 \(in\), saw 0 of 5/],
      'not-delivered': ['inconclusive', /control s1 is not complete at n2-1/],
      'igmp in': ['inconclusive', /control s1 is not complete at n2-1/],
    },
  },
  {
    what: 'a copy doubled at a member',
    change: run => run.double(FAR, copy5(run, FAR)),
    says: {
      delivered: ['fail', /at n2-1, saw 21 \(duplicated 5\)/],
      duplicates: ['fail', /at n2-1, saw 1 frame more often \(5\)/],
      replication: ['fail', /at n2-1\/eth0 \(in\), saw 2 of 5/],
    },
  },
  {
    what: 'a copy that comes to a member after later ones',
    change: run => run.delay(FAR, copy5(run, FAR), 200),
    says: { order: ['fail', /in order at n2-1, saw 1 of 20 late \(5\), extent 14/] },
  },
  {
    what: 'the TTL of a copy altered',
    change: run => run.alter(FAR, [copy5(run, FAR)], ALTERED_TTL),
    says: { content: ['fail', /at n2-1, 1 of 20 copies differ: ipv4\.ttl: expected 64 \(0x40\), saw 63 \(0x3f\)/] },
  },
  {
    what: 'the last octet of a copy altered',
    change: run => run.alter(FAR, [copy5(run, FAR)], 'p = Ether(bytes(p)[:-1] + bytes([bytes(p)[-1] ^ 1]))'),
    says: { content: ['fail', /at n2-1, 1 of 20 copies differ: payload byte 77/] },
  },
  {
    what: 'the Ethernet destination of a copy altered',
    change: run => run.alter(FAR, [copy5(run, FAR)], 'p.dst = "01:00:0e:00:00:0b"'),
    says: { delivered: ['fail', /ethernet\.dst: expected 01:00:5e:00:00:0b, saw 01:00:0e:00:00:0b/] },
  },
  {
    what: 'the stamp of a copy altered',
    change: run => run.alter(FAR, [copy5(run, FAR)], 'p[Raw].load = bytes(len(p[Raw].load))'),
    says: {
      delivered: ['fail', /at n2-1, saw 19 \(missing 5; 1 frame like it with no readable stamp\)/],
      replication: ['fail', /at n2-1\/eth0 \(in\), saw 0 of 5; 1 frame like it/],
      'not-delivered': ['inconclusive', /control s1 is not complete/],
      'igmp in': ['inconclusive', /control s1 is not complete/],
    },
  },
  {
    what: 'a copy that comes late to a member',
    change: run => run.delay(FAR, nth(run, FAR, S1, -1), 700),
    says: { latency: ['fail', /at n2-1: expected at most 500 ms, saw 70\d\.\d+ ms/] },
  },
  {
    what: 'a copy at a pod that is no member',
    change: run => run.leak(IDLE, nth(run, IDLE, GUARD, -1), { tap: NEAR, frame: copy5(run, NEAR) }),
    says: {
      'not-delivered': ['fail', /no copy of s1 at n1-3, saw 1 \(sequences 5\)/],
      replication: ['fail', /at n1-3\/eth0 \(in\), saw 1 of 5/],
    },
  },
  {
    what: 'an altered copy at a pod that is no member',
    change(run) {
      run.leak(IDLE, nth(run, IDLE, GUARD, -1), { tap: NEAR, frame: copy5(run, NEAR) })
      run.alter(IDLE, run.frames(IDLE, S1), 'p[Raw].load = bytes(len(p[Raw].load))')
    },
    says: {
      'not-delivered': ['fail', /at n1-3, saw 1 frame with its addresses and ports and no readable stamp/],
      replication: ['fail', /at n1-3\/eth0 \(in\), saw 1 frame like it with no readable stamp/],
    },
  },
  {
    what: 'a tunnel packet dropped at the uplink',
    change: run => run.drop(UPLINK, [copy5(run, UPLINK)]),
    says: {
      encapsulated: ['fail', /at n1\/eth0, saw to n2: nothing of 5/],
      replication: ['fail', /at n1\/eth0 \(out\), saw 0 of 5/],
    },
  },
  {
    what: 'a tunnel packet doubled at the uplink',
    change: run => run.double(UPLINK, copy5(run, UPLINK)),
    says: {
      encapsulated: ['fail', /at n1\/eth0, saw to n2: more than one of 5/],
      replication: ['fail', /at n1\/eth0 \(out\), saw 2 of 5/],
    },
  },
  {
    what: 'the VNI of a tunnel packet altered',
    change: run => run.alter(UPLINK, [copy5(run, UPLINK)], 'p[VXLAN].vni = 3'),
    says: { encapsulated: ['fail', /at n1\/eth0, saw 1 with a wrong header: vxlan\.vni: expected 2, saw 3/] },
  },
  {
    what: 'the report of a member dropped',
    change: run => run.drop(FAR, run.frames(FAR, reportOf('225.0.0.11'))),
    says: { igmp: ['fail', /expected 1 matching IGMP messages at n2-1\/eth0 \(out\), saw 0/] },
  },
  {
    what: 'the report of a member doubled',
    change: run => run.double(FAR, nth(run, FAR, reportOf('225.0.0.11'), 0)),
    says: { igmp: ['fail', /expected 1 matching IGMP messages at n2-1\/eth0 \(out\), saw 2/] },
  },
  {
    what: 'the record type of a report altered',
    change: run =>
      run.alter(FAR, run.frames(FAR, reportOf('225.0.0.11')), 'p[IGMPv3gr].rtype = 3; del p.payload.payload.chksum'),
    says: { igmp: ['fail', /at n2-1\/eth0 \(out\), saw 0\n.*recordType: expected 4, saw 3/] },
  },
  {
    what: 'a report let through to a pod',
    change: run =>
      run.leak(IDLE, nth(run, IDLE, GUARD, -1), { tap: FAR, frame: nth(run, FAR, reportOf('225.0.0.11'), 0) }),
    says: { 'igmp in': ['fail', /expected 0 matching IGMP messages at n1-3\/eth0 \(in\), saw 1/] },
  },
  {
    what: 'the report of a joiner dropped at its node',
    change: run => run.drop(MOVER_AT_NODE, [nth(run, MOVER_AT_NODE, reportOf('225.0.0.13'), 0)]),
    says: { 'join-delay': ['inconclusive', /no report of step join was seen at n2\/lxc_n2-2/] },
  },
  {
    what: 'the leave dropped at its node',
    change: run => run.drop(MOVER_AT_NODE, [nth(run, MOVER_AT_NODE, reportOf('225.0.0.13'), -1)]),
    says: { 'leave-delay': ['inconclusive', /no leave of step leave was seen at n2\/lxc_n2-2/] },
  },
  {
    what: 'no copy after the join',
    change: run => run.drop(MOVER, run.frames(MOVER, S2)),
    says: {
      'join-delay': ['fail', /expected s2 at n2-2 after its report, saw no copy/],
      'leave-delay': ['inconclusive', /no copy of s2 came to n2-2/],
    },
  },
  {
    what: 'the copies of the first 600 ms after the join dropped',
    change: run => run.drop(MOVER, run.frames(MOVER, S2).slice(0, 180)),
    says: { 'join-delay': ['fail', /join delay of n2-2: expected at most 500 ms, saw/] },
  },
  {
    what: 'a copy that comes 900 ms after the leave',
    change: run => run.delay(MOVER, nth(run, MOVER, S2, -1), 900),
    says: { 'leave-delay': ['fail', /leave delay of n2-2: expected at most 500 ms, saw/] },
  },
  {
    what: 'a copy after the last frame of a stream that was left',
    change: run => run.delay(MOVER, nth(run, MOVER, S2, -1), 5000),
    says: { 'leave-delay': ['fail', /expected s2 to stop at n2-2 after its leave, saw it to the end/] },
  },
  {
    what: 'a subscriber missing in the table',
    change: observing('tables', o => ({
      ...o,
      groups: o.groups.map(one => ({ ...one, subscribers: one.subscribers.filter(s => s.type !== 'Remote Node') })),
    })),
    says: { membership: ['fail', /225\.0\.0\.11 on n1 at after: missing 10\.224\.0\.5 \(Remote Node\)/] },
  },
  {
    what: 'no tables',
    change: observing('tables', () => undefined),
    says: { membership: ['inconclusive', /no tables of n1 were taken at after/] },
  },
  {
    what: 'a drop counter that grew by one more',
    change: observing('drops', o => (o.step === 'after' ? { ...o, reasons: { ...o.reasons, 'igmp-checksum': 4 } } : o)),
    says: { drops: ['fail', /expected 3 drops "igmp-checksum" on n1, saw 4 \(0 to 4\)/] },
  },
  {
    what: 'no drop counters at a snapshot',
    change: observing('drops', o => (o.step === 'before' ? undefined : o)),
    says: { drops: ['inconclusive', /no drop counters of n1 were taken at before/] },
  },
  {
    what: 'another line from the program',
    change: observing('program', o => ({ ...o, text: o.text.replace('hello', 'goodbye') })),
    says: { output: ['fail', /expected "hello, multicast!", saw "goodbye, multicast!"/] },
  },
  {
    what: 'a program that broke down',
    change: observing('program', o => (o.event === 'exit' && o.step === 'listener' ? { ...o, text: '1' } : o)),
    says: { output: ['inconclusive', /program listener ended by itself with 1/] },
  },
  {
    what: 'a frame that the sender never got out',
    change: run => run.drop(SENDER, [copy5(run, SENDER)]),
    says: all(OF_STIMULUS, /reached n1\/lxc_n1-1 not at all \(5\): no sound stimulus/),
  },
  {
    what: 'a frame that left the sender twice',
    change: run => run.double(SENDER, copy5(run, SENDER)),
    says: all(OF_STIMULUS, /reached n1\/lxc_n1-1 more than once \(5\): no sound stimulus/),
  },
  {
    what: 'no fence anywhere',
    change: run => run.dropEverywhere(GUARD),
    says: all([...OF_FENCE, 'leave-delay'], /the (fence|echo) did not arrive|no guard datagram passed n1\/eth0/),
  },
  {
    what: 'no fence at the pod that is no member',
    change: run => run.drop(IDLE, run.frames(IDLE, GUARD)),
    says: all(['not-delivered', 'replication'], /the fence did not arrive at n1-3\/eth0/),
  },
  {
    what: 'taps that each lost a frame',
    change: observing('tap', o => ({ ...o, dropped: 1 })),
    says: all([...OF_FENCE, 'igmp', 'igmp in', 'join-delay', 'leave-delay'], /the tap at \S+ lost 1 frames/),
  },
]

let directory = ''
let original = ''

test.before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'castproof-mutations-'))
  original = join(directory, 'run')
  const words = ['run', join(TESTDATA, 'every-check.yaml'), '--profile', join(TESTDATA, 'wide-bounds.yaml')]
  const { exitCode, stdout, stderr } = await invoke([...words, '--out', original], '/', 90_000)
  assert.is(exitCode, 0, `${stdout}\n${stderr}`)
})
test.after(() => rmSync(directory, { recursive: true }))

/** Status and message by check, a second expectation of `igmp` being the one about what came in. */
function verdicts(result: RunResult): Map<string, { status: Status; message: string }> {
  const found = new Map<string, { status: Status; message: string }>()
  for (const { check, status, message, details } of result.cases.flatMap(one => one.checks)) {
    found.set(found.has(check) ? `${check} in` : check, { status, message: [message, ...details].join('\n') })
  }
  return found
}

function exitCodeOf(says: readonly Status[]): number {
  if (says.includes('fail')) return 1
  return says.includes('inconclusive') ? 4 : 0
}

async function onCopy<T>(body: (run: AlteredRun) => T | Promise<T>): Promise<T> {
  const run = new AlteredRun(original)
  try {
    return await body(run)
  } finally {
    run.remove()
  }
}

test('unchanged, it passes every check of the registry', async () => {
  const result = await onCopy(run => run.judge())
  const checks = verdicts(result)
  for (const [check, { status, message }] of checks) assert.is(status, 'pass', `${check}: ${message}`)
  const names = Object.keys(CHECKS).filter(name => !ELSEWHERE.includes(name))
  assert.equal(
    names.filter(name => !checks.has(name)),
    [],
    'checks that testdata/every-check.yaml does not use',
  )
})

for (const { what, change, says } of MUTATIONS) {
  test(what, async () => {
    const result = await onCopy(run => {
      change(run)
      return run.judge()
    })
    const checks = verdicts(result)
    for (const [check, { status, message }] of checks) {
      const [expected, text] = says[check] ?? ['pass', /^/]
      assert.is(status, expected, `${check}: ${message}`)
      assert.match(message, text)
    }
    assert.equal(result.altered, [])
    assert.is(result.exitCode, exitCodeOf(Object.values(says).map(([status]) => status)))
  })
}

test('each check is seen red and inconclusive here', () => {
  const names = [...Object.keys(CHECKS).filter(name => !ELSEWHERE.includes(name)), 'igmp in']
  for (const status of ['fail', 'inconclusive'] as const) {
    const without = names.filter(name => !MUTATIONS.some(({ says }) => says[name]?.[0] === status))
    assert.equal(without, [], status)
  }
})

test('castproof judge, by nobody and without result.json, says the same', async () => {
  await onCopy(async run => {
    const exact = ({ directory: _, ...result }: RunResult) => result
    assert.equal(exact(await run.judgeAsNobody()), exact(run.judge()))
    run.drop(FAR, [copy5(run, FAR)])
    const judged = await run.judgeAsNobody()
    assert.equal(exact(judged), exact(run.judge()))
    assert.is(judged.exitCode, 1)
  })
})

test.run()
