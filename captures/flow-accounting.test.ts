import * as assert from 'uvu/assert'
import { parseIpv4 } from '../generators/wire/address.ts'
import { parseIpv6 } from '../generators/wire/flow-write.ts'
import { suite } from '../test/suite.ts'
import { inputTotals, judgeReplication, meaningOf, meaningOfClaim, overcount, readingOf } from './flow-accounting.ts'
import { directionOf, type FlowAccount, FlowAccounts } from './flow-accounts.ts'
import type { FlowRecord } from './flow-record.ts'

const test = suite('flow accounting')

const GI1 = 415
const OUTPUTS = [418, 422, 426]
const BYTES = 1372n

const base: FlowRecord = {
  ...{ version: 9, exporter: parseIpv4('192.168.5.2'), sourceId: 0, templateId: 256 },
  ...{
    src: parseIpv4('192.168.1.1'),
    dst: parseIpv4('239.0.0.2'),
    srcPort: 50000,
    dstPort: 5004,
    protocol: 17,
    tos: 0,
  },
  ...{ input: GI1, output: 0, isMulticast: 1, direction: undefined, replicationFactor: undefined },
  ...{ bytes: 0n, packets: 0n, replicatedBytes: undefined, replicatedPackets: undefined },
  ...{ firstMs: undefined, lastMs: undefined, frameNumber: 1, offset: 24 },
}
const amount = (packets: bigint) => ({ packets, bytes: packets * BYTES })
const ingress = (
  packets: bigint,
  copies: bigint,
  replicationFactor = 3,
  more: Partial<FlowRecord> = {},
): FlowRecord => ({
  ...{ ...base, ...amount(packets), direction: 0, replicationFactor },
  ...{ replicatedPackets: copies, replicatedBytes: copies * BYTES, ...more },
})
const egress = (output: number, packets: bigint, more: Partial<FlowRecord> = {}): FlowRecord => ({
  ...{ ...base, ...amount(packets), direction: 1, output, ...more },
})

function accountsOf(...records: FlowRecord[]): FlowAccount[] {
  const accounts = new FlowAccounts()
  for (const record of records) accounts.add(record)
  return accounts.accounts()
}

function only(...records: FlowRecord[]): FlowAccount {
  const [account, ...more] = accountsOf(...records)
  assert.is(more.length, 0)
  return account as FlowAccount
}

test('ingress only: what came in, copies in all, and no output by name', () => {
  // Reads of two counters are not one: the identity holds on the sums alone.
  const account = only(ingress(537n, 1597n), ingress(3463n, 10403n))
  const reading = readingOf(account)
  assert.equal(reading, {
    ...{ situation: 'ingress', in: { ...amount(4000n), isLowerBound: false }, outputs: undefined, out: amount(12000n) },
    ...{ meanFactor: 3, replication: { kind: 'told', copies: amount(12000n), factor: { lowest: 3, highest: 3 } } },
  })
  assert.is(judgeReplication(reading.replication, amount(12000n)), 'right')
  assert.is(judgeReplication(reading.replication, amount(11999n)), 'wrong')
  assert.is(overcount(inputTotals([account])[0] as never), 1)
})

test('egress only: copies by output; what came in is at least the largest, never the sum', () => {
  const account = only(...OUTPUTS.map((output, i) => egress(output, 4000n - BigInt(i) * 1000n)))
  const reading = readingOf(account)
  assert.is(reading.situation, 'egress')
  assert.equal(reading.in, { ...amount(4000n), isLowerBound: true })
  assert.equal(
    [...(reading.outputs ?? [])].map(([output, { packets }]) => [output, packets]),
    [
      [418, 4000n],
      [422, 3000n],
      [426, 2000n],
    ],
  )
  assert.equal([reading.out, reading.meanFactor], [amount(9000n), undefined])
})

test('both: ingress records tell what came in, egress records what went out', () => {
  const account = only(ingress(4000n, 12000n), ...OUTPUTS.map(output => egress(output, 4000n)))

  const reading = readingOf(account)
  assert.equal(
    [reading.in.packets, reading.in.isLowerBound, reading.out?.packets, reading.meanFactor],
    [4000n, false, 12000n, 3],
  )
  assert.is(judgeReplication(reading.replication, amount(12000n)), 'right')
  assert.is(reading.situation, 'both')
})

