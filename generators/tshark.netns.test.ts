import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import type { FrameSpec } from './frame-spec.ts'
import { compile } from './stream.ts'
import type { StreamSpec } from './stream-spec.ts'
import { openPcapFileEngine } from './transmit/pcapfile.ts'
import { parseIpv4 } from './wire/address.ts'

const test = suite('frames as tshark reads them')

const G = parseIpv4('233.252.0.1')
const S = parseIpv4('192.0.2.9')
const [GROUP, SOURCE] = ['233.252.0.1', '192.0.2.9']
const records = [
  { recordType: 4, multicastAddress: G, sources: [S] },
  { recordType: 1, multicastAddress: G + 1, auxData: 'deadbeef' },
]

/** Each frame, and what tshark's one-line summary must say of it. */
const FRAMES: [name: string, frame: FrameSpec, fields: Record<string, string>][] = [
  [
    'UDP',
    { ipv4: { dst: G }, udp: { dstPort: 7777 }, payload: '68656c6c6f' },
    { 'udp.dstport': '7777', 'ip.dst': GROUP },
  ],
  ['VLAN', { vlan: [{ vid: 100, pcp: 5 }], ipv4: { dst: G }, udp: {} }, { 'vlan.id': '100', 'vlan.priority': '5' }],
  ['two VLANs', { vlan: [{ vid: 100 }, { vid: 7 }], ipv4: { dst: G }, udp: {} }, { 'vlan.id': '100,7' }],
  [
    'ARP',
    { arp: { senderIp: S, targetIp: S + 1 } },
    { 'arp.src.proto_ipv4': SOURCE, 'arp.dst.proto_ipv4': '192.0.2.10' },
  ],
  ['ARP reply', { arp: { operation: 2, senderIp: S, targetIp: S + 1 } }, { 'arp.opcode': '2' }],
  [
    'ESP',
    { ipv4: { src: S, dst: S + 1 }, esp: { spi: 3, sequence: 9 }, payload: '00'.repeat(32) },
    { 'esp.spi': '0x00000003', 'esp.sequence': '9', 'ip.proto': '50' },
  ],
  ['v1 report', { igmp: { type: 0x12, group: G } }, { 'igmp.type': '0x12', 'igmp.maddr': GROUP }],
  ['v2 report', { igmp: { type: 0x16, group: G } }, { 'igmp.type': '0x16', 'igmp.maddr': GROUP }],
  ['v2 leave', { igmp: { type: 0x17, group: G } }, { 'igmp.type': '0x17', 'ip.dst': '224.0.0.2' }],
  ['v1 query', { igmp: { type: 0x11, maxRespCode: 0 } }, { 'igmp.version': '1' }],
  ['v2 query', { igmp: { type: 0x11, group: G } }, { 'igmp.version': '2', 'igmp.max_resp': '10' }],
  [
    'v3 query',
    { igmp: { group: G, sFlag: 1, qrv: 3, qqic: 0x8f, sources: [S] } },
    { 'igmp.version': '3', 'igmp.s': '1', 'igmp.qrv': '3', 'igmp.num_src': '1', 'igmp.saddr': SOURCE },
  ],
  [
    'v3 report',
    { igmp: { records } },
    {
      'igmp.num_grp_recs': '2',
      'igmp.record_type': '4,1',
      'igmp.maddr': '233.252.0.1,233.252.0.2',
      'igmp.aux_data': 'deadbeef',
      'igmp.saddr': SOURCE,
    },
  ],
  ['empty v3 report', { igmp: { records: [] } }, { 'igmp.num_grp_recs': '0' }],
  ['IPv4 options', { ipv4: { dst: G, options: '0707040000000001' }, udp: {} }, { 'ip.hdr_len': '28' }],
  [
    'VXLAN',
    { ipv4: { dst: S }, vxlan: { vni: 42 }, inner: { ipv4: { dst: G }, udp: { dstPort: 9999 } } },
    { 'vxlan.vni': '42', 'ip.dst': `${SOURCE},${GROUP}`, 'udp.dstport': '4789,9999' },
  ],
  [
    'VXLAN in VXLAN',
    {
      ipv4: { dst: S },
      vxlan: { vni: 1 },
      inner: { ipv4: { dst: S }, vxlan: { vni: 2 }, inner: { igmp: { records } } },
    },
    { 'vxlan.vni': '1,2', 'igmp.num_grp_recs': '2' },
  ],
]

