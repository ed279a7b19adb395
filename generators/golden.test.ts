import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { buildFrame, matchFrame } from './frame.ts'
import type { FrameSpec, IgmpFields } from './frame-spec.ts'
import { hexBytes, hexOf } from './hex.ts'
import { buildIgmp, matchIgmp } from './igmp-message.ts'
import { parseIpv4 } from './wire/address.ts'
import { IGMP_TYPE, RECORD_TYPE } from './wire/igmp.ts'

const test = suite('golden IGMP vectors')

const G = parseIpv4('233.252.0.1')
const S1 = parseIpv4('192.0.2.1')
const S2 = parseIpv4('192.0.2.2')
const QUERY = IGMP_TYPE.MEMBERSHIP_QUERY
const record = (recordType: number, sources: number[] = []) => ({ recordType, multicastAddress: G, sources })
const TO_EX = record(RECORD_TYPE.CHANGE_TO_EXCLUDE_MODE)

/** The vectors of facts e.4, computed by other code than ours. */
export const GOLDEN_IGMP: [name: string, hex: string, fields: IgmpFields][] = [
  ['V1 report', '12000402e9fc0001', { type: IGMP_TYPE.V1_MEMBERSHIP_REPORT, group: G }],
  ['V2 report', '16000002e9fc0001', { type: IGMP_TYPE.V2_MEMBERSHIP_REPORT, group: G }],
  ['V2 leave', '1700ff01e9fc0001', { type: IGMP_TYPE.V2_LEAVE_GROUP, group: G }],
  ['V1 general query', '1100eeff00000000', { type: QUERY, maxRespCode: 0 }],
  ['V2 general query', '1164ee9b00000000', { type: QUERY, maxRespCode: 100 }],
  ['V2 group query', '110a04f8e9fc0001', { type: QUERY, maxRespCode: 10, group: G }],
  ['V3 general query', '1164ec1e00000000027d0000', { type: QUERY, qrv: 2, qqic: 125 }],
  ['V3 group query S=0', '110a027be9fc0001027d0000', { group: G, sFlag: 0 }],
  ['V3 group query S=1', '110afa7ae9fc00010a7d0000', { group: G, sFlag: 1 }],
  ['V3 G&S query', '110a7e74e9fc0001027d0002c0000201c0000202', { group: G, sources: [S1, S2] }],
  ['V3 report TO_EX{}', '2200f0000000000104000000e9fc0001', { records: [TO_EX] }],
  ['V3 report TO_IN{}', '2200f1000000000103000000e9fc0001', { records: [record(RECORD_TYPE.CHANGE_TO_INCLUDE_MODE)] }],
  [
    'V3 report ALLOW{.1}',
    '22002cfe0000000105000001e9fc0001c0000201',
    { records: [record(RECORD_TYPE.ALLOW_NEW_SOURCES, [S1])] },
  ],
  [
    'V3 report BLOCK{.1}',
    '22002bfe0000000106000001e9fc0001c0000201',
    { records: [record(RECORD_TYPE.BLOCK_OLD_SOURCES, [S1])] },
  ],
  [
    'V3 report ALLOW{.1}+BLOCK{.2}',
    '22007afb0000000205000001e9fc0001c000020106000001e9fc0001c0000202',
    { records: [record(RECORD_TYPE.ALLOW_NEW_SOURCES, [S1]), record(RECORD_TYPE.BLOCK_OLD_SOURCES, [S2])] },
  ],
  [
    'V3 report unknown record 7 + TO_EX{}',
    '2200fef90000000207000000e9fc000904000000e9fc0001',
    { records: [{ recordType: 7, multicastAddress: G + 8 }, TO_EX] },
  ],
  [
    'V3 report IS_EX{} with aux data',
    '220054620000000102010000e9fc0001deadbeef',
    { records: [{ ...record(RECORD_TYPE.MODE_IS_EXCLUDE), auxData: 'deadbeef' }] },
  ],
  ['NEG bad checksum', '16000003e9fc0001', { type: IGMP_TYPE.V2_MEMBERSHIP_REPORT, group: G, checksumXor: 1 }],
  ['NEG? 4 trailing octets', '16008868e9fc0001aabbccdd', { group: G, trailing: 'aabbccdd' }],
  [
    'NEG 4 trailing, checksum over 8',
    '16000002e9fc0001aabbccdd',
    { group: G, trailing: 'aabbccdd', checksumLengthBytes: 8 },
  ],
  ['NEG query of 10 octets', '110a04f8e9fc00010000', { type: QUERY, group: G, trailing: '0000' }],
  ['NEG NumRecords=2, one present', '2200efff0000000204000000e9fc0001', { numberOfGroupRecords: 2, records: [TO_EX] }],
  [
    'NEG NumSources=5, none present',
    '2200effb0000000104000005e9fc0001',
    { records: [{ recordType: RECORD_TYPE.CHANGE_TO_EXCLUDE_MODE, numberOfSources: 5, multicastAddress: G }] },
  ],
]

test('there are 23', () => {
  assert.is(GOLDEN_IGMP.length, 23)
})

for (const [name, hex, fields] of GOLDEN_IGMP) {
  test(`${name} is built byte for byte`, () => assert.is(hexOf(buildIgmp(fields)), hex))
  if (name.startsWith('NEG NumSources')) continue
  test(`${name} matches what built it`, () => {
    const bytes = hexBytes(hex, name)
    assert.equal(matchIgmp(fields, bytes, 0, bytes.length), [])
  })
}

test('the lying NumSources record shows as cut short', () => {
  const bytes = hexBytes('2200effb0000000104000005e9fc0001', 'report')
  const [difference] = matchIgmp({ records: [{ recordType: 4, multicastAddress: G }] }, bytes, 0, bytes.length)
  assert.is(difference?.actual, 'Group Record 1 of 1 is cut short')
})

test('one flipped bit anywhere is a difference', () => {
  for (const [name, hex, fields] of GOLDEN_IGMP.slice(0, -1)) {
    const bytes = hexBytes(hex, name)
    const want = { checksumXor: 0, ...fields }
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.slice()
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7))
      assert.ok(matchIgmp(want, flipped, 0, flipped.length).length > 0, `${name}, bit ${bit}`)
    }
  }
})

const JOIN_PACKET = '46c0002800004000010241efc000020ae0000016940400002200f0000000000104000000e9fc0001'

test('the whole IPv4 packet of the v3 join', () => {
  const spec: FrameSpec = { ipv4: { src: parseIpv4('192.0.2.10') }, igmp: { records: [TO_EX] } }
  const frame = buildFrame(spec)
  assert.is(hexOf(frame.subarray(0, 14)), '01005e00001602' + '00c000020a0800')
  assert.is(hexOf(frame.subarray(14, 54)), JOIN_PACKET)
  assert.is(hexOf(frame.subarray(54)), '000000000000')
  assert.equal(matchFrame({ ...spec, ethernet: { dst: 0x01005e000016 } }, frame), [])
})

test.run()
