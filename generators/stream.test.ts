import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { matchFrame } from './frame.ts'
import { hexOf } from './hex.ts'
import { openSentLog } from './sent.ts'
import { readSent, type SentFile } from './sent-read.ts'
import { compile } from './stream.ts'
import type { StreamSpec } from './stream-spec.ts'
import type { SentReport } from './transmit/engine.ts'
import { openPcapFileEngine } from './transmit/pcapfile.ts'
import { parseIpv4 } from './wire/address.ts'
import { ipv4, ipv4ChecksumOk } from './wire/ipv4.ts'
import { readStamp } from './wire/stamp.ts'
import { udp, udpChecksumState } from './wire/udp.ts'

const test = suite('streams')

const G = parseIpv4('233.252.0.1')
const RUN_START_NS = 1_700_000_000_000_000_000n
const NEVER = new AbortController().signal

let folder: string
test.before(() => {
  folder = mkdtempSync(join(tmpdir(), 'stream-test-'))
})
test.after(() => rmSync(folder, { recursive: true }))

function spec(given: Partial<StreamSpec> = {}): StreamSpec {
  const frame = { ipv4: { dst: G }, udp: {} }
  return { number: 7, name: 'case:s1', frame, stamped: true, count: 10, rate: { pps: 1000 }, ...given }
}

interface Sent {
  reports: SentReport[]
  log: SentFile
  /** As a pcap reader that is not ours to test would see them: time since the run's start, bytes. */
  written: { timeNs: number; bytes: Uint8Array }[]
}

async function send(...specs: StreamSpec[]): Promise<Sent> {
  const [path, logPath] = [join(folder, 'out.pcap'), join(folder, 'sent.bin')]
  rmSync(logPath, { force: true })
  const log = openSentLog(logPath, RUN_START_NS)
  const engine = openPcapFileEngine({ path, record: log })
  const streams = specs.map(one => compile(one, { runId: 42, runStartNs: RUN_START_NS }))
  const reports = await engine.send(streams, NEVER)
  engine.close()
  log.close()
  return { reports, log: readSent(logPath), written: records(readFileSync(path)) }
}

function records(file: Buffer): Sent['written'] {
  const found: Sent['written'] = []
  for (let at = 24; at < file.length; ) {
    const length = file.readUInt32LE(at + 8)
    const ns = BigInt(file.readUInt32LE(at)) * 1_000_000_000n + BigInt(file.readUInt32LE(at + 4))
    found.push({ timeNs: Number(ns - RUN_START_NS), bytes: file.subarray(at + 16, at + 16 + length) })
    at += 16 + length
  }
  return found
}

const sequenceOf = (bytes: Uint8Array) => readStamp(bytes, 42, bytes.length)?.sequence

test('count, sequences, stamps, checksums', async () => {
  const { written, reports } = await send(spec({ firstSequence: 0xffff_fffe }))
  assert.equal(written.map(({ bytes }) => sequenceOf(bytes)).slice(0, 4), [0xffff_fffe, 0xffff_ffff, 0, 1])
  for (const { bytes, timeNs } of written) {
    assert.is(bytes.length, 60)
    assert.is(udpChecksumState(bytes, 14, 34, 60), 'right')
    const { run, stream, timeUs } = readStamp(bytes, 42, 60) ?? {}
    assert.equal([run, stream, timeUs], [42, 7, Math.floor(timeNs / 1000)])
  }
  assert.equal([reports[0]?.count, reports[0]?.frames, reports[0]?.bytes], [10, 10, 600])
})

