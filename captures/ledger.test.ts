import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { matchFrame } from '../generators/frame.ts'
import { ipv4 } from '../generators/wire/ipv4.ts'
import { suite } from '../test/suite.ts'
import { writeEvidence } from './evidence.ts'
import { buildLedger, openLedger } from './ledger.ts'
import type { Ledger } from './ledger-types.ts'
import { PcapngWriter } from './pcapng-writer.ts'
import { findFrames } from './query.ts'
import { DIRECTION } from './record.ts'
import { captureFiles, openRecording } from './recording.ts'
import { fragmentsOf, inVxlan, RUN, stampedFrame, tagged } from './testdata/frames.ts'
import { timeOrder } from './time-order.ts'

const test = suite('ledger')
let directory = ''
test.beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'castproof-ledger-'))
  mkdirSync(join(directory, 'taps'))
})
test.afterEach(() => rmSync(directory, { recursive: true }))
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const SECONDS = 1_800_000_000

/** What a test says of a frame: at which tap, when, which way, which bytes. */
interface Planned {
  tap: string
  us: number
  direction?: number
  frame: Uint8Array
  cut?: number
}

function write(file: string, frames: readonly Planned[], taps: readonly string[] = []): void {
  const writer = new PcapngWriter(join(directory, 'taps', file))
  const ids = new Map<string, number>()
  for (const tap of [...taps, ...frames.map(frame => frame.tap)])
    if (!ids.has(tap)) ids.set(tap, writer.addInterface(tap))
  for (const { tap, us, direction, frame, cut } of frames) {
    const [seconds, nanoseconds] = [SECONDS + Math.floor(us / 1e6), (us % 1e6) * 1000]
    writer.frame(
      ids.get(tap) as number,
      frame,
      0,
      cut ?? frame.length,
      frame.length,
      seconds,
      nanoseconds,
      direction ?? DIRECTION.in,
    )
  }
  writer.close()
}

/** Each sighting as text: stream/sequence@tap and what else is not ordinary. */
function rows(ledger: Ledger, tapName: (tap: number) => string): string[] {
  return Array.from({ length: ledger.count }, (_, i) => {
    const offset = ledger.fragmentOffset(i) ? ` +${ledger.fragmentOffset(i)}` : ''
    const levels = ledger.levels(i) ? ` levels ${ledger.levels(i)} inner ${ledger.innerAt(i)}` : ''
    return `${ledger.stream(i)}/${ledger.sequence(i)}@${tapName(ledger.tap(i))}${offset}${levels}`
  })
}

function open(files?: string[]) {
  const { recording, ledger } = openLedger(directory, files, { runId: RUN })
  const tap = (name: string) => recording.taps.findIndex(known => known.name === name)
  return { recording, ledger, tap, rows: rows(ledger, i => recording.taps[i]?.name ?? '?') }
}

test('sightings of two files in one order of time, at any depth, with their taps', () => {
  write('a.pcapng', [
    { tap: 'n1/lxc', us: 10, frame: stampedFrame(1, 0) },
    { tap: 'n1/eth0', us: 12, direction: DIRECTION.out, frame: inVxlan(stampedFrame(1, 0)) },
    { tap: 'n1/lxc', us: 30, frame: stampedFrame(2, 7) },
  ])
  write('b.pcapng', [
    { tap: 'n2/eth0', us: 15, frame: inVxlan(inVxlan(stampedFrame(1, 0))) },
    { tap: 'rx/eth0', us: 18, frame: tagged(stampedFrame(1, 0), 5) },
    { tap: 'rx/eth0', us: 20, frame: stampedFrame(1, 0) },
  ])
  const { ledger, recording, tap, rows } = open()
  assert.equal(rows, [
    '1/0@n1/lxc',
    '1/0@n1/eth0 levels 1 inner 50',
    '1/0@n2/eth0 levels 2 inner 100',
    '1/0@rx/eth0',
    '1/0@rx/eth0',
    '2/7@n1/lxc',
  ])
  assert.equal([...ledger.sightings(tap('rx/eth0'), 1, DIRECTION.in)], [3, 4])
  assert.equal([...ledger.copies(tap('rx/eth0'), 1, DIRECTION.in, 2)], [2, 0])
  assert.equal([...ledger.sightings(tap('n1/eth0'), 1, DIRECTION.in)], [])
  assert.equal([...ledger.sightings(tap('n1/eth0'), 1, DIRECTION.out)], [1])
  assert.equal([...ledger.sightings(tap('n1/eth0') + 1, 1, DIRECTION.unknown)], [], 'no other group has the same key')
  assert.is(ledger.timeNs(3) - ledger.timeNs(0), 8000)
  assert.is(recording.baseNs, BigInt(SECONDS) * 1_000_000_000n)
  assert.is(hex(recording.bytes(ledger.frame(4))), hex(stampedFrame(1, 0)))
  assert.equal(recording.taps[tap('rx/eth0')], { name: 'rx/eth0', file: 'taps/b.pcapng', interfaceId: 1 })
  assert.is(recording.frameNumber(ledger.frame(4)), 3)
  recording.close()
})

