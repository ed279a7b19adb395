import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { parseIpv4 } from '../generators/wire/address.ts'
import { flowTemplate } from '../generators/wire/flow-template.ts'
import { fieldValues } from '../generators/wire/flow-value.ts'
import type { FlowSetSpec } from '../generators/wire/flow-write.ts'
import { buildIpfix } from '../generators/wire/ipfix.ts'
import { buildNetflow5 } from '../generators/wire/netflow5.ts'
import { buildNetflow9, type Netflow9Spec } from '../generators/wire/netflow9.ts'
import { suite } from '../test/suite.ts'
import { FlowDecoder, type FlowEvent } from './flow-decoder.ts'
import type { FlowMessage } from './flow-message.ts'
import { type FlowRecord, readFlowRecord } from './flow-record.ts'
import { sessionMessages } from './testdata/flow-mutations.ts'
import { FlowSession, readSession, writeSession } from './testdata/flow-session.ts'

const test = suite('flow decoder')

const R1 = parseIpv4('192.168.5.2')
const T0 = 1_700_000_000

/** The document's record. */
const record = flowTemplate(256, [
  ...(['sourceIPv4Address', 'destinationIPv4Address', 'sourceTransportPort', 'destinationTransportPort'] as const),
  ...(['protocolIdentifier', 'ipClassOfService', 'ingressInterface', 'egressInterface', 'isMulticast'] as const),
  ...(['flowDirection', 'multicastReplicationFactor', 'octetDeltaCount', 'packetDeltaCount'] as const),
  ...(['postMCastOctetDeltaCount', 'postMCastPacketDeltaCount', 'flowStartSysUpTime', 'flowEndSysUpTime'] as const),
])
const flow = {
  sourceIPv4Address: '192.168.1.1',
  destinationIPv4Address: '239.0.0.2',
  sourceTransportPort: 50000,
  destinationTransportPort: 5004,
  protocolIdentifier: 17,
  ipClassOfService: 0xb8,
  ingressInterface: 415,
  egressInterface: 0,
  isMulticast: 1,
  flowDirection: 0,
  multicastReplicationFactor: 3,
  octetDeltaCount: 4000 * 1372,
  packetDeltaCount: 4000,
  postMCastOctetDeltaCount: 2n ** 63n,
  postMCastPacketDeltaCount: 12000,
  flowStartSysUpTime: 900,
  flowEndSysUpTime: 950,
}
const TEMPLATE: FlowSetSpec = { templates: [record] }
const DATA: FlowSetSpec = { data: { template: record, records: [flow] } }

/** A collector with a memory. */
function collector(options?: { templateLifeSeconds: number }) {
  const records: FlowRecord[] = []
  const values: Record<string, unknown>[] = []
  const events: FlowEvent[] = []
  const messages: FlowMessage[] = []
  const decoder = new FlowDecoder(
    {
      record: (data, message) => {
        records.push(readFlowRecord(data, message))
        values.push(fieldValues(data))
        messages.push({ ...message })
      },
      event: event => void events.push(event),
    },
    options,
  )
  let frameNumber = 0
  const take = (
    bytes: Uint8Array,
    origin: { exporter?: number | bigint; srcPort?: number; receivedNs?: bigint } = {},
  ) =>
    decoder.message(bytes, 0, bytes.length, {
      ...{ exporter: R1, srcPort: 50000, receivedNs: BigInt(T0) * 1_000_000_000n, frameNumber: ++frameNumber },
      ...origin,
    })
  return { decoder, records, values, events, messages, take, kinds: () => events.map(event => event.kind) }
}

/** A message at a second of both clocks. */
function v9(sequence: number, flowSets: FlowSetSpec[], given: Partial<Netflow9Spec> = {}): Uint8Array {
  return buildNetflow9({
    sysUpTimeMs: 1000 + sequence * 1000,
    unixSeconds: T0 + sequence,
    sequence,
    sourceId: 7,
    flowSets,
    ...given,
  })
}

