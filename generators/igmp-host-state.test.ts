import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import type { IgmpFields } from './frame-spec.ts'
import { isMember, NOT_A_MEMBER, packRecords, type SourceFilter } from './igmp-filter.ts'
import { type HeardQuery, type IgmpHostOptions, IgmpHostState } from './igmp-host-state.ts'
import { seededRandom } from './random.ts'
import { ALL_SYSTEMS, RECORD_TYPE } from './wire/igmp.ts'

const test = suite('IGMP host state')

const G = 0xe9fc0001
const H = 0xe9fc0002
const NAMES: Record<number, string> = { 1: 'IS_IN', 2: 'IS_EX', 3: 'TO_IN', 4: 'TO_EX', 5: 'ALLOW', 6: 'BLOCK' }
const V2_NAMES: Record<number, string> = { 18: 'v1 report', 22: 'v2 report', 23: 'leave' }

const include = (...sources: number[]): SourceFilter => ({ mode: 'include', sources: new Set(sources) })
const exclude = (...sources: number[]): SourceFilter => ({ mode: 'exclude', sources: new Set(sources) })

/** `TO_EX{1,2}`, records of one report joined by `+`. */
function text(messages: IgmpFields[]): string[] {
  return messages.map(({ type = 0, records }) => {
    if (!records) return V2_NAMES[type] ?? `type ${type}`
    return records.map(({ recordType, sources = [] }) => `${NAMES[recordType]}{${[...sources].sort()}}`).join('+')
  })
}

function host(options: IgmpHostOptions = {}, random = seededRandom(7)): IgmpHostState {
  return new IgmpHostState(options, random)
}

/** Everything that is sent until nothing is pending, with its times. */
function drain(state: IgmpHostState): { atMs: number; said: string }[] {
  const sent: { atMs: number; said: string }[] = []
  for (let dueMs = state.deadlineMs(); dueMs !== Number.POSITIVE_INFINITY; dueMs = state.deadlineMs()) {
    for (const said of text(state.tick(dueMs))) sent.push({ atMs: Math.round(dueMs * 1e6) / 1e6, said })
  }
  return sent
}
const drainText = (state: IgmpHostState): string[] => drain(state).map(({ said }) => said)

const query = (given: Partial<HeardQuery> = {}): HeardQuery => ({
  version: 3,
  group: 0,
  sources: [],
  maxRespTimeMs: 10_000,
  qrv: 0,
  qqiMs: 0,
  ...given,
})

// RFC 3376 §5.1, the first table, with A = {1, 2} and B = {2, 3}.
for (const [from, to, said] of [
  [include(1, 2), include(2, 3), 'ALLOW{3}+BLOCK{1}'],
  [exclude(1, 2), exclude(2, 3), 'ALLOW{1}+BLOCK{3}'],
  [include(1, 2), exclude(2, 3), 'TO_EX{2,3}'],
  [exclude(1, 2), include(2, 3), 'TO_IN{2,3}'],
  [include(1), include(1, 2), 'ALLOW{2}'],
  [include(1, 2), include(1), 'BLOCK{2}'],
  [NOT_A_MEMBER, exclude(), 'TO_EX{}'],
  [exclude(), NOT_A_MEMBER, 'TO_IN{}'],
  [NOT_A_MEMBER, include(1), 'ALLOW{1}'],
  [include(1), NOT_A_MEMBER, 'BLOCK{1}'],
] as const) {
  const name = (filter: SourceFilter) => `${filter.mode}{${[...filter.sources]}}`
  test(`${name(from)} to ${name(to)} is told as ${said}, twice, within a second`, () => {
    const state = host()
    state.setFilter(G, from, 0)
    drain(state)
    assert.equal(text(state.setFilter(G, to, 5000)), [said])
    const later = drain(state)
    assert.equal(
      later.map(sent => sent.said),
      [said],
    )
    assert.ok((later[0]?.atMs ?? 0) > 5000 && (later[0]?.atMs ?? 0) <= 6000)
  })
}

test('the same filter again is not told', () => {
  const state = host()
  state.setFilter(G, exclude(1), 0)
  drain(state)
  assert.equal(state.setFilter(G, exclude(1), 9), [])
  assert.is(state.deadlineMs(), Number.POSITIVE_INFINITY)
})

// RFC 3376 §5.1: merged with the pending report, which starts its count anew.
test('a source added while the join is pending: TO_EX with the new list, then what is left of the source', () => {
  const state = host({ robustness: 3 })
  assert.equal(text(state.setFilter(G, exclude(), 0)), ['TO_EX{}'])
  assert.equal(text(state.setFilter(G, exclude(1), 1)), ['TO_EX{1}'])
  assert.equal(drainText(state), ['TO_EX{1}', 'BLOCK{1}'])
})