test("fragments: tails before their head, another tap's head, identifications used again, and strangers", () => {
  const datagram = (sequence: number, id: number) =>
    fragmentsOf(stampedFrame(1, sequence, { id, payloadBytes: 120 }), 64)
  const [head, tail] = datagram(5, 77) as [Uint8Array, Uint8Array]
  const [laterHead, laterTail] = datagram(900, 77) as [Uint8Array, Uint8Array]
  const [, orphan] = datagram(6, 78) as [Uint8Array, Uint8Array]
  const [encapsulatedHead, encapsulatedTail] = datagram(7, 79) as [Uint8Array, Uint8Array]
  write('a.pcapng', [
    { tap: 'rx/eth0', us: 10, frame: tail },
    { tap: 'rx/eth0', us: 11, frame: head },
    { tap: 'rx/eth0', us: 13, frame: orphan },
    { tap: 'r2/eth0', us: 14, frame: tail },
    { tap: 'n1/eth0', us: 15, frame: inVxlan(encapsulatedHead) },
    { tap: 'n1/eth0', us: 16, frame: inVxlan(encapsulatedTail) },
    { tap: 'rx/eth0', us: 900_000, frame: laterTail },
    { tap: 'rx/eth0', us: 900_001, frame: laterHead },
  ])
  const { ledger, recording, rows } = open()
  assert.equal(rows, [
    '1/5@rx/eth0 +64',
    '1/5@rx/eth0',
    '1/5@r2/eth0 +64',
    '1/7@n1/eth0 levels 1 inner 50',
    '1/7@n1/eth0 +64 levels 1 inner 50',
    '1/900@rx/eth0 +64',
    '1/900@rx/eth0',
  ])
  assert.equal(ledger.background, { 'ipv4 fragment': 1 })
  assert.is(ipv4.fields.fragmentOffset.get(recording.bytes(ledger.frame(0)), ledger.innerAt(0) + 14), 8)
  recording.close()
})

test('fragments of the tunnel: the outer tail belongs to the stamped datagram inside its head', () => {
  const [head, tail] = fragmentsOf(inVxlan(stampedFrame(1, 3, { payloadBytes: 200 })), 160) as [Uint8Array, Uint8Array]
  write('a.pcapng', [
    { tap: 'n1/eth0', us: 1, frame: head },
    { tap: 'n1/eth0', us: 2, frame: tail },
  ])
  const { rows, recording } = open()
  assert.equal(rows, ['1/3@n1/eth0 levels 1 inner 50', '1/3@n1/eth0 +160'])
  recording.close()
})

test('background by short names; a stamp of another run is none of ours; a cut frame still is', () => {
  const arp = stampedFrame(1, 0)
  arp.set([0x08, 0x06], 12)
  const plain = stampedFrame(1, 0)
  plain[42] = 0
  const broken = stampedFrame(1, 0)
  broken[14] = 0x44
  const lldp = stampedFrame(1, 0)
  lldp.set([0x88, 0xcc], 12)
  write('a.pcapng', [
    { tap: 't', us: 1, frame: arp },
    { tap: 't', us: 2, frame: plain },
    { tap: 't', us: 3, frame: stampedFrame(1, 0, { run: 5 }) },
    { tap: 't', us: 4, frame: broken },
    { tap: 't', us: 5, frame: inVxlan(arp) },
    { tap: 't', us: 6, frame: lldp },
    { tap: 't', us: 7, frame: stampedFrame(4, 4, { payloadBytes: 500 }), cut: 80 },
    { tap: 't', us: 8, frame: stampedFrame(5, 5, { payloadBytes: 500 }), cut: 55 },
  ])
  const { ledger, rows, recording } = open()
  assert.equal(rows, ['4/4@t'])
  assert.equal(ledger.background, {
    arp: 1,
    'udp 233.252.0.1:5001': 2,
    'stamp of another run': 1,
    'malformed ipv4': 1,
    'vxlan arp': 1,
    'ethertype 0x88cc': 1,
  })
  assert.is(recording.originalLength(7), 542)
  assert.is(recording.bytes(7).length, 55)
  recording.close()
})

