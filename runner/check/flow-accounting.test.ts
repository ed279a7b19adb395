import * as assert from 'uvu/assert'
import { DIRECTION, type Recording } from '../../captures/record.ts'
import { buildFrame } from '../../generators/frame.ts'
import { hexOf } from '../../generators/hex.ts'
import { parseIpv4 } from '../../generators/wire/address.ts'
import { flowTemplate } from '../../generators/wire/flow-template.ts'
import type { FlowValues } from '../../generators/wire/flow-write.ts'
import { buildNetflow9 } from '../../generators/wire/netflow9.ts'
import { suite } from '../../test/suite.ts'
import type { Observation } from '../observation.ts'
import type { FlowAccountingWant } from '../suite/expectations.ts'
import { analyser } from './analyser.ts'
import type { Seen, Sent } from './check.ts'
import { flowAccounting } from './flow-accounting.ts'
import { flowMessages } from './flow-messages.ts'

const test = suite('checks flow-accounting, flow-messages, analyser')

const BASE_NS = 1_790_000_000_000_000_000n
const SOURCE = parseIpv4('192.168.1.1')
const GROUP = parseIpv4('239.0.0.2')
const TAPS = ['r1/gi1-0', 'r1/gi2-0', 'r1/gi3-0', 'r1/gi5-0', 'collector/eth0']
const INDICES = { 'gi1-0': 2, 'gi2-0': 3, 'gi3-0': 4, 'gi5-0': 5 }
const OUTPUTS = ['gi2-0', 'gi3-0', 'gi5-0']
const PACKETS = 10
const START_NS = 1e9
const GAP_NS = 1e6
/** A 60-octet frame: 46 of IP. */
const IP_BYTES = 46

interface Frame {
  tap: string
  direction: number
  timeNs: number
  bytes: Uint8Array
}

const template = flowTemplate(256, [
  'sourceIPv4Address',
  'destinationIPv4Address',
  'sourceTransportPort',
  'destinationTransportPort',
  'protocolIdentifier',
  'ipClassOfService',
  'ingressInterface',
  'egressInterface',
  'isMulticast',
  'flowDirection',
  'multicastReplicationFactor',
  'octetDeltaCount',
  'packetDeltaCount',
  'postMCastOctetDeltaCount',
  'postMCastPacketDeltaCount',
  'flowStartSysUpTime',
  'flowEndSysUpTime',
])

/** Ten packets in at gi1-0, each out at the three others right behind. */
function traffic(): Frame[] {
  const bytes = buildFrame({
    ipv4: { src: SOURCE, dst: GROUP, totalLength: IP_BYTES },
    udp: { srcPort: 5004, dstPort: 5004 },
    payload: '00'.repeat(18),
  })
  return Array.from({ length: PACKETS }, (_, k) => {
    const timeNs = START_NS + k * GAP_NS
    const copies = OUTPUTS.map((name, i) => ({
      tap: `r1/${name}`,
      direction: DIRECTION.out,
      timeNs: timeNs + i + 1,
      bytes,
    }))
    return [{ tap: 'r1/gi1-0', direction: DIRECTION.in, timeNs, bytes }, ...copies]
  }).flat()
}

const UPTIME_MS = 100_000
const FLUSH_NS = 2e9
const common = {
  sourceIPv4Address: SOURCE,
  destinationIPv4Address: GROUP,
  sourceTransportPort: 5004,
  destinationTransportPort: 5004,
  protocolIdentifier: 17,
  isMulticast: 1,
  ingressInterface: 2,
  octetDeltaCount: BigInt(PACKETS * IP_BYTES),
  packetDeltaCount: BigInt(PACKETS),
  // The message leaves one second after the first packet.
  flowStartSysUpTime: UPTIME_MS - 1000,
  flowEndSysUpTime: UPTIME_MS - 1000 + PACKETS,
}
const ingress: FlowValues = {
  ...common,
  multicastReplicationFactor: 3,
  postMCastOctetDeltaCount: BigInt(3 * PACKETS * IP_BYTES),
  postMCastPacketDeltaCount: BigInt(3 * PACKETS),
}
const egress = OUTPUTS.map((_, i): FlowValues => ({ ...common, flowDirection: 1, egressInterface: 3 + i }))

