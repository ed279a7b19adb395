import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { buildFrame, fragment, macOf, matchFrame } from './frame.ts'
import type { FrameSpec, IgmpFields } from './frame-spec.ts'
import { hexOf } from './hex.ts'
import { IgmpHosts } from './igmp-host.ts'
import { parseIpv4, parseMac } from './wire/address.ts'
import { ipv4, ipv4ChecksumOk } from './wire/ipv4.ts'
import { udpChecksumState } from './wire/udp.ts'

const test = suite('frames')

const G = parseIpv4('233.252.0.1')
const fields = (spec: FrameSpec, bytes: Uint8Array) => matchFrame(spec, bytes).map(({ field }) => field)

test('left out = right value', () => {
  const frame = buildFrame({ ipv4: { dst: G }, udp: { dstPort: 9 }, payload: '01' })
  const want: FrameSpec = {
    ethernet: { dst: parseMac('01:00:5e:7c:00:01'), src: macOf(parseIpv4('192.0.2.1')), etherType: 0x0800 },
    ipv4: { version: 4, ihl: 5, tos: 0, totalLength: 29, flags: 2, fragmentOffset: 0, ttl: 64, protocol: 17, dst: G },
    udp: { dstPort: 9, length: 9 },
    payload: '01',
  }
  assert.equal(matchFrame(want, frame), [])
  assert.is(frame.length, 60)
  assert.ok(ipv4ChecksumOk(frame, 14))
  assert.is(udpChecksumState(frame, 14, 34, 43), 'right')
})

test('given = sent as given, however wrong', () => {
  const wrong: FrameSpec = {
    ethernet: { dst: 1, src: 2, etherType: 0x0806 },
    ipv4: { version: 6, ihl: 15, tos: 3, totalLength: 1, flags: 7, fragmentOffset: 99, ttl: 0, checksum: 5, dst: G },
    udp: { length: 3, checksum: 4 },
  }
  const frame = buildFrame(wrong)
  assert.is(
    hexOf(frame.subarray(0, 42)),
    '000000000001000000000002' +
      '0806' +
      '6f030001' +
      '0000e063' +
      '00110005' +
      'c0000201e9fc0001' +
      'c0001389' +
      '00030004',
  )
})

test("a sender's defaults lie under the frame", () => {
  const defaults: FrameSpec = { ethernet: { src: 7 }, ipv4: { src: parseIpv4('10.0.0.7'), ttl: 3 } }
  const frame = buildFrame({ ipv4: { dst: G, ttl: 9 }, udp: {} }, defaults)
  assert.equal(matchFrame({ ethernet: { src: 7 }, ipv4: { src: parseIpv4('10.0.0.7'), ttl: 9 } }, frame), [])
})

// RFC 3376 §4.1.12, §4.2.14; RFC 2236 §9.
const DESTINATIONS: [name: string, igmp: IgmpFields, dst: string][] = [
  ['v1 report', { type: 0x12, group: G }, '233.252.0.1'],
  ['v2 report', { type: 0x16, group: G }, '233.252.0.1'],
  ['v2 leave', { type: 0x17, group: G }, '224.0.0.2'],
  ['v3 report', { records: [] }, '224.0.0.22'],
  ['general query', { type: 0x11 }, '224.0.0.1'],
  ['group query', { type: 0x11, group: G }, '233.252.0.1'],
]

for (const [name, igmp, dst] of DESTINATIONS) {
  test(`a ${name} goes to ${dst} with TTL 1, TOS c0 and Router Alert`, () => {
    const ip = { dst: parseIpv4(dst), ttl: 1, tos: 0xc0, ihl: 6, options: '94040000' }
    assert.equal(matchFrame({ ipv4: ip }, buildFrame({ igmp })), [])
  })
}

