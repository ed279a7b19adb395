import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import type { Malformed } from './field.ts'
import { FLOW_FIELD, FLOW_FIELD_NAMES, flowFieldName, VARIABLE_LENGTH } from './flow-fields.ts'
import {
  type DataRecordWalk,
  dataRecords,
  type FlowDialect,
  flowSets,
  type TemplateWalk,
  templates,
} from './flow-sets.ts'
import { type FlowTemplate, flowTemplate, sameTemplate, templateField } from './flow-template.ts'
import {
  type FlowValue,
  fieldIndex,
  fieldValues,
  formatIpv6,
  numberOf,
  readNumber,
  readUnsigned,
  unsignedOf,
} from './flow-value.ts'
import { parseIpv6, writeFlowSet, writeRecord, writeTemplate, writeUnsigned } from './flow-write.ts'
import { buildIpfix, ipfix } from './ipfix.ts'
import { buildNetflow5, netflow5, netflow5Records } from './netflow5.ts'
import { buildNetflow9, netflow9 } from './netflow9.ts'

const test = suite('flow export')

const octets = (text: string) => Uint8Array.from(Buffer.from(text.replace(/\s/g, ''), 'hex'))
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** Typed from the figures of RFC 3954 §11.2 to §11.5. */
const RFC_TEMPLATE = '0000 001c 0100 0005 0008 0004 000c 0004 000f 0004 0002 0004 0001 0004'
const RFC_DATA = `0100 0040
  c6a8010c 0a050cfe c0a80101 00001391 00518c81
  c0a8011b 0a050c17 c0a80101 000002ec 0005ef46
  c0a80138 0a050c41 c0a80101 00000005 00001986`
const RFC_OPTIONS_TEMPLATE = '0001 0018 0101 0004 0008 0003 0002 0029 0002 002a 0002 0000'
const RFC_OPTIONS_DATA = '0101 0010 0001 0159 27d9 0002 02b2 4fb2'

function only(walk: TemplateWalk): FlowTemplate {
  assert.ok(walk.next(), walk.malformed?.why)
  const { template } = walk
  assert.not(walk.next())
  assert.is(walk.malformed, undefined)
  return template
}

function all(walk: DataRecordWalk) {
  const rows: Record<string, FlowValue>[] = []
  while (walk.next()) rows.push(fieldValues(walk))
  assert.is(walk.malformed, undefined)
  return rows
}

/** What a walk over a whole message finds wrong, with the place; never throws and always ends. */
function troubles(
  bytes: Uint8Array,
  at: number,
  dialect: FlowDialect,
  known = new Map<number, FlowTemplate>(),
): Malformed[] {
  const found: Malformed[] = []
  const [template, options] = dialect === 'ipfix' ? [2, 3] : [0, 1]
  const sets = flowSets(bytes, at, bytes.length)
  while (sets.next()) {
    if (sets.id === template || sets.id === options) {
      const walk = templates(bytes, sets.at, sets.end, dialect, sets.id === template ? 'template' : 'options')
      while (walk.next()) known.set(walk.template.id, walk.template)
      if (walk.malformed) found.push(walk.malformed)
    } else if (known.has(sets.id)) {
      const walk = dataRecords(bytes, sets.at, sets.end, known.get(sets.id) as FlowTemplate, dialect)
      while (walk.next()) fieldValues(walk)
      if (walk.malformed) found.push(walk.malformed)
    }
  }
  return sets.malformed ? [...found, sets.malformed] : found
}

test('the example of RFC 3954 section 11 reads as its tables say', () => {
  const template = octets(RFC_TEMPLATE)
  const flows = only(templates(template, 0, template.length, 'netflow9', 'template'))
  const data = octets(RFC_DATA)
  const rows = all(dataRecords(data, 0, data.length, flows, 'netflow9'))
  const row = (source: string, destination: string, packets: number, bytes: number) => ({
    sourceIPv4Address: source,
    destinationIPv4Address: destination,
    ipNextHopIPv4Address: '192.168.1.1',
    packetDeltaCount: packets,
    octetDeltaCount: bytes,
  })
  assert.equal(rows, [
    row('198.168.1.12', '10.5.12.254', 5009, 5344385),
    row('192.168.1.27', '10.5.12.23', 748, 388934),
    row('192.168.1.56', '10.5.12.65', 5, 6534),
  ])
})

test('the options of RFC 3954 section 11 read as its table says, padding and all', () => {
  const template = octets(RFC_OPTIONS_TEMPLATE)
  const options = only(templates(template, 0, template.length, 'netflow9', 'options'))
  assert.is(options.scopeFieldCount, 1)
  const data = octets(RFC_OPTIONS_DATA)
  assert.equal(all(dataRecords(data, 0, data.length, options, 'netflow9')), [
    { lineCard: 1, exportedMessageTotalCount: 345, exportedFlowRecordTotalCount: 10201 },
    { lineCard: 2, exportedMessageTotalCount: 690, exportedFlowRecordTotalCount: 20402 },
  ])
})

