import * as assert from 'uvu/assert'
import type { IgmpFields } from '../generators/frame-spec.ts'
import { parseIpv4 } from '../generators/wire/address.ts'
import { RECORD_TYPE } from '../generators/wire/igmp.ts'
import { suite } from '../test/suite.ts'
import type { QuerierTimers } from './datapath.ts'
import { type Sighting, Testbed } from './testbed.ts'

const test = suite('querier and ageing', { timeoutMs: 60_000 })

/** Group Membership Interval 2 x 400 + 200 = 1000 ms, Last Member Query Time 2 x 100 = 200 ms. */
const TIMERS: QuerierTimers = {
  robustness: 2,
  queryIntervalMs: 400,
  queryResponseIntervalMs: 200,
  lastMemberQueryIntervalMs: 100,
  version: 3,
}
const G = '239.194.0.1'
const S1 = parseIpv4('192.0.2.1')
const S2 = parseIpv4('192.0.2.2')
const record = (recordType: number, sources: number[] = []): IgmpFields => ({
  records: [{ recordType, multicastAddress: parseIpv4(G), sources }],
})

let testbed: Testbed
test.before(async () => {
  testbed = await Testbed.create({ tx: 'n1', a: 'n1', b: 'n1' }, { querier: TIMERS })
})
test.beforeEach(async () => {
  await testbed.reload({ querier: TIMERS })
  testbed.enable(G)
})
test.after(() => testbed.close())

const state = () =>
  testbed
    .datapath('n1')
    .subscribers(parseIpv4(G))
    .flatMap(table => table.subscribers.map(({ mode, sources }) => `${mode}{${sources.join(',')}}`))
    .join()

/** Waits for a state; how long it took since `startMs`, when the message that began it was about to leave. */
async function untilState(want: string, startMs: number, limitMs = 3000): Promise<number> {
  while (state() !== want) {
    if (performance.now() - startMs > limitMs) throw new Error(`still ${state()} after ${limitMs} ms, not ${want}`)
    await new Promise(resolve => setTimeout(resolve, 2))
  }
  return performance.now() - startMs
}

/** Never earlier than the timer; later by what a busy machine takes, and well before the next longer timer. */
const near = (ms: number, wantMs: number) => assert.ok(ms > wantMs - 50 && ms < wantMs + 600, `${ms} ms, not ${wantMs}`)

/** Queries that reached pods since the last call: `a 1101…`. */
function queries(): string[] {
  return testbed.received().flatMap(({ place, hex }) => {
    const query = /94040000(11[0-9a-f]{22,})/.exec(hex)?.[1]
    return query ? [`${place} ${query}`] : []
  })
}

/** Those for the group, at one pod: type and code, then group and what follows; the checksum left out. */
const askedOf = (pod: string, hexDigits: number) =>
  queries()
    .filter(text => text.startsWith(`${pod} `) && text.includes('efc20001'))
    .map(text => text.slice(pod.length + 1))
    .map(hex => `${hex.slice(0, 4)} ${hex.slice(8, 8 + hexDigits)}`)

test('a membership that nobody refreshes ends with the Group Membership Interval (D20)', async () => {
  const startMs = performance.now()
  testbed.igmp('a', record(RECORD_TYPE.CHANGE_TO_EXCLUDE_MODE))
  assert.is(state(), 'exclude{}')
  near(await untilState('', startMs), 1000)
})

test('Current-State Records keep it alive', async () => {
  testbed.igmp('a', record(RECORD_TYPE.CHANGE_TO_EXCLUDE_MODE))
  const start = performance.now()
  while (performance.now() - start < 1500) {
    await new Promise(resolve => setTimeout(resolve, 100))
    testbed.igmp('a', record(RECORD_TYPE.MODE_IS_EXCLUDE))
    assert.is(state(), 'exclude{}')
  }
})

