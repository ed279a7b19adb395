import * as assert from 'uvu/assert'
import type { GroupRecordFields, IgmpFields } from '../generators/frame-spec.ts'
import { parseIpv4 } from '../generators/wire/address.ts'
import { IGMP_TYPE, RECORD_TYPE } from '../generators/wire/igmp.ts'
import { suite } from '../test/suite.ts'
import { G, G2, G3, GOLDEN_CASES, GoldenRun, goldenDifference, S1, S2 } from './golden-run.ts'

const test = suite('IGMP in the datapath', { timeoutMs: 60_000 })

const { MODE_IS_INCLUDE, MODE_IS_EXCLUDE, CHANGE_TO_INCLUDE_MODE, CHANGE_TO_EXCLUDE_MODE } = RECORD_TYPE
const { ALLOW_NEW_SOURCES, BLOCK_OLD_SOURCES } = RECORD_TYPE

const record = (recordType: number, sources: number[] = [], multicastAddress = G): GroupRecordFields => ({
  recordType,
  multicastAddress,
  sources,
})
const report = (...records: GroupRecordFields[]): IgmpFields => ({ records })

/** Sends messages to a fresh datapath; members and drops after them. */
function after(messages: IgmpFields[], ipv4: { src?: number } = {}, faults: string[] = []) {
  const run = new GoldenRun({ faults })
  try {
    for (const message of messages) run.igmp(message, ipv4)
    return { members: run.members(), drops: run.drops() }
  } finally {
    run.close()
  }
}

for (const golden of GOLDEN_CASES)
  test(golden.name, () => {
    assert.is(goldenDifference(golden), undefined)
  })

/** RFC 3376 §6.4 where every query goes unanswered at once: state, record, state. */
const TRANSITIONS: [before: GroupRecordFields[], record: GroupRecordFields, members: string][] = [
  [[], record(MODE_IS_INCLUDE, [S1]), 'include{192.0.2.1}'],
  [[], record(MODE_IS_EXCLUDE, [S1]), 'exclude{192.0.2.1}'],
  [[], record(CHANGE_TO_INCLUDE_MODE, [S1]), 'include{192.0.2.1}'],
  [[], record(CHANGE_TO_EXCLUDE_MODE, [S1]), 'exclude{192.0.2.1}'],
  [[], record(ALLOW_NEW_SOURCES, [S1]), 'include{192.0.2.1}'],
  [[], record(BLOCK_OLD_SOURCES, [S1]), ''],
  [[record(ALLOW_NEW_SOURCES, [S1])], record(ALLOW_NEW_SOURCES, [S2]), 'include{192.0.2.1,192.0.2.2}'],
  [[record(ALLOW_NEW_SOURCES, [S1])], record(MODE_IS_INCLUDE, [S2]), 'include{192.0.2.1,192.0.2.2}'],
  [[record(ALLOW_NEW_SOURCES, [S1, S2])], record(BLOCK_OLD_SOURCES, [S1]), 'include{192.0.2.2}'],
  [[record(ALLOW_NEW_SOURCES, [S1])], record(BLOCK_OLD_SOURCES, [S1, S2]), ''],
  [[record(ALLOW_NEW_SOURCES, [S1])], record(CHANGE_TO_INCLUDE_MODE, [S2]), 'include{192.0.2.2}'],
  [[record(ALLOW_NEW_SOURCES, [S1])], record(CHANGE_TO_INCLUDE_MODE), ''],
  [[record(ALLOW_NEW_SOURCES, [S1, S2])], record(CHANGE_TO_EXCLUDE_MODE, [S2]), 'exclude{192.0.2.2}'],
  [[record(ALLOW_NEW_SOURCES, [S1, S2])], record(MODE_IS_EXCLUDE), 'exclude{}'],
  [[record(CHANGE_TO_EXCLUDE_MODE, [S1])], record(ALLOW_NEW_SOURCES, [S1]), 'exclude{}'],
  [[record(CHANGE_TO_EXCLUDE_MODE, [S1])], record(MODE_IS_INCLUDE, [S1]), 'exclude{}'],
  [[record(CHANGE_TO_EXCLUDE_MODE, [S1])], record(BLOCK_OLD_SOURCES, [S2]), 'exclude{192.0.2.1,192.0.2.2}'],
  [[record(CHANGE_TO_EXCLUDE_MODE, [S1])], record(CHANGE_TO_EXCLUDE_MODE, [S2]), 'exclude{192.0.2.2}'],
  [[record(CHANGE_TO_EXCLUDE_MODE, [S1])], record(MODE_IS_EXCLUDE, [S2]), 'exclude{192.0.2.2}'],
  [[record(CHANGE_TO_EXCLUDE_MODE, [S1])], record(CHANGE_TO_INCLUDE_MODE, [S2]), 'include{192.0.2.2}'],
  [[record(CHANGE_TO_EXCLUDE_MODE)], record(CHANGE_TO_INCLUDE_MODE), ''],
  // The same source twice in one record counts once.
  [[record(ALLOW_NEW_SOURCES, [S1, S1])], record(BLOCK_OLD_SOURCES, [S1]), ''],
]