test('sources that change back and forth are told by their state now', () => {
  const state = host()
  state.setFilter(G, include(1), 0)
  drain(state)
  assert.equal(text(state.setFilter(G, include(1, 2), 10)), ['ALLOW{2}'])
  assert.equal(text(state.setFilter(G, include(2), 11)), ['ALLOW{2}+BLOCK{1}'])
  assert.equal(drainText(state), ['BLOCK{1}'])
})

test('left before the join was told twice: TO_IN, as often as robustness says', () => {
  const state = host({ robustness: 3 })
  state.setFilter(G, exclude(), 0)
  assert.equal(text(state.setFilter(G, NOT_A_MEMBER, 1)), ['TO_IN{}'])
  assert.equal(drainText(state), ['TO_IN{}', 'TO_IN{}'])
  assert.equal(state.memberships(), [])
})

test("a Query's QRV is how often the next join is told", () => {
  const state = host()
  state.query(query({ qrv: 5 }), 0)
  drain(state)
  const first = text(state.setFilter(G, exclude(), 100))
  assert.is(first.concat(drainText(state)).filter(said => said === 'TO_EX{}').length, 5)
})

// RFC 3376 §5.2, the last table: B = the sources asked for.
for (const [filter, asked, said] of [
  [include(1), [1, 2], ['IS_IN{1}']],
  [exclude(1), [1, 2], ['IS_IN{2}']],
  [exclude(1), [1], []],
  [include(1), [2], []],
  [include(1, 2), [], ['IS_IN{1,2}']],
  [exclude(1), [], ['IS_EX{1}']],
  [NOT_A_MEMBER, [], []],
] as const) {
  test(`${filter.mode}{${[...filter.sources]}} asked for {${asked}} answers ${said.join() || 'nothing'}`, () => {
    const state = host()
    state.setFilter(G, filter, 0)
    drain(state)
    state.query(query({ group: G, sources: asked, maxRespTimeMs: 1000 }), 5000)
    assert.equal(drainText(state), [...said])
  })
}

test('a General Query: one record for each group, in one report, within the time', () => {
  const state = host()
  for (const group of [G, H, H + 1]) state.setFilter(group, exclude(), 0)
  state.setFilter(ALL_SYSTEMS, exclude(), 0)
  drain(state)
  state.query(query(), 1000)
  const answers = drain(state)
  assert.equal(
    answers.map(({ said }) => said),
    ['IS_EX{}+IS_EX{}+IS_EX{}'],
  )
  assert.ok((answers[0]?.atMs ?? 0) > 1000 && (answers[0]?.atMs ?? 0) <= 11_000)
})

test('224.0.0.1 is never reported', () => {
  const state = host()
  assert.equal(state.setFilter(ALL_SYSTEMS, exclude(), 0), [])
  state.query(query(), 0)
  state.query(query({ group: ALL_SYSTEMS, maxRespTimeMs: 1 }), 0)
  assert.equal(drainText(state), [])
})

/** A host in G whose next delays are these shares of the time allowed. */
function delays(...shares: number[]): IgmpHostState {
  const left = [...shares]
  const state = host({ robustness: 1 }, () => 1 - (left.shift() ?? 1))
  state.setFilter(G, exclude(1), 0)
  return state
}

// RFC 3376 §5.2, rules 1 to 5.
test('rule 1: a General answer that comes sooner covers the new query', () => {
  const state = delays(0.1, 0.9)
  state.query(query({ maxRespTimeMs: 1000 }), 0)
  state.query(query({ group: G, maxRespTimeMs: 1000 }), 0)
  assert.equal(drain(state), [{ atMs: 100, said: 'IS_EX{1}' }])
})

test('rule 2: a General Query that wants an answer sooner replaces the pending one', () => {
  const state = delays(1, 0.5)
  state.query(query({ maxRespTimeMs: 10_000 }), 0)
  state.query(query({ maxRespTimeMs: 1000 }), 0)
  assert.equal(drain(state), [{ atMs: 500, said: 'IS_EX{1}' }])
})

test('rule 4: a group query swallows pending sources, at the earlier of the two times', () => {
  const state = delays(0.2, 0.9)
  state.query(query({ group: G, sources: [1, 2], maxRespTimeMs: 1000 }), 0)
  state.query(query({ group: G, maxRespTimeMs: 1000 }), 0)
  assert.equal(drain(state), [{ atMs: 200, said: 'IS_EX{1}' }])
})

