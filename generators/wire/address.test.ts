import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { formatIpv4, formatMac, groupMac, isMulticast, parseIpv4, parseMac } from './address.ts'

const test = suite('addresses')

test('text both ways', () => {
  assert.is(parseIpv4('233.252.0.1'), 0xe9fc0001)
  assert.is(formatIpv4(0xe9fc0001), '233.252.0.1')
  assert.is(parseMac('01:00:5E:00:00:16'), 0x01005e000016)
  assert.is(parseMac('01-00-5e-00-00-16'), 0x01005e000016)
  assert.is(formatMac(0x16), '00:00:00:00:00:16')
  fc.assert(fc.property(fc.nat(0xffff_ffff), n => parseIpv4(formatIpv4(n)) === n))
  fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 48 - 1 }), n => parseMac(formatMac(n)) === n))
})

for (const text of [
  '',
  '1.2.3',
  '1.2.3.4.5',
  '256.1.1.1',
  '01.2.3.4',
  '1.2.3.4 ',
  '1.2.3.x',
  '-1.2.3.4',
  '0x1.2.3.4',
]) {
  test(`"${text}" is no IPv4 address`, () => assert.throws(() => parseIpv4(text), /not an IPv4 address/))
}

for (const text of ['', '1:2:3:4:5:6', '01:00:5e:00:00', '01:00-5e:00:00:16', '01005e000016', '0g:00:5e:00:00:16']) {
  test(`"${text}" is no MAC address`, () => assert.throws(() => parseMac(text), /not a MAC address/))
}

// RFC 1112 §6.4: the low 23 bits, so bit 23 of the group does not show.
test('group MAC', () => {
  assert.is(formatMac(groupMac(parseIpv4('224.0.0.22'))), '01:00:5e:00:00:16')
  assert.is(formatMac(groupMac(parseIpv4('239.255.255.255'))), '01:00:5e:7f:ff:ff')
  assert.is(groupMac(parseIpv4('224.1.2.3')), groupMac(parseIpv4('239.129.2.3')))
})

test('224.0.0.0/4 and nothing else', () => {
  const edges = ['223.255.255.255', '224.0.0.0', '239.255.255.255', '240.0.0.0']
  assert.equal(
    edges.map(text => isMulticast(parseIpv4(text))),
    [false, true, true, false],
  )
})

test.run()