test('the second pass finds what the first found', () => {
  write(
    'a.pcapng',
    Array.from({ length: 3000 }, (_, i) => ({
      tap: `t${i % 3}`,
      us: i,
      frame: i % 2 ? stampedFrame(1, i) : inVxlan(stampedFrame(2, i, { payloadBytes: 700 })),
    })),
  )
  const { recording, rows: once } = open()
  const again = rows(buildLedger(recording, { runId: RUN }), i => recording.taps[i]?.name ?? '?')
  assert.equal(again, once)
  assert.is(again.length, 3000)
  recording.close()
})

test('bytes at random, over more blocks than the cache keeps', () => {
  const frameOf = (i: number) => stampedFrame(1, i, { payloadBytes: 18 + ((i * 7919) % 9000) })
  const count = 2500
  write(
    'a.pcapng',
    Array.from({ length: count }, (_, i) => ({ tap: 't', us: i, frame: frameOf(i) })),
  )
  const recording = openRecording(directory)
  for (let n = 0, i = 1; n < 3000; n++, i = (i * 1103 + 12345) % count)
    assert.is(hex(recording.bytes(i)), hex(frameOf(i)))
  assert.throws(() => recording.bytes(count), /no frame 2500 of 2500/)
  recording.close()
})

test('a damaged file gives what it has and says what it lacks', () => {
  write(
    'a.pcapng',
    [1, 2, 3].map(us => ({ tap: 'a', us, frame: stampedFrame(1, us) })),
  )
  write(
    'b.pcapng',
    [4].map(us => ({ tap: 'b', us, frame: stampedFrame(1, us) })),
  )
  const damaged = join(directory, 'taps', 'a.pcapng')
  truncateSync(damaged, statSync(damaged).size - 10)
  writeFileSync(join(directory, 'taps', 'c.pcapng'), 'not a capture')
  const { recording, rows } = open()
  assert.equal(rows, ['1/1@a', '1/2@a', '1/4@b'])
  assert.is(recording.problems.length, 2)
  assert.match(recording.problems[0] as string, /^taps\/a\.pcapng: byte \d+: file ends inside a block$/)
  assert.match(recording.problems[1] as string, /^taps\/c\.pcapng: byte 0: neither pcapng nor pcap$/)
  recording.close()
})

test('editcap and mergecap in between: dropped, doubled, merged frames are what the ledger then shows', () => {
  const frames = [0, 1, 2, 3].map(i => ({ tap: 'rx/eth0', us: i, frame: stampedFrame(1, i) }))
  write('a.pcapng', frames)
  const path = (name: string) => join(directory, 'taps', name)
  copyFileSync(path('a.pcapng'), join(directory, 'original.pcapng'))
  execFileSync('editcap', [join(directory, 'original.pcapng'), path('a.pcapng'), '2'], { stdio: 'ignore' })
  const cut = open()
  assert.equal([...cut.ledger.copies(0, 1, DIRECTION.in, 4)], [1, 0, 1, 1])
  cut.recording.close()
  const original = join(directory, 'original.pcapng')
  execFileSync('mergecap', ['-w', path('a.pcapng'), original, original], { stdio: 'ignore' })
  const merged = open()
  assert.equal([...merged.ledger.copies(0, 1, DIRECTION.in, 4)], [2, 2, 2, 2])
  assert.equal(
    merged.recording.taps.map(tap => tap.name),
    ['rx/eth0'],
  )
  merged.recording.close()
})

test('queries: a declared frame at its level, tap, direction and window', () => {
  write('a.pcapng', [
    { tap: 'rx', us: 5, frame: stampedFrame(1, 0) },
    { tap: 'eth0', us: 3, frame: inVxlan(stampedFrame(1, 1), 9) },
    { tap: 'rx', us: 1, direction: DIRECTION.out, frame: stampedFrame(1, 2, { dstPort: 6000 }) },
  ])
  const recording = openRecording(directory)
  const toGroup = (bytes: Uint8Array, at: number, end: number) =>
    matchFrame({ ipv4: { dst: 0xe9fc0001 } }, bytes, at, end).length === 0
  const found = (query: object) =>
    findFrames(recording, { matches: toGroup, ...query }).map(({ frame, level }) => `${frame}:${level}`)
  assert.equal(found({}), ['2:0', '1:1', '0:0'])
  assert.equal(found({ level: 0 }), ['2:0', '0:0'])
  assert.equal(found({ level: 1 }), ['1:1'])
  assert.equal(found({ tap: 0 }), ['2:0', '0:0'])
  assert.equal(found({ direction: DIRECTION.out }), ['2:0'])
  assert.equal(found({ afterNs: 3000, beforeNs: 5000 }), ['1:1'])
  recording.close()
})