test('the document’s record, every field of it, with its place', () => {
  const { take, records, values, events } = collector()
  take(v9(0, [TEMPLATE, DATA]))
  assert.equal(events, [])
  assert.equal(values, [flow])
  assert.equal(records, [
    {
      ...{ version: 9, exporter: R1, sourceId: 7, templateId: 256 },
      ...{ src: parseIpv4('192.168.1.1'), dst: parseIpv4('239.0.0.2'), srcPort: 50000, dstPort: 5004 },
      ...{ protocol: 17, tos: 0xb8, input: 415, output: 0, isMulticast: 1, direction: 0, replicationFactor: 3 },
      ...{ bytes: 5_488_000n, packets: 4000n, replicatedBytes: 2n ** 63n, replicatedPackets: 12000n },
      ...{ firstMs: T0 * 1000 - 100, lastMs: T0 * 1000 - 50, frameNumber: 1, offset: 20 + 76 + 4 },
    },
  ])
})

test('data before its template waits for it, with its own header and place', () => {
  const { take, records, messages, events, decoder } = collector()
  take(v9(0, [DATA]))
  take(v9(1, [DATA, DATA]))
  assert.equal(records, [])
  assert.ok(decoder.kept.heldBytes > 0)
  take(v9(2, [TEMPLATE]))
  assert.equal(
    records.map(({ frameNumber, offset }) => [frameNumber, offset]),
    [
      [1, 24],
      [2, 24],
      [2, 96],
    ],
  )
  assert.equal(
    messages.map(({ sequence }) => sequence),
    [0, 1, 1],
  )
  assert.equal([events, decoder.kept.heldBytes], [[], 0])
})

test('data whose template never comes is told at the end', () => {
  const { take, decoder, events } = collector()
  take(v9(0, [DATA]))
  decoder.finish()
  assert.equal(
    events.map(({ kind, amount, at }) => [kind, amount, at]),
    [['no-template', 72, 20]],
  )
})

test('a template belongs to exporter, Source ID and version, and a new definition replaces the old', () => {
  const { take, values, kinds } = collector()
  const other = flowTemplate(256, ['packetDeltaCount', 'isMulticast'])
  const otherData = { data: { template: other, records: [{ packetDeltaCount: 1, isMulticast: 0x80 }] } }
  take(v9(0, [TEMPLATE]))
  take(v9(0, [{ templates: [other] }, otherData], { sourceId: 8 }))
  take(v9(0, [{ templates: [other] }, otherData]), { exporter: R1 + 1 })
  take(v9(1, [DATA]))
  take(v9(2, [TEMPLATE, { templates: [other] }, otherData]))
  const [a, b] = [flow, { packetDeltaCount: 1, isMulticast: 0x80 }]
  assert.equal(values, [b, b, a, b])
  assert.equal(kinds(), ['redefined'])
})

test('v9 counts export packets: gaps, late ones, copies', () => {
  const { take, records, events, kinds } = collector()
  for (const sequence of [0, 1, 4, 2, 2, 5, 4]) take(v9(sequence, sequence === 0 ? [TEMPLATE, DATA] : [DATA]))
  assert.equal(kinds(), ['gap', 'late', 'duplicate', 'duplicate'])
  assert.equal(
    events.map(event => event.amount),
    [2, 0, 0, 0],
  )
  assert.is(records.length, 5)
})

test('the sequence goes on after 2^32 - 1', () => {
  const { take, events } = collector()
  for (const [i, sequence] of [0xfffffffe, 0xffffffff, 0, 1].entries())
    take(v9(sequence, [], { sysUpTimeMs: i * 1000, unixSeconds: T0 + i }))
  assert.equal(events, [])
})

test('an exporter that restarts loses its templates; data waits for the new ones', () => {
  const { take, values, kinds } = collector()
  const other = flowTemplate(256, ['packetDeltaCount'])
  for (let i = 0; i < 3; i++) take(v9(i + 100, i === 0 ? [TEMPLATE, DATA] : [DATA]))
  const after = { sysUpTimeMs: 10, unixSeconds: T0 + 110 }
  take(v9(0, [{ data: { template: other, records: [{ packetDeltaCount: 5 }] } }], after))
  assert.is(values.length, 3)
  take(v9(1, [{ templates: [other] }], after))
  assert.equal(values.slice(3), [{ packetDeltaCount: 5 }])
  assert.equal(kinds(), ['restart'])
})