function message(records: readonly FlowValues[], sequence = 0, header: { count?: number } = {}): Frame {
  const payload = buildNetflow9({
    sysUpTimeMs: UPTIME_MS,
    unixSeconds: Number(BASE_NS / 1_000_000_000n) + FLUSH_NS / 1e9,
    sequence,
    sourceId: 1,
    flowSets: [{ templates: [template] }, { data: { template, records } }],
    ...header,
  })
  const bytes = buildFrame({
    ipv4: { src: parseIpv4('192.168.5.2'), dst: parseIpv4('192.168.5.1') },
    udp: { srcPort: 4000, dstPort: 2055 },
    payload: hexOf(payload),
  })
  return { tap: 'collector/eth0', direction: DIRECTION.in, timeNs: FLUSH_NS, bytes }
}

function seenOf(frames: readonly Frame[], dropped = 0): Seen {
  const recording = {
    count: frames.length,
    baseNs: BASE_NS,
    taps: TAPS.map((name, interfaceId) => ({ name, file: 'taps/x.pcapng', interfaceId })),
    tap: (i: number) => TAPS.indexOf(frames[i]?.tap ?? ''),
    timeNs: (i: number) => frames[i]?.timeNs ?? 0,
    direction: (i: number) => frames[i]?.direction ?? 0,
    bytes: (i: number) => frames[i]?.bytes ?? new Uint8Array(0),
    frameNumber: (i: number) => i + 1,
  } as unknown as Recording
  const told = (phase: 'start' | 'flushed' | 'end', at: number): Observation => ({
    ...{ kind: 'exporter', step: 'x', node: 'r1', product: 'test', phase, stage: 's' },
    tNs: String(BASE_NS + BigInt(at)),
  })
  return {
    recording,
    site: {
      nodes: [{ name: 'r1', address: 1, interfaceTaps: TAPS.slice(0, 4), interfaceIndices: INDICES }],
      pods: [],
      collector: { tap: 'collector/eth0', port: 2055 },
    },
    observations: [told('start', 0.5e9), told('flushed', FLUSH_NS - 1), told('end', FLUSH_NS + 1e9)],
    tapIndex: (name: string) => TAPS.indexOf(name),
    stepTimeNs: () => undefined,
    tapDropped: () => dropped,
    tapTrouble: () => undefined,
  } as unknown as Seen
}

const want: FlowAccountingWant = {
  exporter: 'x',
  node: 'r1',
  situation: 'both',
  groups: [GROUP],
  input: 'gi1-0',
  inputs: ['gi1-0'],
  outputs: OUTPUTS,
  replication: 'supported',
  sampling: 1,
}
const NOTHING_SENT = {} as Sent

function judge(records: readonly FlowValues[], change: Partial<FlowAccountingWant> = {}, ...more: Frame[]) {
  return flowAccounting.judge({ ...want, ...change }, NOTHING_SENT, seenOf([...traffic(), message(records), ...more]))
}

test('right records of the three situations pass', () => {
  assert.is(judge([ingress, ...egress]).message, '4 records of test add up to what passed the wire (both)')
  assert.is(judge([ingress], { situation: 'ingress' }).status, 'pass')
  assert.is(judge(egress, { situation: 'egress' }).status, 'pass')
})