test('the writer writes the octets of RFC 3954 section 11', () => {
  const four = (name: 'packetDeltaCount' | 'octetDeltaCount') => [name, 4] as const
  const flows = flowTemplate(256, [
    ...(['sourceIPv4Address', 'destinationIPv4Address', 'ipNextHopIPv4Address'] as const),
    four('packetDeltaCount'),
    four('octetDeltaCount'),
  ])
  const counts = [templateField(41, 0, 2), templateField(42, 0, 2)]
  const options = flowTemplate(257, [templateField(3, -1, 2), ...counts], 1)
  const card = (lineCard: number, sent: number, flowCount: number) => ({
    lineCard,
    exportedMessageTotalCount: sent,
    exportedFlowRecordTotalCount: flowCount,
  })
  const data = octets(RFC_DATA)
  const records = all(dataRecords(data, 0, data.length, flows, 'netflow9'))
  const message = buildNetflow9({
    sysUpTimeMs: 1,
    unixSeconds: 2,
    sequence: 3,
    sourceId: 4,
    flowSets: [
      { templates: [flows] },
      { data: { template: flows, records } },
      { templates: [options] },
      { data: { template: options, records: [card(1, 345, 10201), card(2, 690, 20402)] } },
    ],
  })
  const header = '0009 0007 00000001 00000002 00000003 00000004'
  assert.is(hex(message), hex(octets(header + RFC_TEMPLATE + RFC_DATA + RFC_OPTIONS_TEMPLATE + RFC_OPTIONS_DATA)))
  assert.equal(troubles(message, netflow9.length, 'netflow9'), [])
})

test('IPFIX: enterprise numbers, options by count, values of variable length, withdrawal (RFC 7011 section 3.4, 7, 8.1)', () => {
  // Template 300: interfaceName variable, enterprise 32473 element 5 of two octets.
  const set = octets('0002 0014 012c 0002 0052 ffff 8005 0002 00007ed9')
  const template = only(templates(set, 0, set.length, 'ipfix', 'template'))
  assert.equal(
    template.fields.map(field => field.name),
    ['interfaceName', '32473/5'],
  )
  const long = '78'.repeat(300)
  const data = octets(`012c 0000 03 677269 0001 00 0002 ff012c ${long} 0003 00`)
  data[2] = data.length >> 8
  data[3] = data.length & 0xff
  const walk = dataRecords(data, 0, data.length, template, 'ipfix')
  const rows = all(walk)
  assert.equal(rows, [
    { interfaceName: 'gri', '32473/5': '0001' },
    { interfaceName: '', '32473/5': '0002' },
    { interfaceName: 'x'.repeat(300), '32473/5': '0003' },
  ])
  assert.is(walk.paddingBytes, 1)
  const options = octets('0003 0014 012d 0002 0001 0095 0004 0029 0008 0000')
  const read = only(templates(options, 0, options.length, 'ipfix', 'options'))
  assert.equal(
    [read.scopeFieldCount, read.fields.map(field => field.name)],
    [1, ['observationDomainId', 'exportedMessageTotalCount']],
  )
  const withdrawal = octets('0002 0008 012c 0000')
  const gone = templates(withdrawal, 0, withdrawal.length, 'ipfix', 'template')
  assert.ok(gone.next())
  assert.equal([gone.isWithdrawal, gone.template.id], [true, 300])
})

test('IPFIX is written as it is read', () => {
  const named = flowTemplate(300, ['interfaceName', templateField(5, 32473, 2), ['octetDeltaCount', 8]])
  const scoped = flowTemplate(301, ['observationDomainId', 'exportedMessageTotalCount'], 1)
  const record = { interfaceName: 'gi1-0', '32473/5': Uint8Array.of(0, 7), octetDeltaCount: 2n ** 64n - 1n }
  const bytes = buildIpfix({
    exportSeconds: 5,
    sequence: 6,
    observationDomainId: 7,
    sets: [
      { templates: [named] },
      { templates: [scoped] },
      { data: { template: named, records: [record] } },
      { withdraw: [300] },
    ],
  })
  assert.is(ipfix.fields.length.get(bytes, 0), bytes.length)
  const ids: number[] = []
  const sets = flowSets(bytes, ipfix.length, bytes.length)
  while (sets.next()) ids.push(sets.id)
  assert.equal(ids, [2, 3, 300, 2])
  const data = writeFlowSet({ data: { template: named, records: [record] } }, 'ipfix')
  assert.equal(all(dataRecords(data, 0, data.length, named, 'ipfix')), [{ ...record, '32473/5': '0007' }])
})