test('the sent log rebuilds every byte, its times are those of the packets', async () => {
  const { written, log } = await send(
    spec({ count: 500, lengths: { sweepBytes: [60, 128, 1514] }, rate: 'max' }),
    spec({ number: 8, count: 300, frame: { ipv4: { dst: G + 1 }, udp: { dstPort: 9 } }, rate: 'max' }),
  )
  assert.equal(log.problems, [])
  const rebuilt = new Map<string, number>()
  for (const stream of log.streams) {
    for (let k = 0; k < stream.count; k++) rebuilt.set(stream.frames(k).map(hexOf).join(), stream.timeNs(k))
  }
  assert.is(rebuilt.size, 800)
  for (const { bytes, timeNs } of written) {
    const logged = rebuilt.get(hexOf(bytes))
    assert.ok(logged !== undefined, 'a frame that the log does not know')
    assert.ok(Math.abs(logged - timeNs) < 2_000_000, `${logged} against ${timeNs}`)
  }
})

test('pps: gaps and rate', async () => {
  const { written, reports, log } = await send(spec({ count: 1000, rate: { pps: 8000 } }))
  const gaps = written.slice(1).map(({ timeNs }, i) => timeNs - (written[i]?.timeNs ?? 0))
  assert.ok(
    gaps.every(gap => Math.abs(gap - 125_000) < 200),
    String(Math.max(...gaps)),
  )
  assert.ok(Math.abs((reports[0]?.pps ?? 0) - 8000) < 1)
  assert.ok(Math.abs((reports[0]?.gapsUs?.mean ?? 0) - 125) < 0.1)
  assert.equal(log.streams[0]?.report(), reports[0])
})

test('bit/s counts frame bytes', async () => {
  const { reports } = await send(spec({ count: 1000, rate: { bitsPerSecond: 1e6 }, lengths: { bytes: 125 } }))
  assert.ok(Math.abs((reports[0]?.pps ?? 0) - 1000) < 1)
  assert.ok(Math.abs((reports[0]?.bitsPerSecond ?? 0) - 1e6) < 1000)
})

test('bursts: back to back, then the gap', async () => {
  const { written } = await send(spec({ count: 30, rate: 'max', burst: { frames: 10, gapUs: 5000 } }))
  const gaps = written.slice(1).map(({ timeNs }, i) => timeNs - (written[i]?.timeNs ?? 0))
  gaps.forEach((gap, i) => {
    if (i % 10 === 9) assert.ok(gap > 4_900_000 && gap < 5_100_000, `gap ${i}: ${gap}`)
    else assert.ok(gap < 1000, `gap ${i}: ${gap}`)
  })
})

test('a duration ends a stream without a count, and with one whichever is first', async () => {
  const { count: _, ...endless } = spec({ durationMs: 100 })
  assert.is((await send(endless)).written.length, 100)
  assert.is((await send(spec({ durationMs: 100, count: 40 }))).written.length, 40)
})

test('IMIX 7:4:1, spread, and every destination gets the whole mix', async () => {
  const destinations = [
    { group: G, port: 5001 },
    { group: G + 1, port: 5002 },
  ]
  const mix = [
    { bytes: 60, weight: 7 },
    { bytes: 590, weight: 4 },
    { bytes: 1514, weight: 1 },
  ]
  const { written } = await send(spec({ count: 48, destinations, lengths: { mix } }))
  for (const { group, port } of destinations) {
    const mine = written.filter(
      ({ bytes }) => matchFrame({ ipv4: { dst: group }, udp: { dstPort: port } }, bytes).length === 0,
    )
    const lengths = mine.map(({ bytes }) => bytes.length)
    assert.equal(
      [60, 590, 1514].map(length => lengths.filter(seen => seen === length).length),
      [14, 8, 2],
    )
    assert.is(
      mine.every(({ bytes }) => ipv4ChecksumOk(bytes, 14) && udpChecksumState(bytes, 14, 34, bytes.length) === 'right'),
      true,
    )
  }
  assert.not.equal(
    written.slice(0, 14).map(({ bytes }) => bytes.length),
    new Array(14).fill(60),
  )
})