test('a restart is known by sysUpTime alone, and by the sequence alone', () => {
  const byUptime = collector()
  byUptime.take(v9(5, [TEMPLATE], { sysUpTimeMs: 90_000 }))
  byUptime.take(v9(6, [], { sysUpTimeMs: 1000, unixSeconds: T0 + 95 }))
  assert.equal(byUptime.kinds(), ['restart'])
  // IPFIX has no sysUpTime, and the first messages of the new life were lost.
  const bySequence = collector()
  const ipfix = (sequence: number) =>
    buildIpfix({ exportSeconds: T0, sequence, observationDomainId: 1, sets: [{ templates: [record] }, DATA] })
  for (const sequence of [1000, 1001, 3, 4]) bySequence.take(ipfix(sequence))
  assert.equal(bySequence.kinds(), ['late', 'restart'])
})

test('a clock that steps is no restart; a sysUpTime that wraps is nothing', () => {
  const stepped = collector()
  stepped.take(v9(0, [TEMPLATE, DATA]))
  stepped.take(v9(1, [DATA], { unixSeconds: T0 + 3600 }))
  assert.equal([stepped.kinds(), stepped.records.length], [['clock-step'], 2])
  const wrapped = collector()
  const before = { sysUpTimeMs: 0xffffff00, unixSeconds: T0 }
  wrapped.take(v9(0, [TEMPLATE], before))
  const late = { ...flow, flowStartSysUpTime: 0xfffff000, flowEndSysUpTime: 100 }
  wrapped.take(v9(1, [{ data: { template: record, records: [late] } }], { sysUpTimeMs: 744, unixSeconds: T0 + 1 }))
  assert.equal(wrapped.events, [])
  const [{ firstMs, lastMs } = { firstMs: 0, lastMs: 0 }] = wrapped.records
  assert.equal([firstMs, lastMs], [(T0 + 1) * 1000 - 4096 - 744, (T0 + 1) * 1000 - 644])
})

test('v5 and IPFIX count records', () => {
  const v5 = collector()
  const five = (flowSequence: number, count: number) =>
    buildNetflow5({ sysUpTimeMs: 1000, unixSeconds: T0, flowSequence, records: new Array(count).fill(flow) })
  for (const [sequence, count] of [
    [0, 3],
    [3, 2],
    [9, 1],
    [5, 2],
    [7, 2],
  ] as const)
    v5.take(five(sequence, count))
  assert.equal(v5.kinds(), ['gap', 'late', 'late'])
  assert.is(v5.events[0]?.amount, 4)
  assert.is(v5.records.length, 10)
  const { input, output, packets, replicatedPackets } = v5.records[0] as FlowRecord
  assert.equal([input, output, packets, replicatedPackets], [415, 0, 4000n, undefined])
  const ten = collector()
  const ipfix = (sequence: number, sets: FlowSetSpec[]) =>
    ten.take(buildIpfix({ exportSeconds: T0, sequence, observationDomainId: 1, sets }))
  ipfix(0, [TEMPLATE])
  ipfix(0, [DATA, DATA])
  ipfix(2, [TEMPLATE])
  ipfix(2, [DATA])
  ipfix(2, [TEMPLATE])
  ipfix(8, [DATA])
  assert.equal(ten.kinds(), ['late', 'gap'])
  assert.is(ten.events[1]?.amount, 5)
})

test('IPFIX withdraws templates one by one and all at once', () => {
  const { take, records, kinds } = collector()
  const ipfix = (sequence: number, sets: FlowSetSpec[]) =>
    take(buildIpfix({ exportSeconds: T0, sequence, observationDomainId: 1, sets }))
  ipfix(0, [TEMPLATE, DATA])
  ipfix(1, [{ withdraw: [256] }, DATA])
  assert.is(records.length, 1)
  ipfix(2, [TEMPLATE])
  assert.is(records.length, 2)
  ipfix(2, [{ withdraw: [2] }, DATA])
  assert.is(records.length, 2)
  assert.equal(kinds(), ['withdrawn', 'withdrawn'])
})

test('a template that is not refreshed is used no longer', () => {
  const { take, records } = collector({ templateLifeSeconds: 60 })
  const at = (seconds: number) => ({ receivedNs: BigInt(T0 + seconds) * 1_000_000_000n })
  take(v9(0, [TEMPLATE, DATA]), at(0))
  take(v9(1, [DATA]), at(60))
  assert.is(records.length, 2)
  take(v9(2, [DATA]), at(61))
  assert.is(records.length, 2)
  take(v9(3, [TEMPLATE]), at(62))
  assert.is(records.length, 3)
})