const wrong: [string, FlowValues, RegExp][] = [
  ['the factor counts the input', { ...ingress, multicastReplicationFactor: 4 }, /replication factor 4, on the wire 3/],
  ['packets are the copies', { ...ingress, packetDeltaCount: 30n }, /packets 30, on the wire 10 \(3 times as many\)/],
  ['octets of layer 2', { ...ingress, octetDeltaCount: 600n }, /octets 600, on the wire 460/],
  ['replicated equals input', { ...ingress, postMCastPacketDeltaCount: 10n }, /replicated packets 10, on the wire 30/],
  ['is-multicast from the other end', { ...ingress, isMulticast: 0x80 }, /0x80.*other end/],
  ['direction', { ...ingress, flowDirection: 1 }, /no record of|flow direction/],
  ['another input', { ...ingress, ingressInterface: 4 }, /no record of.*gi1-0 to Null/],
  [
    'swapped times',
    { ...ingress, flowStartSysUpTime: UPTIME_MS, flowEndSysUpTime: UPTIME_MS - 1000 },
    /later than its last/,
  ],
  ['times in seconds', { ...ingress, flowStartSysUpTime: 99, flowEndSysUpTime: 99 }, /off the wire's/],
]
for (const [name, record, message] of wrong)
  test(`red: ${name}`, () => {
    const verdict = judge([record], { situation: 'ingress' })
    assert.is(verdict.status, 'fail', verdict.message)
    assert.match(verdict.message, message)
    assert.ok((verdict.frames?.length ?? 0) + (verdict.details?.length ?? 0) > 0)
  })

test('red: an egress record is missing, or its copies are booked to another output', () => {
  assert.match(judge([ingress, ...egress.slice(1)]).message, /no record of.*gi1-0 to gi2-0/)
  const mixed = [{ ...egress[0], packetDeltaCount: 9n }, { ...egress[1], packetDeltaCount: 11n }, egress[2] ?? {}]
  assert.is(judge([ingress, ...mixed]).status, 'fail')
})

test('three zeros while copies were made are unsupported, which is told from wrong', () => {
  const zeros = {
    ...ingress,
    multicastReplicationFactor: 0,
    postMCastPacketDeltaCount: 0n,
    postMCastOctetDeltaCount: 0n,
  }
  assert.match(judge([zeros], { situation: 'ingress' }).message, /not supported/)
  assert.is(judge([zeros], { situation: 'ingress', replication: 'unsupported' }).status, 'pass')
  assert.match(
    judge([{ ...zeros, multicastReplicationFactor: 1 }], { situation: 'ingress' }).message,
    /replicated packets 0/,
  )
})

test('lost messages and lost frames prove nothing', () => {
  const late = { ...message([], 5), timeNs: FLUSH_NS + 1e6 }
  const gap = judge([ingress, ...egress], {}, late)
  assert.is(gap.status, 'inconclusive', gap.message)
  const lost = flowAccounting.judge(want, NOTHING_SENT, seenOf([...traffic(), message([ingress, ...egress])], 3))
  assert.is(lost.status, 'inconclusive')
  assert.is(flowAccounting.judge(want, NOTHING_SENT, seenOf([message([ingress])])).status, 'inconclusive')
})

test('messages: a count that is not that of the records, a gap, and data before its template are red', () => {
  const messages = (...frames: Frame[]) => flowMessages.judge({ exporter: 'x' }, NOTHING_SENT, seenOf(frames))
  assert.is(messages(message([ingress])).status, 'pass')
  assert.match(messages(message([ingress], 0, { count: 9 })).message, /header counts 9/)
  const third = { ...message([ingress], 3), timeNs: FLUSH_NS + 1e6 }
  assert.match(messages(message([ingress]), third).message, /lost on the way/)
})

function judgeAnalyser(
  all: number,
  change: { records?: 'all' | 'ingress'; dropped?: number; datagrams?: number; sequence?: number } = {},
) {
  const { records = 'all', dropped = 0, datagrams = 1, sequence } = change
  const more = sequence === undefined ? [] : [message([ingress], sequence)]
  const seen = seenOf([...traffic(), message([ingress, ...egress]), ...more])
  const claims = (packets: number) => [{ input: 2, packets: String(packets), bytes: '0' }]
  const report = { kind: 'analyser', exporter: 'x', analyser: 'nfdump', version: '1', datagrams, dropped } as const
  const told = { all: claims(all), ingressOnly: claims(PACKETS), egressOnly: [], tNs: String(BASE_NS), stage: 's' }
  const observations = all < 0 ? seen.observations : [...seen.observations, { ...report, ...told }]
  const asked = { exporter: 'x', analyser: 'nfdump', node: 'r1', input: 'gi1-0', records } as const
  return analyser.judge(asked, NOTHING_SENT, { ...seen, observations })
}

test('analyser: what came in is right; each way to count copies is red and named', () => {
  assert.equal(judgeAnalyser(PACKETS).status, 'pass')
  assert.equal(judgeAnalyser(4 * PACKETS, { records: 'ingress' }).status, 'pass')
  const threefold = judgeAnalyser(3 * PACKETS)
  assert.equal(
    [threefold.status, threefold.message],
    ['fail', 'nfdump 1 says that 30 packets came in at gi1-0, on the wire 10: 3 times as many'],
  )
  assert.match(String(threefold.details), /each copy that went out as a packet that came in/)
  assert.match(String(judgeAnalyser(4 * PACKETS).details), /and each copy that went out once more/)
  assert.match(String(judgeAnalyser(11).details), /neither what came in nor what went out/)
})

test('analyser: what it was not given, or had no room for, proves nothing', () => {
  for (const [change, why] of [
    [{ dropped: 1 }, /no room for 1 messages/],
    [{ datagrams: 2 }, /was given 2 messages, 1 were captured/],
    [{ datagrams: 2, sequence: 5 }, /messages of test are missing/],
  ] as const) {
    const verdict = judgeAnalyser(PACKETS, change)
    assert.is(verdict.status, 'inconclusive')
    assert.match(verdict.message, why)
  }
  assert.match(judgeAnalyser(-1).message, /nfdump was not asked/)
})

test.run()
