import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { checksum16, sum16, updateChecksum16 } from './checksum.ts'
import { writeU16 } from './field.ts'

const test = suite('checksum')

// RFC 1071 §3: 0001 f203 f4f5 f6f7 sums to ddf2.
test('the example of the RFC', () => {
  const bytes = Uint8Array.from([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])
  assert.is(sum16(bytes, 0, 8), 0xddf2)
  assert.is(checksum16(bytes, 0, 8), 0x220d)
  assert.is(sum16(bytes, 0, 7), 0xddf2 - 0xf7)
})

test('agrees with big integers on any bytes, also long ones of 0xff', () => {
  const byBigInt = (bytes: Uint8Array): number => {
    let sum = 0n
    for (let i = 0; i < bytes.length; i += 2) sum += BigInt(((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0))
    return sum === 0n ? 0 : Number(((sum - 1n) % 0xffffn) + 1n)
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), bytes => sum16(bytes, 0, bytes.length) === byBigInt(bytes)))
  for (const length of [65_535, 200_001]) {
    const full = new Uint8Array(length).fill(0xff)
    assert.is(sum16(full, 0, length), byBigInt(full))
  }
})

// RFC 1624 §4: the case that equation 2 gets wrong, HC = dd2f, m = 5555, m' = 3285.
test('the example of RFC 1624', () => {
  assert.is(updateChecksum16(0xdd2f, 0x5555, 0x3285), 0x0000)
})

test('an update equals a sum over everything', () => {
  const header = fc.uint8Array({ minLength: 20, maxLength: 20 }).filter(bytes => bytes.some(byte => byte > 0))
  fc.assert(
    fc.property(header, fc.nat(0xffff), (bytes, word) => {
      bytes[0] = 0x45
      const old = ((bytes[4] ?? 0) << 8) | (bytes[5] ?? 0)
      const before = checksum16(bytes, 0, 20)
      writeU16(bytes, 4, word)
      assert.is(updateChecksum16(before, old, word), checksum16(bytes, 0, 20))
    }),
  )
})

test.run()
