import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { arp } from './arp.ts'
import { esp, espTrailer } from './esp.ts'
import { ethernet, vlan } from './ethernet.ts'
import { type Fields, type Header, mismatch, mismatches, readFields, writeFields } from './field.ts'
import {
  fieldSpecifier,
  flowSet,
  ipfixOptionsTemplateRecord,
  optionsTemplateRecord,
  templateRecord,
} from './flow-sets.ts'
import { groupRecord, igmp, igmpQuery, igmpReport } from './igmp.ts'
import { ipfix } from './ipfix.ts'
import { ipv4 } from './ipv4.ts'
import { netflow5 } from './netflow5.ts'
import { netflow9 } from './netflow9.ts'
import { stamp } from './stamp.ts'
import { udp } from './udp.ts'
import { vxlan } from './vxlan.ts'

const test = suite('header tables')

const HEADERS: Header<Fields>[] = [
  ethernet,
  vlan,
  arp,
  ipv4,
  udp,
  igmp,
  igmpQuery,
  igmpReport,
  groupRecord,
  vxlan,
  esp,
  espTrailer,
  stamp,
  netflow5,
  netflow9,
  ipfix,
  flowSet,
  templateRecord,
  optionsTemplateRecord,
  ipfixOptionsTemplateRecord,
  fieldSpecifier,
]

const AT = 7
const fresh = (header: Header<Fields>) => new Uint8Array(header.length + 2 * AT).fill(0xa5)

for (const header of HEADERS) {
  test(`${header.name}: the fields tile the header exactly`, () => {
    const bits = Object.values(header.fields).reduce((sum, field) => sum + field.bits, 0)
    assert.is(bits, header.length * 8)
  })

  for (const [name, field] of Object.entries(header.fields)) {
    test(`${header.name}.${name} round-trips and leaves its neighbours alone`, () => {
      const top = 2 ** field.bits
      const value = field.bits > 32 ? fc.maxSafeNat().map(n => n % top) : fc.integer({ min: 0, max: top - 1 })
      fc.assert(
        fc.property(value, wanted => {
          const frame = fresh(header)
          const before = readFields(header, frame, AT)
          field.set(frame, AT, wanted)
          assert.is(field.get(frame, AT), wanted)
          assert.equal(readFields(header, frame, AT), { ...before, [name]: wanted })
          field.set(frame, AT, before[name] ?? 0)
          assert.equal(frame, fresh(header))
        }),
        { examples: [[0], [top - 1]] },
      )
    })
  }

  test(`${header.name}: written fields are the only change, a difference has its name and place`, () => {
    for (const [name, field] of Object.entries(header.fields)) {
      const frame = fresh(header)
      const actual = field.get(frame, AT)
      const expected = actual % 2 === 0 ? actual + 1 : actual - 1
      const want = { ...readFields(header, frame, AT), [name]: expected }
      const difference = { field: `${header.name}.${name}`, at: AT + field.offset, expected, actual }
      assert.equal(mismatch(header, frame, AT, want), difference)
      assert.is(mismatches(header, frame, AT, want).length, 1)
      writeFields(header, frame, AT, { [name]: want[name] })
      assert.is(mismatch(header, frame, AT, want), undefined)
    }
  })
}

test('a field past the end is missing, and reading it gives 0', () => {
  const frame = new Uint8Array(5).fill(0xff)
  assert.is(vxlan.fields.vni.get(frame, 8), 0)
  assert.equal(mismatch(vxlan, frame, 0, { vni: 42 }), { field: 'vxlan.vni', at: 4, expected: 42, actual: 'missing' })
})

test('offsets as the figures draw them', () => {
  const frame = Uint8Array.from({ length: 64 }, (_, i) => i + 1)
  assert.equal(readFields(vxlan, frame, 0), { flags: 1, reserved1: 0x020304, vni: 0x050607, reserved2: 8 })
  assert.equal(readFields(udp, frame, 0), { srcPort: 0x0102, dstPort: 0x0304, length: 0x0506, checksum: 0x0708 })
  assert.equal(readFields(ethernet, frame, 0), { dst: 0x010203040506, src: 0x0708090a0b0c, etherType: 0x0d0e })
  const { flags, fragmentOffset, ttl, protocol, dst } = readFields(ipv4, frame, 0)
  assert.equal([flags, fragmentOffset, ttl, protocol, dst], [0, 0x0708, 9, 10, 0x11121314])
  const { targetIp, targetMac } = readFields(arp, frame, 0)
  assert.equal([targetMac, targetIp], [0x131415161718, 0x191a1b1c])
  assert.equal(readFields(esp, frame, 0), { spi: 0x01020304, sequence: 0x05060708 })
  assert.equal(readFields(espTrailer, frame, 0), { padLength: 1, nextHeader: 2 })
})

test.run()