test('version 5 as Cisco draws it', () => {
  const record = octets(`c0a80101 ef000002 00000000 0001 0002 00000fa0 00536f80 00001000 00002000
    d431 138c 00 10 11 b8 0007 0008 18 20 0000`)
  const header = octets('0005 0001 00003000 65000000 00000001 0000002a 01 02 4064')
  const bytes = Uint8Array.from([...header, ...record])
  const { engineId, flowSequence, samplingMode, samplingInterval } = netflow5.fields
  const of = (field: { get(frame: Uint8Array, at: number): number }) => field.get(bytes, 0)
  assert.equal([engineId, flowSequence, samplingMode, samplingInterval].map(of), [2, 42, 1, 100])
  const [row] = all(netflow5Records(bytes, 0, bytes.length))
  const expected = {
    sourceIPv4Address: '192.168.1.1',
    destinationIPv4Address: '239.0.0.2',
    ipNextHopIPv4Address: '0.0.0.0',
    ingressInterface: 1,
    egressInterface: 2,
    packetDeltaCount: 4000,
    octetDeltaCount: 5468032,
    flowStartSysUpTime: 0x1000,
    flowEndSysUpTime: 0x2000,
    sourceTransportPort: 54321,
    destinationTransportPort: 5004,
    tcpControlBits: 16,
    protocolIdentifier: 17,
    ipClassOfService: 0xb8,
    bgpSourceAsNumber: 7,
    bgpDestinationAsNumber: 8,
    sourceIPv4PrefixLength: 24,
    destinationIPv4PrefixLength: 32,
  }
  assert.equal(row, expected)
  const built = buildNetflow5({
    ...{ sysUpTimeMs: 0x3000, unixSeconds: 0x65000000, unixNanoseconds: 1, flowSequence: 42 },
    ...{ engineType: 1, engineId: 2, samplingMode: 1, samplingInterval: 100, records: [expected] },
  })
  assert.is(hex(built), hex(bytes))
  const walk = netflow5Records(bytes, 0, bytes.length - 1)
  assert.not(walk.next())
  assert.equal(walk.malformed, { at: 24, why: 'record 1 of 1 is not there' })
})

test('counters of any length are exact', () => {
  fc.assert(
    fc.property(fc.bigInt(0n, 2n ** 64n - 1n), fc.integer({ min: 1, max: 8 }), (value, length) => {
      const bytes = new Uint8Array(12).fill(0xa5)
      writeUnsigned(bytes, 2, length, value)
      const low = BigInt.asUintN(length * 8, value)
      assert.is(readUnsigned(bytes, 2, length), low)
      if (length <= 6) assert.is(readNumber(bytes, 2, length), Number(low))
      assert.equal([bytes[1], bytes[2 + length]], [0xa5, 0xa5])
    }),
  )
  const template = flowTemplate(256, ['octetDeltaCount', ['packetDeltaCount', 4]])
  const set = writeFlowSet(
    { data: { template, records: [{ octetDeltaCount: 2n ** 53n + 1n, packetDeltaCount: 3 }] } },
    'netflow9',
  )
  const walk = dataRecords(set, 0, set.length, template, 'netflow9')
  assert.ok(walk.next())
  assert.is(unsignedOf(walk, fieldIndex(walk, 1)), 2n ** 53n + 1n)
  assert.is(numberOf(walk, fieldIndex(walk, 2)), 3)
  assert.is(fieldIndex(walk, 99), -1)
})

test('whatever a template says is written, then read alike', () => {
  const fields = FLOW_FIELD_NAMES.filter(name => !['interfaceName', 'paddingOctets'].includes(name))
  const template = flowTemplate(999, fields)
  for (const dialect of ['netflow9', 'ipfix'] as const) {
    const fixed =
      dialect === 'ipfix'
        ? template
        : flowTemplate(
            999,
            fields.filter((_, i) => template.lengths[i] !== VARIABLE_LENGTH),
          )
    const set = Uint8Array.from([0, 0, 0, 0, ...writeTemplate(fixed, dialect)])
    assert.ok(sameTemplate(only(templates(set, 0, set.length, dialect, 'template')), fixed))
    const bytes = writeRecord(fixed, {})
    const noise = Uint8Array.from([0, 0, 0, 0, ...bytes.map((_, i) => (fixed.isVariable ? 0 : (i * 37) & 0x7f))])
    const [values] = all(dataRecords(noise, 0, noise.length, fixed, dialect))
    assert.is(hex(writeRecord(fixed, values as Record<string, string>)), hex(noise.subarray(4)))
  }
})

