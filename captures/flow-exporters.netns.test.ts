import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { buildFrame } from '../generators/frame.ts'
import { createNetns, inNetns, type Netns } from '../generators/linux/netns.ts'
import { parseIpv4 } from '../generators/wire/address.ts'
import { netflow9 } from '../generators/wire/netflow9.ts'
import { findPackaged } from '../runner/target/router/debian.ts'
import { skip } from '../test/skip.ts'
import { suite } from '../test/suite.ts'
import { readingOf } from './flow-accounting.ts'
import { FlowAccounts } from './flow-accounts.ts'
import { FlowDecoder, type FlowEvent } from './flow-decoder.ts'
import { readFlowFile } from './flow-file.ts'
import { type FlowRecord, isFlow, readFlowRecord } from './flow-record.ts'
import { PcapWriter } from './pcap.ts'
import { openTcpdump } from './tcpdump.ts'
import { ourFlows, tsharkFlows, tsharkTrouble } from './testdata/flow-oracle.ts'

const test = suite('real exporters', { timeoutMs: 120_000 })

const [PACKETS, PAYLOAD_BYTES, PORT] = [4000, 1316, 2055]
const IP_BYTES = PAYLOAD_BYTES + 28
/** Shorter than any message: shows that the capture has what was sent before. */
const FENCE_FRAME_BYTES = 14 + 28 + 5
/** So that a sysUpTime can tell it: an old file would be a whole number of 49.7 days off. */
const BASE_SECONDS = Math.floor(Date.now() / 1000) - 60

let folder: string
let stream: string
test.before(() => {
  folder = mkdtempSync(join(tmpdir(), 'flow-exporters-'))
  stream = join(folder, 'in.pcap')
  const writer = new PcapWriter(stream)
  const ipv4 = { src: parseIpv4('192.168.1.1'), dst: parseIpv4('239.0.0.2'), ttl: 16, tos: 0xb8 }
  const frame = buildFrame({ ipv4, udp: { srcPort: 50000, dstPort: 5004 }, payload: '80'.repeat(PAYLOAD_BYTES) })
  for (let i = 0; i < PACKETS; i++) writer.frame(frame, BASE_SECONDS + Math.floor(i / 500), (i % 500) * 2e6)
  writer.close()
})
test.after(() => rmSync(folder, { recursive: true }))

/** What an exporter sends while it reads the stream from its file, as tcpdump saw it on the loopback. */
async function exported(name: string, run: (ns: Netns) => Promise<unknown>): Promise<string> {
  const ns = createNetns()
  const path = join(folder, `${name}.pcap`)
  const writer = new PcapWriter(path)
  try {
    await inNetns(ns, () => execa('ip', ['link', 'set', 'lo', 'up']))
    const prefix = ['nsenter', `--net=${ns.path}`]
    let fenced = () => {}
    const fence = new Promise<void>(resolve => {
      fenced = resolve
    })
    const onFrame = (frame: { bytes: Uint8Array; seconds: number; nanoseconds: number }) => {
      if (frame.bytes.length > FENCE_FRAME_BYTES) writer.frame(frame.bytes, frame.seconds, frame.nanoseconds)
      else fenced()
    }
    const capture = await openTcpdump({ prefix, interface: 'lo', filter: `udp dst port ${PORT}`, onFrame })
    await run(ns)
    await inNetns(ns, () => execa('socat', ['-u', '-', `UDP4-SENDTO:127.0.0.1:${PORT}`], { input: 'fence' }))
    await fence
    await capture.stop()
    return path
  } finally {
    writer.close()
    ns.close()
  }
}

function softflowd(binary: string, version: number) {
  const words = [
    '-r',
    stream,
    '-n',
    `127.0.0.1:${PORT}`,
    '-v',
    String(version),
    '-d',
    '-p',
    join(folder, 'pid'),
    '-c',
    'none',
  ]
  return (ns: Netns) => inNetns(ns, () => execa(binary, words, { timeout: 60_000 }))
}