test('VLAN tags, one and two; tags nobody asked for are passed over', () => {
  const frame = buildFrame({ vlan: [{ vid: 100, pcp: 5 }, { vid: 7 }], ipv4: { dst: G }, udp: {}, payload: '01' })
  assert.is(hexOf(frame.subarray(12, 22)), '8100' + 'a064' + '8100' + '0007' + '0800')
  assert.equal(matchFrame({ vlan: [{ vid: 100 }], ipv4: { dst: G }, udp: {}, payload: '01' }, frame), [])
  assert.equal(fields({ vlan: [{ vid: 100 }, { vid: 8 }] }, frame), ['vlan.vid'])
  assert.equal(fields({ vlan: [{}, {}, {}] }, frame), ['vlan[2]'])
})

test('ARP', () => {
  const frame = buildFrame({ arp: { senderIp: parseIpv4('192.0.2.7'), targetIp: parseIpv4('192.0.2.9') } })
  const request =
    'ffffffffffff' + '0200c0000207' + '0806' + '0001080006040001' + '0200c0000207c0000207' + '000000000000c0000209'
  assert.is(hexOf(frame.subarray(0, 42)), request)
})

test("a tunnel's outer checksum is right or wrong where that is asked for", () => {
  const inner = { ipv4: { dst: 0xe9fc0001 }, udp: { dstPort: 5001 }, payload: 'cafe' }
  const tunnel = (checksumXor: number) =>
    buildFrame({ ipv4: { dst: 0x0ae00005 }, udp: { dstPort: 8472, checksumXor }, vxlan: { vni: 2 }, inner })
  assert.is(udpChecksumState(tunnel(0), 14, 34, tunnel(0).length), 'right')
  assert.is(udpChecksumState(tunnel(1), 14, 34, tunnel(1).length), 'wrong')
})

test('VXLAN with a frame inside: outer checksum 0, inner not padded, differences named by level', () => {
  const spec: FrameSpec = {
    ipv4: { dst: parseIpv4('192.0.2.9') },
    vxlan: { vni: 42 },
    inner: { ipv4: { dst: G }, udp: {}, payload: '01' },
  }
  const frame = buildFrame(spec)
  assert.is(frame.length, 50 + 43)
  assert.equal(matchFrame({ ...spec, udp: { dstPort: 4789, checksum: 0 } }, frame), [])
  assert.equal(fields({ vxlan: { vni: 43 } }, frame), ['vxlan.vni'])
  assert.equal(matchFrame({ inner: { ipv4: { ttl: 63 } } }, frame), [
    { field: 'inner.ipv4.ttl', at: 50 + 22, expected: 63, actual: 64 },
  ])
})

test('a difference says where, what was wanted and what is there', () => {
  const frame = buildFrame({ ipv4: { dst: G }, udp: {}, payload: '010203' })
  assert.equal(matchFrame({ igmp: {} }, frame), [{ field: 'ipv4.protocol', at: 23, expected: 2, actual: 17 }])
  assert.equal(matchFrame({ arp: {} }, frame), [
    { field: 'ethernet.etherType', at: 12, expected: 0x0806, actual: 0x0800 },
  ])
  assert.equal(matchFrame({ udp: {}, payload: '010304' }, frame), [
    { field: 'payload', at: 43, expected: '010304', actual: '010203' },
  ])
})

test('ESP: header and whatever is behind it, found again, and told from what it is not', () => {
  const frame = buildFrame({ ipv4: { src: 1, dst: 2 }, esp: { spi: 3, sequence: 0xffff_ffff }, payload: 'a0a1' })
  assert.is(Buffer.from(frame.subarray(34, 44)).toString('hex'), '00000003ffffffffa0a1')
  assert.equal(matchFrame({ esp: { spi: 3 }, payload: 'a0a1' }, frame), [])
  assert.equal(matchFrame({ esp: { spi: 4 } }, frame), [{ field: 'esp.spi', at: 34, expected: 4, actual: 3 }])
  assert.equal(matchFrame({ udp: {} }, frame), [{ field: 'ipv4.protocol', at: 23, expected: 17, actual: 50 }])
  const left = buildFrame({ ipv4: { dst: 2 }, esp: {} })
  assert.is(Buffer.from(left.subarray(34, 42)).toString('hex'), '0000010000000001')
  assert.equal(matchFrame({ esp: {} }, frame.subarray(0, 38)), [
    { field: 'esp', at: 34, expected: 'present', actual: 'only 4 bytes left' },
  ])
  assert.throws(() => buildFrame({ ipv4: { dst: 2 }, esp: {}, udp: {} }), /one of esp, udp or vxlan, not several/)
})

