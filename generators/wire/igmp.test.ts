import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { groupRecord, groupRecords, maxRespCodeOf, maxRespTimeDs, qqicOf, queryVersion, recordLength } from './igmp.ts'

const test = suite('igmp')

// RFC 3376 §4.1.1; expected values from facts e.4.
test('Max Resp Codes of the catalogue', () => {
  const times = [0x7f, 0x80, 0x8f, 0x90, 0xff].map(maxRespTimeDs)
  assert.equal(times, [127, 128, 248, 256, 31744])
})

test('all 256 codes there and back', () => {
  for (let code = 0; code < 256; code++) {
    assert.is(maxRespCodeOf(maxRespTimeDs(code)), code)
    if (code > 0) assert.ok(maxRespTimeDs(code) > maxRespTimeDs(code - 1))
  }
})

test('the code of a time is the largest that is not above it', () => {
  for (let ds = 0; ds < 40_000; ds++) {
    const code = maxRespCodeOf(ds)
    assert.ok(maxRespTimeDs(code) <= ds, String(ds))
    assert.ok(code === 255 || maxRespTimeDs(code + 1) > ds, String(ds))
  }
  assert.is(qqicOf(125), 125)
})

// RFC 3376 §7.1: 8 octets with code 0, 8 octets, 12 or more; all else is ignored.
test('version of a query by length', () => {
  const query = (length: number, code: number) => queryVersion(Uint8Array.from([0x11, code]), 0, length)
  assert.equal([query(8, 0), query(8, 1), query(12, 0), query(13, 9)], [1, 2, 3, 3])
  assert.equal([query(7, 1), query(9, 1), query(10, 1), query(11, 1)], [undefined, undefined, undefined, undefined])
})

test('stride counts sources and auxiliary words', () => {
  const report = new Uint8Array(8 + 8 + 8 + 4 + 8)
  report[7] = 2
  groupRecord.fields.auxDataLen.set(report, 8, 1)
  groupRecord.fields.numberOfSources.set(report, 8, 2)
  const walk = groupRecords(report, 0, report.length)
  const seen: number[] = []
  while (walk.next()) seen.push(walk.at)
  assert.equal([seen, walk.malformed], [[8, 28], undefined])
  assert.is(recordLength(report, 8), 20)
})

test('a cut record ends the walk and says where', () => {
  const report = new Uint8Array(24)
  report[7] = 3
  const walk = groupRecords(report, 0, 23)
  assert.ok(walk.next())
  assert.not(walk.next())
  assert.not(walk.next())
  assert.equal(walk.malformed, { at: 16, why: 'Group Record 2 of 3 is not there' })
})

test('a record may end with the message, and not one octet later', () => {
  const report = new Uint8Array(8 + 12)
  report[7] = 1
  report[8 + 3] = 1
  assert.ok(groupRecords(report, 0, 20).next())
  const cut = groupRecords(report, 0, 19)
  assert.not(cut.next())
  assert.equal(cut.malformed, { at: 8, why: 'Group Record 1 of 1 is cut short' })
})

test('any bytes: the walk ends, stays inside, and tells of what is missing', () => {
  const report = fc.uint8Array({ minLength: 0, maxLength: 300 })
  fc.assert(
    fc.property(report, fc.nat(310), fc.nat(40), (bytes, end, at) => {
      if (bytes.length > at + 7) bytes[at + 6] = 0
      const walk = groupRecords(bytes, at, end)
      let last = at + 8
      let count = 0
      while (walk.next()) {
        assert.is(walk.at, last)
        last += recordLength(bytes, walk.at)
        assert.ok(last <= Math.min(end, bytes.length))
        count++
      }
      const said = ((bytes[at + 6] ?? 0) << 8) | (bytes[at + 7] ?? 0)
      const whole = at + 8 <= Math.min(end, bytes.length)
      assert.is(walk.malformed === undefined, whole && count === said)
    }),
    { numRuns: 20_000 },
  )
})

test.run()