test('the threefold and the fourfold overcount by input interface', () => {
  const copies = OUTPUTS.map(output => egress(output, 4000n))
  const [threefold] = inputTotals(accountsOf(...copies))
  assert.equal([threefold?.in.packets, threefold?.naive.packets, overcount(threefold as never)], [4000n, 12000n, 3])
  const [fourfold] = inputTotals(accountsOf(ingress(4000n, 12000n), ...copies))
  assert.equal([fourfold?.in.packets, fourfold?.naive.packets, overcount(fourfold as never)], [4000n, 16000n, 4])
})

test('Picture 4: zeros are "not supported" while copies went out, and right while none did', () => {
  const zeros = readingOf(only(ingress(4000n, 0n, 0)))
  assert.equal([zeros.replication.kind, zeros.out], ['zero', undefined])
  assert.is(judgeReplication(zeros.replication, amount(12000n)), 'unsupported')
  assert.is(judgeReplication(zeros.replication, amount(0n)), 'right')
  const absent = readingOf(only({ ...base, ...amount(4000n), direction: 0 })).replication
  assert.equal([absent.kind, judgeReplication(absent, amount(12000n))], ['absent', 'absent'])
  const { replication } = readingOf(only(ingress(4000n, 4000n, 3)))
  assert.is(judgeReplication(replication, amount(12000n)), 'wrong')
  assert.is(judgeReplication(replication, { packets: 4000n }), 'right')
})

test('field 2 is held against both truths, and named', () => {
  assert.is(meaningOf(4000n, 4000n, 12000n), 'in')
  assert.is(meaningOf(12000n, 4000n, 12000n), 'out')
  assert.is(meaningOf(4000n, 4000n, 4000n), 'in and out')
  assert.is(meaningOf(8000n, 4000n, 12000n), 'neither')
})

test('an analyser that counts copies as arrivals is told so', () => {
  const claims = [4000n, 12000n, 16000n, 8000n].map(claimed => meaningOfClaim(claimed, 4000n, 12000n))
  assert.equal(claims, ['right', 'copies', 'arrivals and copies', 'neither'])
})

test('joins and leaves in mid-flow: the factor has a range, the sum of copies is what counts', () => {
  const account = only(ingress(1000n, 1000n, 1), ingress(1000n, 2500n, 3), ingress(500n, 500n, 1))
  const { replication, meanFactor } = readingOf(account)
  assert.equal(replication.factor, { lowest: 1, highest: 3 })
  assert.is(meanFactor, 1.6)
  assert.is(judgeReplication(replication, amount(4000n)), 'right')
})

test('without field 61 an output interface tells the direction of multicast, and nothing of unicast', () => {
  const none = { direction: undefined }
  assert.is(directionOf({ ...base, ...none }), 'ingress')
  assert.is(directionOf({ ...base, ...none, output: 418 }), 'egress')
  assert.is(directionOf({ ...base, ...none, output: 418, dst: parseIpv4('10.0.0.1') }), 'ingress')
  assert.is(directionOf({ ...base, ...none, output: 418, dst: parseIpv6('ff15::1') }), 'egress')
  assert.is(directionOf({ ...base, direction: 1, output: 0 }), 'egress')
})

test('a flow that comes in elsewhere, as after an RPF failure, is another', () => {
  const accounts = accountsOf(
    ingress(4000n, 12000n),
    ingress(100n, 0n, 0, { input: 418 }),
    ingress(7n, 21n, 3, { tos: 8 }),
  )
  assert.equal(
    accounts.map(account => [account.key.input, readingOf(account).in.packets]),
    [
      [415, 4000n],
      [418, 100n],
      [415, 7n],
    ],
  )
  assert.equal(
    inputTotals(accounts).map(total => total.in.packets),
    [4007n, 100n],
  )
})

test('counters are exact beyond 2^53, and flows beyond the limit are counted', () => {
  assert.is(readingOf(only(ingress(2n ** 62n, 0n), ingress(1n, 0n))).in.packets, 2n ** 62n + 1n)
  const accounts = new FlowAccounts(2)
  for (const srcPort of [1, 2, 3, 1]) accounts.add({ ...base, srcPort })
  assert.equal([accounts.accounts().length, accounts.untold], [2, 1])
})

test.run()