test('two senders with one Source ID are told apart from a restart', () => {
  const { take, kinds } = collector()
  for (const [sequence, srcPort] of [
    [0, 1],
    [1, 2],
    [2, 1],
    [3, 2],
  ] as const)
    take(v9(sequence, []), { srcPort })
  assert.equal(kinds(), ['shared-source-id', 'shared-source-id'])
})

test('what a message claims and does not hold is told, and the rest is read', () => {
  const { take, records, events, kinds } = collector()
  take(v9(0, [TEMPLATE, DATA], { count: 9 }))
  take(v9(1, [{ ...DATA, paddingBytes: 8 }]))
  take(v9(2, [{ raw: Uint8Array.of(1, 2, 3), flowSetId: 256 }, DATA]))
  take(v9(3, [{ raw: new Uint8Array(4), flowSetId: 77 }, DATA]))
  take(v9(4, [DATA, { raw: new Uint8Array(4), flowSetId: 256, length: 0 }, DATA]))
  take(buildIpfix({ exportSeconds: T0, sequence: 0, observationDomainId: 1, length: 99, sets: [TEMPLATE] }))
  take(Uint8Array.of(0, 8, 1, 2))
  take(Uint8Array.of(0, 9, 1, 2))
  take(new Uint8Array(0))
  const wanted = [
    'count',
    'padding',
    'malformed',
    'malformed',
    'malformed',
    'malformed',
    'foreign',
    'malformed',
    'malformed',
  ]
  assert.equal(kinds(), wanted)
  assert.is(records.length, 5)
  assert.match(events[2]?.why as string, /Data FlowSet 256 is shorter than a record of 68 octets/)
  assert.match(events[4]?.why as string, /FlowSet length 0/)
  assert.is(events[4]?.at, 20 + 72)
})

test('strangers cannot fill the memory', () => {
  const { decoder, take, kinds } = collector()
  const many = flowTemplate(256, new Array(2000).fill('isMulticast'))
  for (let id = 256; id < 700; id++) take(v9(id, [{ templates: [{ ...many, id }] }]))
  assert.ok(decoder.kept.templateFields <= 1 << 17)
  const set = { raw: new Uint8Array(1000), flowSetId: 60000 }
  for (let i = 0; i < 9000; i++) take(v9(i, [set], { sourceId: i }))
  assert.ok(decoder.kept.heldBytes <= 4 << 20)
  assert.is(decoder.kept.streams, 4096)
  assert.ok(kinds().includes('no-template') && kinds().includes('forgotten'))
})

test('mutated messages never throw, and every event lies inside its message', () => {
  const good = [
    v9(0, [TEMPLATE, DATA]),
    v9(1, [DATA, TEMPLATE, DATA]),
    buildNetflow5({ sysUpTimeMs: 1, unixSeconds: 2, flowSequence: 0, records: [flow, flow] }),
  ]
  const mutation = fc.tuple(fc.nat(300), fc.nat(255))
  fc.assert(
    fc.property(
      fc.constantFrom(...good),
      fc.array(mutation, { maxLength: 6 }),
      fc.nat(300),
      (bytes, mutations, cut) => {
        const { take, events, decoder } = collector()
        const copy = bytes.slice(0, Math.min(cut, bytes.length))
        for (const [at, value] of mutations) if (at < copy.length) copy[at] = value
        take(copy)
        decoder.finish()
        for (const { at } of events) assert.ok(at >= 0 && at <= bytes.length)
      },
    ),
    { numRuns: 3000 },
  )
})

test('sessions of mutated messages keep the promises; what npm run fuzz once found stays found', () => {
  const folder = fileURLToPath(new URL('testdata/fuzz', import.meta.url))
  const saved = existsSync(folder) ? readdirSync(folder).map(file => readSession(readFileSync(join(folder, file)))) : []
  for (const messages of [...saved, [...sessionMessages(1)], [...sessionMessages(2)]]) {
    const session = new FlowSession()
    for (const message of readSession(writeSession(messages))) session.message(message)
    session.finish()
    assert.ok(session.records + session.events > 0)
  }
})

test.run()
