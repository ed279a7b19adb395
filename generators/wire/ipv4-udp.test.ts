import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { buildFrame } from '../frame.ts'
import { hexBytes, hexOf } from '../hex.ts'
import { parseIpv4 } from './address.ts'
import { hasRouterAlert, ipv4ChecksumOk, ipv4HeaderLength, ipv4Options, isFragment } from './ipv4.ts'
import { udp, udpChecksumState } from './udp.ts'

const test = suite('ipv4 and udp')

test('options one by one; No Operation is one octet, End of Options ends', () => {
  const header = hexBytes(`47${'00'.repeat(19)}0194040000000000`, 'header')
  const walk = ipv4Options(header, 0, header.length)
  const seen: [number, number][] = []
  while (walk.next()) seen.push([walk.at, walk.length])
  assert.equal(
    [seen, walk.malformed],
    [
      [
        [20, 1],
        [21, 4],
      ],
      undefined,
    ],
  )
  assert.ok(hasRouterAlert(header, 0, header.length))
})

test('an option longer than the header is malformed', () => {
  const header = hexBytes(`46${'00'.repeat(19)}94050000`, 'header')
  const walk = ipv4Options(header, 0, header.length)
  assert.not(walk.next())
  assert.is(walk.malformed?.at, 20)
})

test('any bytes: the option walk ends and stays inside', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(70), (bytes, end) => {
      const walk = ipv4Options(bytes, 0, end)
      let last = 20
      while (walk.next()) {
        assert.is(walk.at, last)
        last += walk.length
        assert.ok(last <= Math.min(end, bytes.length, ipv4HeaderLength(bytes, 0)))
      }
    }),
    { numRuns: 20_000 },
  )
})

test('fragments are told by MF or offset', () => {
  const at6 = (hex: string) => isFragment(hexBytes(`450000000000${hex}`, 'header'), 0)
  assert.equal([at6('0000'), at6('4000'), at6('2000'), at6('0001'), at6('8000')], [false, false, true, true, false])
})

const IP_AT = 14
const UDP_AT = 34

// The payload is chosen so that the sum is 0xffff and the computed checksum 0 (RFC 768).
test('a computed 0 leaves as 0xffff', () => {
  const spec = { ipv4: { src: 0, dst: parseIpv4('233.252.0.1') }, udp: { srcPort: 0, dstPort: 0 } }
  const zero = buildFrame({ ...spec, payload: '0000' })
  const payload = udp.fields.checksum.get(zero, UDP_AT).toString(16).padStart(4, '0')
  const frame = buildFrame({ ...spec, payload })
  assert.is(udp.fields.checksum.get(frame, UDP_AT), 0xffff)
  assert.is(udpChecksumState(frame, IP_AT, UDP_AT, UDP_AT + 10), 'right')
})

test('right, wrong, absent and partial checksums', () => {
  const state = (checksum?: number) => {
    const frame = buildFrame({
      ipv4: { dst: parseIpv4('233.252.0.1') },
      udp: checksum === undefined ? {} : { checksum },
      payload: '68656c6c6f',
    })
    assert.ok(ipv4ChecksumOk(frame, IP_AT))
    return udpChecksumState(frame, IP_AT, UDP_AT, UDP_AT + 13)
  }
  // c000+0201 + e9fc+0001 + 17 + 13, folded: what Linux leaves to a device.
  const pseudo = 0xc000 + 0x0201 + 0xe9fc + 0x0001 + 17 + 13 - 0xffff
  assert.equal([state(), state(1), state(0), state(pseudo)], ['right', 'wrong', 'absent', 'partial'])
})

// Written by scapy: IP(src='192.0.2.1',dst='233.252.0.1',ttl=64,flags='DF',id=0)/UDP(sport=49152,dport=5001)/b'hello'
test('a datagram as scapy writes it', () => {
  const frame = buildFrame({ ipv4: { dst: parseIpv4('233.252.0.1') }, udp: {}, payload: '68656c6c6f' })
  assert.is(hexOf(frame.subarray(14, 47)), SCAPY_DATAGRAM)
})

const SCAPY_DATAGRAM = '450000210000400040118ecdc0000201e9fc0001c0001389000d3c7968656c6c6f'

test.run()