for (const [before, last, want] of TRANSITIONS) {
  const text = ({ recordType, sources = [] }: GroupRecordFields) => `${recordType}{${sources.length}}`
  test(`state after ${[...before, last].map(text).join(' then ')} is "${want}"`, () => {
    const { members } = after([...before, last].map(each => report(each)))
    assert.equal(members, want ? [`233.252.0.1 ${want}`] : [])
  })
}

test('hosts behind one veth are kept apart, 0.0.0.0 too', () => {
  const run = new GoldenRun()
  run.igmp(report(record(CHANGE_TO_EXCLUDE_MODE)), { src: 0 })
  run.igmp(report(record(ALLOW_NEW_SOURCES, [S1])), { src: parseIpv4('192.0.2.11') })
  assert.equal(run.members(), ['233.252.0.1 exclude{} of 0.0.0.0', '233.252.0.1 include{192.0.2.1} of 192.0.2.11'])
  run.igmp(report(record(CHANGE_TO_INCLUDE_MODE)), { src: 0 })
  assert.equal(run.members(), ['233.252.0.1 include{192.0.2.1} of 192.0.2.11'])
  run.close()
})

test('a source list that reads like a record is none (F25)', () => {
  const smuggling = report(
    record(ALLOW_NEW_SOURCES, [parseIpv4('4.0.0.0'), G2]),
    record(CHANGE_TO_EXCLUDE_MODE, [], G3),
  )
  const { members } = after([smuggling])
  assert.equal(members, ['233.252.0.1 include{4.0.0.0,233.252.0.2}', '233.252.0.3 exclude{}'])
  const faulty = after([smuggling], {}, ['record-stride-8']).members
  assert.ok(faulty.includes('233.252.0.2 exclude{}'), faulty.join())
})

test('auxiliary data is stepped over (F07), and with the fault it is not', () => {
  const message = report({ ...record(MODE_IS_EXCLUDE), auxData: '04000000' }, record(CHANGE_TO_EXCLUDE_MODE, [], G2))
  assert.equal(after([message]).members, ['233.252.0.1 exclude{}', '233.252.0.2 exclude{}'])
  assert.equal(after([message], {}, ['aux-data-not-skipped']).members.length, 1)
})

test('octets after the last record are ignored, and summed (F05)', () => {
  const message = { ...report(record(CHANGE_TO_EXCLUDE_MODE)), trailing: 'aabbccdd' }
  assert.equal(after([message]).members, ['233.252.0.1 exclude{}'])
  assert.equal(after([{ ...message, checksumLengthBytes: 16 }]).drops, { 'igmp-checksum': 1 })
})