test('layers that exclude each other, bad hex, a missing destination', () => {
  assert.throws(() => buildFrame({ arp: {}, igmp: {} }), /one of arp, igmp, not several/)
  assert.throws(() => buildFrame({ ipv4: { dst: G }, udp: {}, payload: '0' }), /payload: not pairs of hex digits/)
  assert.throws(() => buildFrame({ udp: {} }), /ipv4.dst is missing/)
})

test('fragments: sizes, offsets, flags; the copied option goes along, the other does not', () => {
  // Record Route (7, not copied) and Router Alert (148, copied).
  const options = '07070400000000' + '94040000' + '00'
  const frame = buildFrame({ ipv4: { dst: G, id: 77, options }, udp: {}, payload: 'ab'.repeat(100) })
  const parts = fragment(frame, 80)
  const shape = parts.map(part => {
    const { ihl, totalLength, flags, fragmentOffset, id } = ipv4.fields
    return [ihl, totalLength, flags, fragmentOffset, id].map(field => field.get(part, 14))
  })
  assert.equal(shape, [
    [8, 80, 1, 0, 77],
    [6, 80, 1, 6, 77],
    [6, 28, 0, 13, 77],
  ])
  assert.ok(parts.every(part => ipv4ChecksumOk(part, 14) && part.length >= 60))
  const together = parts.map(part =>
    hexOf(part.subarray(14 + 4 * ipv4.fields.ihl.get(part, 14), 14 + ipv4.fields.totalLength.get(part, 14))),
  )
  assert.is(together.join(''), hexOf(frame.subarray(14 + 32)))
  assert.throws(() => fragment(frame, 39), /no fragment fits 39 bytes/)
})

const igmpBytes = fc.uint8Array({ maxLength: 80 })
const specs: FrameSpec[] = [
  { ipv4: { dst: G, options: '' }, udp: { dstPort: 1 }, payload: '00' },
  { vlan: [{ vid: 1 }], arp: { operation: 1 } },
  { igmp: { records: [{ recordType: 4, multicastAddress: G, sources: [1], auxData: '00000000' }], trailing: '00' } },
  { igmp: { qrv: 1, sources: [1], checksumXor: 0 } },
  { vxlan: { vni: 1 }, inner: { vxlan: { vni: 2 }, inner: { igmp: { records: [], checksumLengthBytes: 8 } } } },
]

test('matching never throws and always ends: random bytes, mutated and truncated frames', () => {
  const frames = [
    buildFrame({ ipv4: { dst: G }, udp: {}, payload: '0102' }),
    buildFrame({ igmp: { records: [{ recordType: 4, multicastAddress: G, sources: [1, 2], auxData: 'deadbeef' }] } }),
    buildFrame({ igmp: { group: G, sources: [1, 2, 3] } }),
    buildFrame({
      ipv4: { dst: 1 },
      vxlan: {},
      inner: { vlan: [{}], ipv4: { dst: 2 }, vxlan: {}, inner: { igmp: { records: [] } } },
    }),
  ]
  const mutated = fc
    .tuple(fc.constantFrom(...frames), fc.array(fc.tuple(fc.nat(150), fc.nat(255)), { maxLength: 6 }), fc.nat(150))
    .map(([frame, changes, cut]) => {
      const copy = frame.slice(0, Math.max(0, frame.length - (cut % 3 === 0 ? cut : 0)))
      for (const [at, value] of changes) if (at < copy.length) copy[at] = value
      return copy
    })
  const hosts = new IgmpHosts({ send() {}, onError() {} })
  hosts.add({ address: 5 })
  hosts.join(5, G)
  fc.assert(
    fc.property(fc.oneof(igmpBytes, mutated), fc.constantFrom(...specs), fc.nat(20), (bytes, spec, at) => {
      matchFrame(spec, bytes, at)
      matchFrame(spec, bytes)
      hosts.receive(bytes)
    }),
    { numRuns: 30_000 },
  )
  hosts.close()
})

test.run()