test('rule 4: sources do not narrow a pending group query', () => {
  const state = delays(0.9, 0.2)
  state.query(query({ group: G, maxRespTimeMs: 1000 }), 0)
  state.query(query({ group: G, sources: [1], maxRespTimeMs: 1000 }), 0)
  assert.equal(drain(state), [{ atMs: 200, said: 'IS_EX{1}' }])
})

test('rule 5: source lists are joined', () => {
  const state = delays(0.9, 0.4)
  state.query(query({ group: G, sources: [2], maxRespTimeMs: 1000 }), 0)
  state.query(query({ group: G, sources: [1, 3], maxRespTimeMs: 1000 }), 0)
  assert.equal(drain(state), [{ atMs: 400, said: 'IS_IN{2,3}' }])
})

test('delays are spread over (0, Max Resp Time], none at 0', () => {
  const random = seededRandom(3)
  const atMs = Array.from({ length: 2000 }, () => {
    const state = host({ robustness: 1 }, random)
    state.setFilter(G, exclude(), 0)
    state.query(query({ maxRespTimeMs: 1000 }), 0)
    return state.deadlineMs()
  })
  assert.ok(atMs.every(ms => ms > 0 && ms <= 1000))
  for (let tenth = 0; tenth < 10; tenth++) {
    const inTenth = atMs.filter(ms => Math.ceil(ms / 100) === tenth + 1).length
    assert.ok(inTenth > 140 && inTenth < 260, `${inTenth} of 2000 in tenth ${tenth}`)
  }
})

// RFC 2236 §3.
test('v2: a join is told twice within ten seconds, a leave once', () => {
  const state = host({ version: 2 })
  assert.equal(text(state.setFilter(G, exclude(), 0)), ['v2 report'])
  const later = drain(state)
  assert.is(later.length, 1)
  assert.ok((later[0]?.atMs ?? 0) > 0 && (later[0]?.atMs ?? 0) <= 10_000)
  assert.equal(text(state.setFilter(G, NOT_A_MEMBER, 20_000)), ['leave'])
  assert.equal(drainText(state), [])
})

test('v2: a filter cannot be told, a member stays one', () => {
  const state = host({ version: 2 })
  state.setFilter(G, exclude(), 0)
  drain(state)
  assert.equal(state.setFilter(G, include(1), 20_000), [])
  assert.equal(drainText(state), [])
  assert.equal(text(state.setFilter(G, NOT_A_MEMBER, 20_001)), ['leave'])
})

test("v2: another host's report suppresses ours, and then the leave is not ours to tell", () => {
  const state = host({ version: 2, robustness: 1 })
  state.setFilter(G, exclude(), 0)
  state.query(query({ version: 2, maxRespTimeMs: 1000 }), 0)
  state.reportHeard(H)
  assert.ok(state.deadlineMs() <= 1000)
  state.reportHeard(G)
  assert.equal(drainText(state), [])
  assert.equal(state.setFilter(G, NOT_A_MEMBER, 1), [])
})

test('v2 without suppression answers and leaves all the same', () => {
  const state = host({ version: 2, robustness: 1, suppression: false })
  state.setFilter(G, exclude(), 0)
  state.query(query({ version: 2, maxRespTimeMs: 1000 }), 0)
  state.reportHeard(G)
  assert.equal(drainText(state), ['v2 report'])
  assert.equal(text(state.setFilter(G, NOT_A_MEMBER, 1)), ['leave'])
})

test('v2: a running timer stays unless the new time is shorter than what is left', () => {
  const state = host({ version: 2, robustness: 1 }, () => 0.5)
  state.setFilter(G, exclude(), 0)
  state.query(query({ version: 2, maxRespTimeMs: 1000 }), 0)
  state.query(query({ version: 2, maxRespTimeMs: 600 }), 0)
  assert.is(state.deadlineMs(), 500)
  state.query(query({ version: 2, group: G, maxRespTimeMs: 400 }), 0)
  assert.is(state.deadlineMs(), 200)
})

test('v1: reports, no leave, ten seconds to answer', () => {
  const state = host({ version: 1, robustness: 1 })
  assert.equal(text(state.setFilter(G, exclude(), 0)), ['v1 report'])
  state.query(query({ version: 1 }), 0)
  const answers = drain(state)
  assert.equal([answers.length, answers[0]?.said], [1, 'v1 report'])
  assert.equal(state.setFilter(G, NOT_A_MEMBER, 20_000), [])
})