/** As many records as 1500 octets hold less a Router Alert: 183. Groups beyond the enabled ones are named, not applied. */
test('183 records in one report', () => {
  const run = new GoldenRun()
  const groups = Array.from({ length: 183 }, (_, i) => parseIpv4('239.192.0.0') + i)
  for (const group of groups) run.datapath.enableGroup(group)
  run.igmp(report(...groups.map(group => record(CHANGE_TO_EXCLUDE_MODE, [], group))))
  assert.is(run.members().length, 183)
  assert.equal(run.drops(), {})
  run.close()
})

test('364 sources in one record', () => {
  const run = new GoldenRun()
  const list = Array.from({ length: 364 }, (_, i) => parseIpv4('10.0.0.1') + i)
  run.igmp(report(record(ALLOW_NEW_SOURCES, list)))
  const text = (subset: number[]) => subset.map(address => address.toString(16)).join()
  const listed = () =>
    run.datapath.subscribers(G).flatMap(({ subscribers }) => subscribers.flatMap(each => each.sources.map(parseIpv4)))
  assert.is(text(listed()), text(list))
  run.igmp(
    report(
      record(
        BLOCK_OLD_SOURCES,
        list.filter((_, i) => i % 2 === 0),
      ),
    ),
  )
  assert.is(text(listed()), text(list.filter((_, i) => i % 2 === 1)))
  run.igmp(report(record(CHANGE_TO_INCLUDE_MODE)))
  assert.equal(run.members(), [])
  assert.equal(run.drops(), {})
  run.close()
})

test('a record for a group not enabled does not hinder the others', () => {
  const { members, drops } = after([
    report(record(CHANGE_TO_EXCLUDE_MODE, [], G + 100), record(CHANGE_TO_EXCLUDE_MODE)),
  ])
  assert.equal(members, ['233.252.0.1 exclude{}'])
  assert.equal(drops, { 'record-not-enabled': 1 })
})

test('an unknown type, a fragment and a bad IP checksum change nothing and have names', () => {
  const run = new GoldenRun()
  run.igmp({ type: 0x99, group: G })
  run.run({ ipv4: { protocol: 2, flags: 1, dst: G }, payload: '2200f0000000000104000000e9fc0001' })
  run.igmp(report(record(CHANGE_TO_EXCLUDE_MODE)), { checksum: 1 })
  run.igmp(report(record(CHANGE_TO_EXCLUDE_MODE)), { src: parseIpv4('224.1.1.1') })
  assert.equal(run.members(), [])
  assert.equal(run.drops(), { 'ip-checksum': 1, 'ip-source': 1, 'igmp-fragment': 1, 'igmp-type-unknown': 1 })
  run.close()
})