test("evidence: notes become comments, names and times stay, and the numbers are the new file's", () => {
  write(
    'a.pcapng',
    [0, 1, 2].map(i => ({ tap: 'rx/eth0', us: 10 * i, frame: stampedFrame(1, i) })),
  )
  write('b.pcapng', [{ tap: 'n1/eth0', us: 5, direction: DIRECTION.out, frame: inVxlan(stampedFrame(1, 0)) }])
  const recording = openRecording(directory)
  const path = join(directory, 'evidence.pcapng')
  const numbers = writeEvidence(
    path,
    recording,
    new Map([
      [2, 'copy to a non-member'],
      [3, ''],
      [0, 'the stimulus'],
    ]),
  )
  assert.equal([...numbers].sort(), [
    [0, 1],
    [2, 3],
    [3, 2],
  ])
  const fields = [
    'frame.number',
    'frame.interface_name',
    'frame.comment',
    'frame.time_epoch',
    'frame.packet_flags_direction',
  ]
  const args = ['-r', path, '-T', 'fields', '-E', 'separator=;', ...fields.flatMap(field => ['-e', field])]
  assert.is(
    execFileSync('tshark', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
    `1;rx/eth0;the stimulus;${SECONDS}.000000000;0x00000001\n` +
      `2;n1/eth0;;${SECONDS}.000005000;0x00000002\n` +
      `3;rx/eth0;copy to a non-member;${SECONDS}.000020000;0x00000001\n`,
  )
  recording.close()
})

test('two sections that name the same interface are one tap', () => {
  write('a.pcapng', [{ tap: 'rx/eth0', us: 1, frame: stampedFrame(1, 0) }])
  const path = join(directory, 'taps', 'a.pcapng')
  writeFileSync(path, Buffer.concat([readFileSync(path), readFileSync(path)]))
  const { ledger, recording } = open()
  assert.equal(
    recording.taps.map(tap => tap.name),
    ['rx/eth0'],
  )
  assert.equal([...ledger.copies(0, 1, DIRECTION.in, 1)], [2])
  recording.close()
})

test('a directory without taps/ is searched itself; taps without frames are there', () => {
  write('a.pcapng', [{ tap: 'x', us: 1, frame: stampedFrame(1, 0) }], ['silent', 'x'])
  assert.equal(captureFiles(directory), ['taps/a.pcapng'])
  assert.equal(captureFiles(join(directory, 'taps')), ['a.pcapng'])
  const recording = openRecording(directory)
  assert.equal(
    recording.taps.map(tap => tap.name),
    ['x', 'silent'],
  )
  recording.close()
})

test('property: time order is a stable sort', () => {
  const jitter = fc.array(fc.tuple(fc.nat(3), fc.nat(50)), { maxLength: 400 })
  fc.assert(
    fc.property(jitter, steps => {
      // Several captures one after another, each nearly in order.
      const times = steps.map(([run, noise], i) => (run === 0 ? noise : i + (noise % 4)))
      const rows = timeOrder(times.length, row => times[row] as number)
      const want = times.map((_, i) => i).sort((a, b) => (times[a] as number) - (times[b] as number) || a - b)
      assert.equal([...(rows ?? want.keys())], want)
    }),
    { numRuns: 500 },
  )
})

test('time order of many long runs', () => {
  const perRun = 5000
  const times = Array.from({ length: 7 * perRun }, (_, i) => (i % perRun) * 7 + Math.floor(i / perRun))
  const rows = timeOrder(times.length, row => times[row] as number)
  assert.ok(rows?.every((row, i) => times[row] === i))
})

test('equal times of several captures stay in the order of the captures', () => {
  const perRun = 1000
  const times = Array.from({ length: 3 * perRun }, (_, i) => Math.floor((i % perRun) / 3))
  const want = times.map((_, i) => i).sort((a, b) => (times[a] as number) - (times[b] as number) || a - b)
  assert.is([...(timeOrder(times.length, row => times[row] as number) ?? [])].join(), want.join())
})

test.run()
