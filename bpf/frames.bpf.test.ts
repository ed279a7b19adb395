import * as assert from 'uvu/assert'
import type { FrameSpec } from '../generators/frame-spec.ts'
import { formatIpv4, parseIpv4 } from '../generators/wire/address.ts'
import { suite } from '../test/suite.ts'
import { GroupLimitError } from './datapath.ts'
import { G, GoldenRun, HOST } from './golden-run.ts'
import type { DropReason } from './maps.ts'

const test = suite('frames in the datapath', { timeoutMs: 60_000 })

const udp = (ipv4: FrameSpec['ipv4']): FrameSpec => ({ ipv4: { src: HOST, dst: G, ...ipv4 }, udp: { dstPort: 5001 } })
const TC_ACT_SHOT = 2

/** RFC 1122 §3.2.1, RFC 4541 §2.1.2: why a frame goes no further. */
const DROPPED: [reason: DropReason, frame: FrameSpec][] = [
  ['not-ipv4', { arp: { operation: 1 } }],
  ['not-ipv4', { ethernet: { etherType: 0x86dd }, payload: '60'.repeat(40) }],
  ['ip-malformed', udp({ version: 5 })],
  ['ip-malformed', udp({ ihl: 4 })],
  ['ip-malformed', udp({ totalLength: 19 })],
  ['ip-malformed', udp({ totalLength: 1000 })],
  ['ip-checksum', udp({ checksum: 0x1234 })],
  ['ip-source', udp({ src: parseIpv4('224.0.0.5') })],
  ['ip-source', udp({ src: parseIpv4('255.255.255.255') })],
  ['ip-source', udp({ src: parseIpv4('127.0.0.1') })],
  ['ip-ttl-zero', udp({ ttl: 0 })],
  ['no-route', udp({ dst: parseIpv4('10.9.9.9') })],
  ['link-local-group', udp({ dst: parseIpv4('224.0.0.251') })],
  ['group-not-enabled', udp({ dst: parseIpv4('239.1.2.3') })],
  ['no-members', udp({})],
]

for (const [reason, frame] of DROPPED)
  test(`${reason}: ${JSON.stringify(frame)}`, () => {
    const run = new GoldenRun()
    assert.is(run.run(frame), TC_ACT_SHOT)
    assert.equal(run.drops(), { [reason]: 1 })
    run.close()
  })

test('options are summed with the header', () => {
  const run = new GoldenRun()
  run.run(udp({ options: '94040000' }))
  assert.equal(run.drops(), { 'no-members': 1 })
  run.close()
})

test('the copy carries the MAC of its group, and nothing else is touched', () => {
  for (const group of ['233.252.0.1', '239.255.255.255', '224.128.1.2', '225.127.255.1']) {
    const run = new GoldenRun()
    const dst = parseIpv4(group)
    run.datapath.enableGroup(dst)
    const frame = Buffer.alloc(100, 0xa5)
    frame.write('ffffffffffff020000000001080045000056000040000411', 'hex')
    frame.writeUInt32BE(HOST, 26)
    frame.writeUInt32BE(dst, 30)
    fillChecksum(frame)
    const { data } = run.datapath.run('from_pod', frame)
    const low23 = (dst & 0x7fffff).toString(16).padStart(6, '0')
    assert.is(data.toString('hex'), `01005e${low23}${frame.toString('hex', 6)}`)
    run.close()
  }
})

test('1024 groups can be enabled, the 1025th is refused and counted', () => {
  const run = new GoldenRun()
  const first = parseIpv4('239.192.0.0')
  for (let i = 3; i < 1024; i++) run.datapath.enableGroup(first + i)
  assert.is(run.datapath.groups().length, 1024)
  assert.throws(
    () => run.datapath.enableGroup(first + 1024),
    (error: unknown) => error instanceof GroupLimitError,
  )
  assert.equal(run.drops(), { 'group-limit': 1 })
  run.datapath.disableGroup(first + 3)
  run.datapath.enableGroup(first + 1024)
  assert.is(run.datapath.groups().map(formatIpv4).at(-1), '239.192.4.0')
  run.close()
})

test('groups that cannot be enabled are told apart', () => {
  const run = new GoldenRun()
  for (const group of ['224.0.0.1', '224.0.0.255', '192.0.2.1', '240.0.0.1'])
    assert.throws(() => run.datapath.enableGroup(parseIpv4(group)), /not a group/)
  run.close()
})

test('disabling a group forgets its members', () => {
  const run = new GoldenRun()
  run.igmp({ records: [{ recordType: 4, multicastAddress: G, sources: [HOST] }] })
  assert.is(run.members().length, 1)
  run.datapath.disableGroup(G)
  run.datapath.enableGroup(G)
  assert.is(run.members().length, 0)
  run.close()
})

/** RFC 1071, written here for the frame above only. */
function fillChecksum(frame: Buffer): void {
  let sum = 0
  for (let at = 14; at < 34; at += 2) sum += at === 24 ? 0 : frame.readUInt16BE(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  frame.writeUInt16BE(~sum & 0xffff, 24)
}

test.run()
