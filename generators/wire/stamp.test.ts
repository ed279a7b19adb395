import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { hexOf } from '../hex.ts'
import { sum16 } from './checksum.ts'
import { isStamp, patchStamp, readStamp, stamp, stampBase, writeStamp } from './stamp.ts'

const test = suite('stamp')

const fields = fc.record(
  {
    run: fc.nat(0xffffff),
    stream: fc.nat(0xffffff),
    sequence: fc.nat(0xffff_ffff),
    timeUs: fc.nat(0xffff_ffff),
  },
  { noNullPrototype: true },
)

test('18 bytes as written down', () => {
  const bytes = new Uint8Array(18)
  writeStamp(bytes, 0, { run: 0x010203, stream: 0x040506, sequence: 0x0708090a, timeUs: 0x0b0c0d0e })
  assert.is(hexOf(bytes), 'ca57' + '010203' + '040506' + '0708090a' + '0b0c0d0e' + '0470')
})

test('reads back, sums to 0xffff, leaves its neighbours alone', () => {
  fc.assert(
    fc.property(fields, want => {
      const bytes = new Uint8Array(24).fill(0xa5)
      writeStamp(bytes, 2, want)
      assert.equal(readStamp(bytes, 2, 24), want)
      assert.is(sum16(bytes, 2, 20), 0xffff)
      assert.is(hexOf(bytes.subarray(0, 2)) + hexOf(bytes.subarray(20)), 'a5a5a5a5a5a5')
    }),
  )
})

test('a patch is the whole stamp, and changes no checksum around it', () => {
  fc.assert(
    fc.property(
      fields,
      fc.nat(0xffff_ffff),
      fc.nat(0xffff_ffff),
      fc.uint8Array({ minLength: 30, maxLength: 40 }),
      (first, sequence, timeUs, around) => {
        writeStamp(around, 4, first)
        const before = sum16(around, 0, around.length)
        patchStamp(around, 4, stampBase(first.run, first.stream), sequence, timeUs)
        assert.equal(readStamp(around, 4, around.length), { ...first, sequence, timeUs })
        assert.is(sum16(around, 0, around.length), before)
      },
    ),
  )
})

test('one flipped bit, one missing byte: no stamp', () => {
  const bytes = new Uint8Array(18)
  writeStamp(bytes, 0, { run: 1, stream: 2, sequence: 3, timeUs: 4 })
  for (let bit = 0; bit < stamp.length * 8; bit++) {
    const flipped = bytes.slice()
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    assert.not(isStamp(flipped, 0, 18), `bit ${bit}`)
  }
  assert.not(isStamp(bytes, 0, 17))
  assert.not(isStamp(bytes.subarray(0, 17), 0, 18))
  assert.not(isStamp(bytes, 1, 18))
})

test.run()