test('what cannot be is told with its place, and the walk ends', () => {
  const bad: [string, FlowDialect, RegExp, number][] = [
    ['0000 0000 0000 0000', 'netflow9', /FlowSet length 0 is less than/, 0],
    ['0000 0003 00', 'netflow9', /FlowSet length 3 is less than/, 0],
    ['0100 ffff 00', 'netflow9', /goes 65530 octets past the end/, 0],
    ['0000 0008 0100 0000', 'netflow9', /template 256 has no fields/, 4],
    ['0000 000c 0100 ffff 0001 0004', 'netflow9', /says 65535 fields/, 4],
    ['0000 000c 00ff 0001 0001 0004', 'netflow9', /template ID 255 is below 256/, 4],
    ['0000 000c 0100 0001 0001 0000', 'netflow9', /records of 0 octets/, 4],
    ['0001 000e 0100 0003 0004 0001 0004', 'netflow9', /not whole field specifiers/, 4],
    ['0001 000a 0100 fffc fffc', 'netflow9', /says 32766 fields/, 4],
    ['0001 0008 0100 0004', 'netflow9', /Options Template Record cut short/, 4],
    ['0002 000c 012c 0001 8001 0004', 'ipfix', /template 300 is cut short/, 8],
    ['0003 000e 012c 0001 0002 0001 0004', 'ipfix', /Scope Field Count 2 of 1 fields/, 4],
    ['0003 000e 012c 0001 0000 0001 0004', 'ipfix', /Scope Field Count 0 of 1 fields/, 4],
    ['0000 000c 0100 0001 0001 0004 00', 'netflow9', /1 octets behind the last FlowSet/, 12],
    ['0002 000c 012c 0001 0052 ffff 012c 0008 09 616263', 'ipfix', /field 1 of a record of template 300/, 16],
    ['0000 000c 0100 0001 0001 ffff 0100 0008 00000001', 'netflow9', /a field of 65535 octets/, 12],
  ]
  for (const [text, dialect, why, at] of bad) {
    const found = troubles(octets(text), 0, dialect)
    assert.is(found.length, 1, text)
    assert.match(found[0]?.why as string, why)
    assert.is(found[0]?.at, at, text)
  }
})

test('one bad FlowSet does not hide the next, and padding is no record', () => {
  const known = new Map<number, FlowTemplate>()
  const bytes = octets('0000 0008 0100 0000 0000 0010 0101 0001 0001 0004 00000000 0101 000b 00000001 000000')
  assert.is(troubles(bytes, 0, 'netflow9', known).length, 1)
  assert.equal([...known.keys()], [257])
})

test('random octets never throw, and every walk ends', () => {
  const small = fc.uint8Array({ maxLength: 120 })
  const set = fc.tuple(fc.constantFrom(0, 1, 2, 3, 256, 257), fc.integer({ min: 0, max: 40 }), small)
  const message = fc
    .array(set, { maxLength: 8 })
    .map(sets => sets.flatMap(([id, length, body]) => [id >> 8, id & 0xff, 0, length, ...body]))
  fc.assert(
    fc.property(message, fc.constantFrom<FlowDialect>('netflow9', 'ipfix'), (bytes, dialect) => {
      for (const { at } of troubles(Uint8Array.from(bytes), 0, dialect)) assert.ok(at <= bytes.length)
    }),
    { numRuns: 2000 },
  )
})

test('every field has one number, and the document calls its own by name', () => {
  assert.is(new Set(Object.values(FLOW_FIELD)).size, FLOW_FIELD_NAMES.length)
  const ids = [8, 12, 7, 11, 4, 5, 10, 14, 206, 61, 99, 1, 2, 20, 19, 22, 21]
  for (const id of ids) assert.match(flowFieldName(id, 0), /^[a-z]/)
  assert.is(flowFieldName(4242, 0), '4242')
  assert.is(flowFieldName(1, 9), '9/1')
})

test('IPv6 addresses there and back', () => {
  const texts = ['::', '::1', 'ff15::1:2', '2001:db8:0:1:1:1:1:1', '2001:db8::1:0:0:1', '1:0:0:2:0:0:0:3', 'fe80::']
  const shown = [...texts.slice(0, 5), '1:0:0:2::3', 'fe80::']
  assert.equal(
    texts.map(text => formatIpv6(parseIpv6(text))),
    shown,
  )
  fc.assert(fc.property(fc.bigInt(0n, 2n ** 128n - 1n), address => assert.is(parseIpv6(formatIpv6(address)), address)))
  for (const bad of ['', ':', '1::2::3', '1:2:3', '12345::', 'g::'])
    assert.throws(() => parseIpv6(bad), /not an IPv6 address/)
})

test.run()