/** Each fault of the parser, and what it makes of a message that a right datapath treats otherwise. */
const PARSER_FAULTS: [fault: string, messages: IgmpFields[], wrong: string[]][] = [
  ['checksum-not-verified', [{ type: IGMP_TYPE.V2_MEMBERSHIP_REPORT, group: G, checksumXor: 1 }], ['exclude{}']],
  [
    'v2-report-length-unchecked',
    [{ type: 0x16, group: G, trailing: 'aabbccdd', checksumLengthBytes: 8 }],
    ['exclude{}'],
  ],
  ['unknown-type-joins', [report(record(7))], ['exclude{}']],
  ['truncated-record-read', [report({ ...record(CHANGE_TO_EXCLUDE_MODE), numberOfSources: 5 })], ['exclude{}']],
  ['partial-report-applied', [{ ...report(record(CHANGE_TO_EXCLUDE_MODE)), numberOfGroupRecords: 2 }], ['exclude{}']],
  ['ssm-allow-ignored', [report(record(ALLOW_NEW_SOURCES, [S1]))], []],
  ['source-list-ignored', [report(record(ALLOW_NEW_SOURCES, [S1]))], ['exclude{}']],
  ['exclude-treated-as-any', [report(record(CHANGE_TO_EXCLUDE_MODE, [S1]))], ['exclude{}']],
  ['more-than-24-records-refused', [report(...Array.from({ length: 25 }, () => record(CHANGE_TO_EXCLUDE_MODE)))], []],
  ['trailing-octets-rejected', [{ ...report(record(CHANGE_TO_EXCLUDE_MODE)), trailing: '00000000' }], []],
  ['v3-to-in-ignored', [report(record(4)), report(record(3))], ['exclude{}']],
  ['block-ignored', [report(record(5, [S1, S2])), report(record(6, [S1]))], ['include{192.0.2.1,192.0.2.2}']],
  ['v1-report-ignored', [{ type: IGMP_TYPE.V1_MEMBERSHIP_REPORT, group: G }], []],
  ['v2-report-ignored', [{ type: 0x16, group: G }], []],
  ['reserved-bits-rejected', [{ ...report(record(CHANGE_TO_EXCLUDE_MODE)), reserved1: 1 }], []],
  [
    'only-first-record',
    [report(record(ALLOW_NEW_SOURCES, [S1]), record(ALLOW_NEW_SOURCES, [S2]))],
    ['include{192.0.2.1}'],
  ],
  [
    'mode-change-ignored',
    [report(record(ALLOW_NEW_SOURCES, [S1])), report(record(CHANGE_TO_EXCLUDE_MODE, [S2]))],
    ['include{192.0.2.1}'],
  ],
  ['current-state-ignored', [report(record(MODE_IS_INCLUDE, [S1]))], []],
  [
    'v2-leave-ignored',
    [
      { type: 0x16, group: G },
      { type: 0x17, group: G },
    ],
    ['exclude{}'],
  ],
]

for (const [fault, messages, wrong] of PARSER_FAULTS)
  test(`${fault} shows`, () => {
    const right = after(messages).members
    const faulty = after(messages, {}, [fault]).members
    assert.equal(
      faulty,
      wrong.map(state => `233.252.0.1 ${state}`),
    )
    assert.not.equal(right, faulty)
  })

test('last-host-wins shows', () => {
  const run = new GoldenRun({ faults: ['last-host-wins'] })
  run.igmp(report(record(CHANGE_TO_EXCLUDE_MODE)), { src: parseIpv4('192.0.2.11') })
  run.igmp(report(record(CHANGE_TO_INCLUDE_MODE, [S1])), { src: parseIpv4('192.0.2.12') })
  assert.equal(run.members(), ['233.252.0.1 include{192.0.2.1} of 0.0.0.0'])
  run.close()
})

test('only-64-sources shows', () => {
  const list = Array.from({ length: 65 }, (_, i) => parseIpv4('10.0.0.1') + i)
  const listed = (faults: string[]) => after([report(record(ALLOW_NEW_SOURCES, list))], {}, faults).members.join()
  assert.match(listed([]), '10.0.0.65')
  assert.not.match(listed(['only-64-sources']), '10.0.0.65')
})

test('router-alert-required and igmp-ttl-checked show', () => {
  const members = (ipv4: { ttl?: number; options?: string }, faults: string[]) => {
    const run = new GoldenRun({ faults })
    run.igmp(report(record(CHANGE_TO_EXCLUDE_MODE)), ipv4)
    const count = run.members().length
    run.close()
    return count
  }
  assert.is(members({ options: '' }, []), 1)
  assert.is(members({ options: '' }, ['router-alert-required']), 0)
  assert.is(members({}, ['router-alert-required']), 1)
  assert.is(members({ ttl: 2 }, []), 1)
  assert.is(members({ ttl: 2 }, ['igmp-ttl-checked']), 0)
  assert.is(members({}, ['igmp-ttl-checked']), 1)
})

test('source-zero-rejected shows', () => {
  const message = [report(record(CHANGE_TO_EXCLUDE_MODE))]
  assert.is(after(message, { src: 0 }).members.length, 1)
  assert.is(after(message, { src: 0 }, ['source-zero-rejected']).members.length, 0)
})

test.run()