test('fragments: the ID follows the sequence, the head has the stamp, order as asked', async () => {
  for (const fragmentOrder of ['forward', 'reverse'] as const) {
    const { written, log } = await send(spec({ count: 3, lengths: { bytes: 1014 }, fragmentBytes: 420, fragmentOrder }))
    assert.is(written.length, 9)
    const offsets = written.map(({ bytes }) => ipv4.fields.fragmentOffset.get(bytes, 14))
    assert.equal(offsets.slice(0, 3), fragmentOrder === 'forward' ? [0, 50, 100] : [100, 50, 0])
    const ids = written.map(({ bytes }) => ipv4.fields.id.get(bytes, 14))
    assert.equal(new Set(ids).size, 3)
    assert.is(ids[3], ((ids[0] ?? 0) + 1) & 0xffff)
    assert.ok(written.every(({ bytes }) => ipv4ChecksumOk(bytes, 14)))
    const heads = written.filter(({ bytes }) => ipv4.fields.fragmentOffset.get(bytes, 14) === 0)
    assert.equal(
      heads.map(({ bytes }) => sequenceOf(bytes)),
      [0, 1, 2],
    )
    assert.equal(
      log.streams[0]?.frames(1).map(hexOf),
      written.slice(3, 6).map(({ bytes }) => hexOf(bytes)),
    )
    assert.is(reassembled(written.slice(0, 3).map(({ bytes }) => bytes)), 'right')
  }
})

/** The UDP checksum of the datagram that the fragments make. */
function reassembled(fragments: Uint8Array[]): string {
  const whole = new Uint8Array(1014)
  for (const bytes of fragments) {
    const end = 14 + ipv4.fields.totalLength.get(bytes, 14)
    whole.set(bytes.subarray(0, 34))
    whole.set(bytes.subarray(34, end), 34 + 8 * ipv4.fields.fragmentOffset.get(bytes, 14))
  }
  assert.is(udp.fields.length.get(whole, 34), 1014 - 34)
  return udpChecksumState(whole, 14, 34, 1014)
}

test('a stream inside a tunnel is stamped inside', async () => {
  const outer = { ipv4: { dst: parseIpv4('192.0.2.9') }, vxlan: { vni: 42 }, inner: { ipv4: { dst: G }, udp: {} } }
  const { written } = await send(spec({ frame: outer, lengths: { bytes: 200 } }))
  const last = written.at(-1)?.bytes ?? new Uint8Array()
  assert.is(last.length, 200)
  assert.is(readStamp(last, 14 + 20 + 8 + 8 + 42, 200)?.sequence, 9)
  assert.is(udpChecksumState(last, 64, 84, 200), 'right')
})

test('an unstamped stream leaves its payload alone; a stamped one has it behind the stamp', async () => {
  const frame = { ipv4: { dst: G }, udp: {}, payload: '68656c6c6f' }
  const plain = (await send(spec({ stamped: false, frame }))).written[0]?.bytes ?? new Uint8Array()
  assert.is(hexOf(plain.subarray(42, 47)), '68656c6c6f')
  const stamped = (await send(spec({ frame }))).written[0]?.bytes ?? new Uint8Array()
  assert.is(hexOf(stamped.subarray(60, 65)), '68656c6c6f')
  for (const bytes of [plain, stamped]) assert.equal(matchFrame(frame, bytes), [])
})

for (const [what, given, message] of [
  ['too short a frame', { lengths: { bytes: 59 } }, /lengths: 59 bytes are too few, .* take 60/],
  ['a stamp in IGMP', { frame: { igmp: { group: G } } }, /only frames with udp/],
  ['a fragment that cuts the stamp', { lengths: { bytes: 200 }, fragmentBytes: 36 }, /cuts the stamp/],
  ['neither count nor duration', { count: undefined }, /needs count or durationMs/],
  ['no rate', { rate: { pps: 0 } }, /rate: 0 is not above 0/],
  ['a number of 25 bits', { number: 1 << 24 }, /24 bits/],
] as const) {
  test(`refuses ${what}, naming the stream`, () => {
    const bad = { ...spec(), ...given } as StreamSpec
    assert.throws(() => compile(bad, { runId: 1, runStartNs: 0n }), message)
    assert.throws(() => compile(bad, { runId: 1, runStartNs: 0n }), /stream case:s1/)
  })
}

test.run()
