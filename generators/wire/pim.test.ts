import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { formatIpv4, parseIpv4 } from './address.ts'
import { PIM_TYPE, type PimMessage, readPim } from './pim.ts'

const test = suite('pim')

function read(hex: string): PimMessage {
  const bytes = Buffer.from(hex, 'hex')
  const message = readPim(bytes, 0, bytes.length)
  assert.ok(message)
  return message
}

test('a Hello as FRR 8.4.4 sends it', () => {
  const hello = read('20000e820001000200140002000401f409c40013000400000001001400047c2b494d')
  assert.is(hello.type, PIM_TYPE.HELLO)
  assert.is(hello.version, 2)
  assert.is(hello.holdtimeS, 20)
  assert.ok(hello.checksumOk)
})

test('a Join of (*,G) as FRR sends it: RP, wildcard and RPT bits', () => {
  const join = read('2300d42401000a000202000100d201000020efc3fffe000100000100072001010101')
  assert.is(formatIpv4(join.upstream ?? 0), '10.0.2.2')
  assert.is(join.holdtimeS, 210)
  assert.equal(join.groups, [
    {
      group: parseIpv4('239.195.255.254'),
      maskLength: 32,
      joins: [{ address: parseIpv4('1.1.1.1'), wildcard: true, rpt: true }],
      prunes: [],
    },
  ])
  assert.ok(join.checksumOk)
})

test('a Register: its checksum covers eight octets, the packet inside says source and group', () => {
  const register = read(
    '2100deff000000004500002e0000400040118853c0a80201efc3fffec000176f001a75deca5778c16500001a000000000199de327800',
  )
  assert.ok(register.checksumOk)
  assert.is(register.nullRegister, false)
  assert.is(formatIpv4(register.source ?? 0), '192.168.2.1')
  assert.is(formatIpv4(register.group ?? 0), '239.195.255.254')
})

test('a Register-Stop', () => {
  const stop = read('2200297301000020efc3fffe0100c0a80201')
  assert.is(formatIpv4(stop.source ?? 0), '192.168.2.1')
  assert.is(formatIpv4(stop.group ?? 0), '239.195.255.254')
  assert.ok(stop.checksumOk)
})

// RFC 5059 section 4.1, typed from the figure: one group range, one RP.
test('a Bootstrap message with one RP', () => {
  const bootstrap = read('24000000123c1e0001000a0a0a0a01000004e0000000010100000100010101010096' + '0000')
  assert.is(bootstrap.hashMaskLength, 30)
  assert.is(formatIpv4(bootstrap.bsr ?? 0), '10.10.10.10')
  assert.equal(bootstrap.rps, [
    { group: parseIpv4('224.0.0.0'), maskLength: 4, address: parseIpv4('1.1.1.1'), holdtimeS: 150 },
  ])
  assert.is(bootstrap.checksumOk, false)
})

test('lengths that lie are told with their place, and what was read before stays', () => {
  const join = read('2300d42401000a000202000200d201000020efc3fffe000100000100072001010101')
  assert.is(join.groups?.length, 1)
  assert.is(join.malformed?.at, 34)
  assert.is(read('20000e8200010002').malformed?.why, 'a Hello option longer than the message')
  assert.is(readPim(Buffer.from('2000', 'hex'), 0, 2), undefined)
})

test('no bytes make it throw or go on for ever', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 15 }), (bytes, type) => {
      if (bytes.length > 0) bytes[0] = 0x20 | type
      readPim(bytes, 0, bytes.length)
    }),
    { numRuns: 5000 },
  )
})

test.run()