test('a leave is asked about and takes the Last Member Query Time', async () => {
  testbed.igmp('a', record(RECORD_TYPE.CHANGE_TO_EXCLUDE_MODE))
  testbed.received()
  const startMs = performance.now()
  testbed.igmp('a', record(RECORD_TYPE.CHANGE_TO_INCLUDE_MODE))
  assert.is(state(), 'exclude{}')
  near(await untilState('', startMs), 200)
  // Max Resp Code 1, the group, QRV 2, no sources; Last Member Query Count times.
  assert.equal(askedOf('a', 16), ['1101 efc2000102000000', '1101 efc2000102000000'])
})

test('BLOCK asks about the source, and it ends with the Last Member Query Time; the other stays', async () => {
  testbed.igmp('a', record(RECORD_TYPE.ALLOW_NEW_SOURCES, [S1, S2]))
  testbed.received()
  const startMs = performance.now()
  testbed.igmp('a', record(RECORD_TYPE.BLOCK_OLD_SOURCES, [S1]))
  assert.is(state(), 'include{192.0.2.1,192.0.2.2}')
  near(await untilState('include{192.0.2.2}', startMs), 200)
  assert.equal(askedOf('a', 24), ['1101 efc2000102000001c0000201', '1101 efc2000102000001c0000201'])
})

test('sources asked for outlive the group timer (RFC 3376 section 6.5)', async () => {
  testbed.igmp('a', record(RECORD_TYPE.CHANGE_TO_EXCLUDE_MODE, [S1]))
  const start = performance.now()
  let startMs = start
  while (performance.now() - start < 1100) {
    await new Promise(resolve => setTimeout(resolve, 100))
    startMs = performance.now()
    testbed.igmp('a', record(RECORD_TYPE.ALLOW_NEW_SOURCES, [S2]))
  }
  assert.is(state(), 'include{192.0.2.2}')
  near(await untilState('', startMs), 1000)
})

const isGeneral = ({ hex }: Sighting) => /940400001102....0000000002000000/.test(hex)
const generalAt = (pod: string, seen: Sighting[]) => seen.filter(one => one.place === pod && isGeneral(one))

test('General Queries go to every pod, at start-up and then every Query Interval', async () => {
  testbed.received()
  await testbed.reload({ querier: TIMERS })
  const pods = ['a', 'b']
  const seen = await testbed.receivedUntil(all => pods.every(pod => generalAt(pod, all).length >= 4))
  for (const pod of pods) {
    const times = generalAt(pod, seen).map(({ timeNs }) => timeNs / 1e6)
    const gapsMs = times.slice(1, 4).map((time, i) => time - (times[i] ?? 0))
    // RFC 3376 section 8.6: a quarter of the Query Interval between those of the start.
    for (const [i, leastMs] of [100, 400, 400].entries())
      assert.ok((gapsMs[i] ?? 0) > leastMs - 20, `${pod}: ${gapsMs.join(', ')} ms apart`)
    assert.ok((gapsMs[0] ?? Infinity) < 350, `${pod}: ${gapsMs[0]} ms between the first two`)
  }
})

test('without ageing nothing ends, though queries go on beyond the Group Membership Interval', async () => {
  await testbed.reload({ querier: TIMERS, faults: ['no-ageing'] })
  testbed.enable(G)
  testbed.received()
  testbed.igmp('a', record(RECORD_TYPE.CHANGE_TO_EXCLUDE_MODE))
  // The first may be the one of the start: four intervals of 400 ms at most lie between five, three at least.
  const seen = await testbed.receivedUntil(all => generalAt('b', all).length >= 5)
  const times = generalAt('b', seen).map(({ timeNs }) => timeNs / 1e6)
  assert.ok((times.at(-1) ?? 0) - (times[0] ?? 0) > 1000)
  assert.is(state(), 'exclude{}')
})

test('a silent querier asks nothing in the time in which a membership ends', async () => {
  await testbed.reload({ querier: TIMERS, faults: ['querier-silent'] })
  testbed.enable(G)
  testbed.received()
  const startMs = performance.now()
  testbed.igmp('a', record(RECORD_TYPE.CHANGE_TO_EXCLUDE_MODE))
  near(await untilState('', startMs), 1000)
  assert.equal(queries(), [])
})

test.run()
