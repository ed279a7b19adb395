import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { type FieldChoice, flowTemplate, templateField } from '../generators/wire/flow-template.ts'
import { buildIpfix } from '../generators/wire/ipfix.ts'
import { buildNetflow5 } from '../generators/wire/netflow5.ts'
import { buildNetflow9 } from '../generators/wire/netflow9.ts'
import { suite } from '../test/suite.ts'
import { ourFlows, tsharkFlows, tsharkTrouble, writeMessages } from './testdata/flow-oracle.ts'

const test = suite('flow messages as tshark reads them')

let folder: string
test.before(() => {
  folder = mkdtempSync(join(tmpdir(), 'flow-tshark-'))
})
test.after(() => rmSync(folder, { recursive: true }))

const DOCUMENT: FieldChoice[] = [
  ...(['sourceIPv4Address', 'destinationIPv4Address', 'sourceTransportPort', 'destinationTransportPort'] as const),
  ...(['protocolIdentifier', 'ipClassOfService', 'ingressInterface', 'egressInterface', 'isMulticast'] as const),
  ...(['flowDirection', 'multicastReplicationFactor', 'octetDeltaCount', 'packetDeltaCount'] as const),
  ...(['postMCastOctetDeltaCount', 'postMCastPacketDeltaCount', 'flowStartSysUpTime', 'flowEndSysUpTime'] as const),
]
const SIX: FieldChoice[] = ['sourceIPv6Address', 'destinationIPv6Address', ['packetDeltaCount', 4], 'isMulticast']
const wide = flowTemplate(256, DOCUMENT)
const six = flowTemplate(257, SIX)
const sampling = flowTemplate(258, [templateField(1, -1, 4), 'samplingInterval', 'samplingAlgorithm'], 1)

const flow = (i: number) => ({
  ...{ sourceIPv4Address: '192.168.1.1', destinationIPv4Address: '239.0.0.2', sourceTransportPort: 50000 + i },
  ...{ destinationTransportPort: 5004, protocolIdentifier: 17, ipClassOfService: 0xb8, ingressInterface: 415 },
  ...{ egressInterface: i, isMulticast: 1, flowDirection: i === 0 ? 0 : 1, multicastReplicationFactor: 3 },
  ...{ octetDeltaCount: 2n ** 63n + BigInt(i), packetDeltaCount: 4000 + i, postMCastOctetDeltaCount: 2n ** 53n + 1n },
  ...{ postMCastPacketDeltaCount: 12000, flowStartSysUpTime: 100, flowEndSysUpTime: 900 },
})
const six6 = {
  sourceIPv6Address: '2001:db8::1',
  destinationIPv6Address: 'ff15::1:2',
  packetDeltaCount: 7,
  isMulticast: 0x58,
}

function agree(path: string, records: number): void {
  const ours = ourFlows(path)
  assert.is(tsharkTrouble(path), '')
  assert.equal(ours.events, [])
  assert.is(ours.records, records)
  const theirs = tsharkFlows(path)
  for (const [number, fields] of theirs) assert.equal(fields, ours.frames.get(number) ?? {}, `frame ${number}`)
}

test('NetFlow v9: several templates to a FlowSet, options, padding, IPv6, counters beyond 2^53', () => {
  const header = (sequence: number) => ({
    sysUpTimeMs: 1000 * (sequence + 1),
    unixSeconds: 1_700_000_000 + sequence,
    sequence,
    sourceId: 9,
  })
  const path = join(folder, 'v9.pcap')
  writeMessages(path, [
    buildNetflow9({ ...header(0), flowSets: [{ templates: [wide, six] }, { templates: [sampling] }] }),
    buildNetflow9({
      ...header(1),
      flowSets: [
        { data: { template: wide, records: [0, 1, 2, 3].map(flow) } },
        { data: { template: six, records: [six6, six6] } },
      ],
    }),
    buildNetflow9({
      ...header(2),
      flowSets: [
        { data: { template: sampling, records: [{ system: 1, samplingInterval: 10, samplingAlgorithm: 1 }] } },
      ],
    }),
  ])
  agree(path, 7)
})

test('IPFIX, with text of variable length', () => {
  const named = flowTemplate(300, ['interfaceName', ...DOCUMENT.filter(name => !String(name).endsWith('SysUpTime'))])
  const records = [0, 1].map(i => ({ ...flow(i), interfaceName: 'x'.repeat(i * 300 + 3) }))
  const path = join(folder, 'ipfix.pcap')
  const header = (sequence: number) => ({ exportSeconds: 1_700_000_000, sequence, observationDomainId: 9 })
  writeMessages(
    path,
    [
      buildIpfix({ ...header(0), sets: [{ templates: [named] }] }),
      buildIpfix({ ...header(0), sets: [{ data: { template: named, records } }] }),
    ],
    4739,
  )
  agree(path, 2)
})

test('NetFlow v5', () => {
  const path = join(folder, 'v5.pcap')
  const five = { ...flow(2), octetDeltaCount: 5, packetDeltaCount: 3 }
  writeMessages(path, [
    buildNetflow5({
      sysUpTimeMs: 1000,
      unixSeconds: 1_700_000_000,
      flowSequence: 0,
      records: [five, { ...five, sourceTransportPort: 7 }],
    }),
  ])
  agree(path, 2)
})

test('the same eyes see a message that is wrong', () => {
  const path = join(folder, 'bad.pcap')
  const sets = [{ templates: [six] }, { data: { template: six, records: [six6] }, length: 3 }]
  writeMessages(path, [buildNetflow9({ sysUpTimeMs: 1, unixSeconds: 2, sequence: 0, sourceId: 1, flowSets: sets })])
  assert.is.not(tsharkTrouble(path), '')
  assert.equal(
    ourFlows(path).events.map(event => event.kind),
    ['malformed'],
  )
})

test.run()