let folder: string
test.before(() => {
  folder = mkdtempSync(join(tmpdir(), 'tshark-test-'))
})
test.after(() => rmSync(folder, { recursive: true }))

const base = { number: 1, name: 's', stamped: false, rate: 'max' as const, count: 1 }

async function write(...streams: StreamSpec[]): Promise<string> {
  const path = join(folder, 'frames.pcap')
  const engine = openPcapFileEngine({ path })
  for (const spec of streams)
    await engine.send([compile(spec, { runId: 1, runStartNs: 0n })], new AbortController().signal)
  engine.close()
  return path
}

const CHECKSUMS = ['-o', 'ip.check_checksum:TRUE', '-o', 'udp.check_checksum:TRUE']

function tshark(path: string, ...args: string[]): string {
  const command = ['-n', '-r', path, ...CHECKSUMS, ...args]
  return execFileSync('tshark', command, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).replace(/\n$/, '')
}

/** Malformed, bad checksums, wrong lengths: everything tshark calls a warning or an error. */
const TROUBLE =
  '_ws.malformed || _ws.expert.severity >= "Warning" || ip.checksum.status == "Bad" || udp.checksum.status == "Bad" || igmp.checksum.status == "Bad"'

const FIELDS = [...new Set(FRAMES.flatMap(([, , fields]) => Object.keys(fields)))]

/** One line of `FIELDS` for each frame, and the numbers of the frames in trouble; tshark starts slowly, so twice in all. */
let rows: string[][]
let troubled: string[]
test.before(async () => {
  const path = await write(...FRAMES.map(([, frame]) => ({ ...base, frame })))
  rows = tshark(path, '-T', 'fields', ...FIELDS.flatMap(field => ['-e', field]))
    .split('\n')
    .map(line => line.split('\t'))
  troubled = tshark(path, '-Y', TROUBLE, '-T', 'fields', '-e', 'frame.number').split('\n')
})

FRAMES.forEach(([name, , fields], i) => {
  test(`${name}: no trouble, and the fields are those asked for`, () => {
    assert.not(troubled.includes(String(i + 1)))
    const seen = Object.keys(fields).map(field => [field, rows[i]?.[FIELDS.indexOf(field)]])
    assert.equal(Object.fromEntries(seen), fields)
  })
})

test('the same eyes see a checksum that is wrong and a record that is cut', async () => {
  const wrong = await write({ ...base, frame: { igmp: { group: G, checksumXor: 1 } } })
  assert.is.not(tshark(wrong, '-Y', TROUBLE), '')
  const cut = await write({ ...base, frame: { igmp: { records, numberOfGroupRecords: 9 } } })
  assert.is.not(tshark(cut, '-Y', TROUBLE), '')
})

test('stamps patched in place leave every checksum right, in tunnels and at every length', async () => {
  const lengths = { sweepBytes: [110, 111, 300, 1514] }
  const stamped = { ...base, stamped: true, count: 200, lengths }
  const inner = { ipv4: { dst: G }, udp: {} }
  const path = await write({ ...stamped, frame: inner }, { ...stamped, frame: { ipv4: { dst: S }, vxlan: {}, inner } })
  assert.is(tshark(path, '-Y', TROUBLE), '')
  assert.is(tshark(path, '-Y', 'udp.checksum.status == "Good"').split('\n').length, 400)
})

test('fragments in either order are put together again', async () => {
  const frame = { ipv4: { dst: G }, udp: { dstPort: 7777 } }
  const fragments = { ...base, frame, stamped: true, count: 5, lengths: { bytes: 2000 }, fragmentBytes: 576 }
  const path = await write(
    { ...fragments, fragmentOrder: 'forward' },
    { ...fragments, number: 2, fragmentOrder: 'reverse' },
  )
  assert.is(tshark(path, '-Y', TROUBLE), '')
  const whole = tshark(
    path,
    '-Y',
    'udp.dstport == 7777',
    '-T',
    'fields',
    '-e',
    'udp.length',
    '-e',
    'udp.checksum.status',
  )
  assert.equal(whole.split('\n'), new Array(10).fill('1966\t1'))
})

test.run()