function pmacctd(binary: string, version: number) {
  const config = join(folder, `pmacctd-${version}.conf`)
  const probe = [`nfprobe_receiver: 127.0.0.1:${PORT}`, `nfprobe_version: ${version}`, 'nfprobe_timeouts: maxlife=5']
  const aggregate = 'aggregate: src_host,dst_host,src_port,dst_port,proto,tos'
  writeFileSync(
    config,
    ['daemonize: false', `pcap_savefile: ${stream}`, 'plugins: nfprobe', ...probe, aggregate, ''].join('\n'),
  )
  // It often ends with 1: its plugin is gone before it. What it exported decides.
  return (ns: Netns) => inNetns(ns, () => execa(binary, ['-f', config], { timeout: 60_000, reject: false }))
}

interface Read {
  records: FlowRecord[]
  events: FlowEvent[]
  accounts: FlowAccounts
}

function read(path: string): Read {
  const found: Read = { records: [], events: [], accounts: new FlowAccounts() }
  const record = (data: Parameters<typeof readFlowRecord>[0], message: Parameters<typeof readFlowRecord>[1]) => {
    if (!isFlow(data)) return
    found.records.push(readFlowRecord(data, message))
    found.accounts.add(found.records.at(-1) as FlowRecord)
  }
  readFlowFile(path, new FlowDecoder({ record, event: event => found.events.push(event) }), [PORT])
  return found
}

/** tshark stops after as many FlowSets as the header counts records: softflowd's first v9 message counts 1 and holds 7. */
function withCounts(path: string, events: readonly FlowEvent[]): string {
  const patched = `${path}.counted`
  copyFileSync(path, patched)
  const bytes = readFileSync(patched)
  for (const { why, message } of events.filter(({ kind }) => kind === 'count')) {
    const [, counted, there] = /counts (\d+) records, there are (\d+)/.exec(why) ?? []
    assert.equal([counted, message?.frameNumber], ['1', 1])
    // File header, record header, Ethernet, IPv4, UDP: it is the first frame.
    netflow9.fields.count.set(bytes, 24 + 16 + 14 + 20 + 8, Number(there))
  }
  writeFileSync(patched, bytes)
  return patched
}

const EXPORTERS = [
  ['softflowd', '/usr/sbin/softflowd', softflowd, 'softflowd'],
  ['pmacctd', '/usr/sbin/pmacctd', pmacctd, 'pmacct'],
] as const

for (const [name, path, start, debianPackage] of EXPORTERS) {
  for (const version of [5, 9, 10]) {
    test(`${name} ${version}: sums, times and every field as tshark has them`, async () => {
      const binary = findPackaged(debianPackage, path)
      if (binary === undefined) return skip(name === 'pmacctd' ? 'nfacctd' : name, `${name} is not there`)
      const capture = await exported(`${name}-v${version}`, start(binary, version))
      const { records, events, accounts } = read(capture)
      const [account, ...others] = accounts.accounts()
      assert.ok(account && others.length === 0)
      const { in: arrived, situation, replication } = readingOf(account)
      assert.equal([arrived.packets, arrived.bytes], [BigInt(PACKETS), BigInt(PACKETS * IP_BYTES)])
      assert.equal([situation, replication.kind, account.key.tos], ['ingress', 'absent', 0xb8])
      const [{ firstMs = 0, lastMs = 0 } = {}] = account.entries
      const lengthMs = (PACKETS / 500) * 1000 - 2
      assert.ok(Math.abs(firstMs - BASE_SECONDS * 1000) < 1500, `first ${firstMs} of ${BASE_SECONDS * 1000}`)
      assert.ok(Math.abs(lastMs - firstMs - lengthMs) < 10, `${lastMs - firstMs} of ${lengthMs} ms`)
      const known = name === 'softflowd' && version === 9 ? ['count'] : []
      assert.equal(
        events.map(({ kind }) => kind),
        known,
      )
      agree(withCounts(capture, events), records.length)
    })
  }
}

function agree(path: string, records: number): void {
  const ours = ourFlows(path, [PORT])
  assert.is(tsharkTrouble(path), '')
  assert.ok(ours.records >= records)
  for (const [number, fields] of tsharkFlows(path))
    assert.equal(fields, ours.frames.get(number) ?? {}, `frame ${number}`)
}

test('kept exports of the same programs still read', () => {
  const exports = fileURLToPath(new URL('testdata/exports', import.meta.url))
  for (const file of readdirSync(exports)) {
    const [account] = read(join(exports, file)).accounts.accounts()
    assert.is(account && readingOf(account).in.packets, 4000n, file)
  }
})

test.run()