// RFC 3376 §7.2.1 and §8.12: 2 * 125 s + 10 s.
test('an older querier is followed for 260 s, and pending answers are dropped', () => {
  const state = host({ robustness: 1 })
  state.setFilter(G, exclude(), 0)
  state.query(query({ qrv: 2 }), 0)
  assert.ok(state.deadlineMs() <= 10_000)
  state.query(query({ version: 2, group: 0, maxRespTimeMs: 60_000 }), 100)
  assert.is(state.version, 2)
  assert.equal(drainText(state), ['v2 report'])
  assert.equal(text(state.setFilter(H, exclude(), 260_099)), ['v2 report'])
  drain(state)
  assert.equal(text(state.setFilter(H + 1, exclude(), 260_100)), ['TO_EX{}'])
})

test('a v1 querier is followed before a v2 one', () => {
  const state = host({ robustness: 1 })
  state.query(query({ version: 1 }), 0)
  state.query(query({ version: 2 }), 1)
  assert.equal(text(state.setFilter(G, exclude(), 2)), ['v1 report'])
})

test('a v2 Group-Specific Query changes no mode, and is answered in v3', () => {
  const state = host({ robustness: 1 })
  state.setFilter(G, exclude(), 0)
  state.query(query({ version: 2, group: G, maxRespTimeMs: 1000 }), 0)
  assert.equal([state.version, drainText(state)], [3, ['IS_EX{}']])
})

test('by choice: an older querier is not followed', () => {
  const state = host({ followsQuerier: false })
  state.query(query({ version: 1 }), 0)
  assert.equal(text(state.setFilter(G, exclude(), 1)), ['TO_EX{}'])
})

// RFC 3376 §4.2.16: 1500 bytes with Router Alert hold 365 sources or 183 empty records.
test('packing: as few reports as fit, long lists split, exclusions cut', () => {
  const empty = { recordType: RECORD_TYPE.MODE_IS_EXCLUDE, multicastAddress: G, sources: [] }
  const sources = Array.from({ length: 800 }, (_, i) => i + 1)
  assert.equal(
    packRecords(new Array(184).fill(empty)).map(({ length }) => length),
    [183, 1],
  )
  const lengths = (recordType: number) =>
    packRecords([{ recordType, multicastAddress: G, sources }]).map(([record]) => record?.sources?.length)
  assert.equal(lengths(RECORD_TYPE.ALLOW_NEW_SOURCES), [365, 365, 70])
  assert.equal(lengths(RECORD_TYPE.CHANGE_TO_EXCLUDE_MODE), [365])
})

/** A listener that applies State-Change records, as a router would without timers (RFC 3376 §6.4). */
function applied(filter: SourceFilter, { recordType, sources = [] }: { recordType: number; sources?: number[] }) {
  const held = new Set(filter.sources)
  const forwards = filter.mode === 'include'
  if (recordType === RECORD_TYPE.CHANGE_TO_INCLUDE_MODE) return include(...sources)
  if (recordType === RECORD_TYPE.CHANGE_TO_EXCLUDE_MODE) return exclude(...sources)
  const allows = recordType === RECORD_TYPE.ALLOW_NEW_SOURCES
  for (const source of sources) {
    if (allows === forwards) held.add(source)
    else held.delete(source)
  }
  return { mode: filter.mode, sources: held }
}

const filters = fc
  .tuple(fc.boolean(), fc.uniqueArray(fc.nat(5), { maxLength: 4 }))
  .map(([isInclude, sources]) => (isInclude ? include(...sources) : exclude(...sources)))
const changes = fc.array(fc.tuple(filters, fc.nat(1500)), { minLength: 1, maxLength: 12 })

test('whatever changes: who loses any one report in a row of two still ends with the right filter', () => {
  fc.assert(
    fc.property(changes, fc.nat(1000), fc.nat(), (steps, seed, lost) => {
      const state = host({}, seededRandom(seed))
      let heard: SourceFilter = NOT_A_MEMBER
      let [nowMs, sent, before] = [0, 0, -2]
      const listen = (messages: IgmpFields[]): void => {
        for (const { records = [] } of messages) {
          const drops = ((lost >> (sent % 30)) & 1) === 1 && before !== sent - 1
          if (drops) before = sent
          sent++
          if (!drops) for (const record of records) heard = applied(heard, record)
        }
      }
      for (const [filter, waitMs] of steps) {
        while (state.deadlineMs() <= nowMs) listen(state.tick(state.deadlineMs()))
        listen(state.setFilter(G, filter, nowMs))
        nowMs += waitMs
      }
      for (let dueMs = state.deadlineMs(); dueMs < 1e9; dueMs = state.deadlineMs()) listen(state.tick(dueMs))
      const wanted = steps.at(-1)?.[0] ?? NOT_A_MEMBER
      assert.equal([heard.mode, [...heard.sources].sort()], [wanted.mode, [...wanted.sources].sort()])
      assert.is(state.memberships().length, isMember(wanted) ? 1 : 0)
    }),
    { numRuns: 5000 },
  )
})

test.run()
