import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { openCapture } from './capture-file.ts'
import { PcapWriter } from './pcap.ts'
import { NanosecondClock, PcapngWriter } from './pcapng-writer.ts'
import { stampedFrame } from './testdata/frames.ts'

const test = suite('pcapng')
let directory = ''
test.before(() => {
  directory = mkdtempSync(join(tmpdir(), 'castproof-pcapng-'))
})
test.after(() => rmSync(directory, { recursive: true }))
const path = (name: string) => join(directory, name)
const run = (...command: string[]) =>
  execFileSync(command[0] as string, command.slice(1), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })

interface Read {
  hex: string
  originalLength: number
  time: string
  interfaceId: number
  direction: number
  checksumNotReady: boolean
  comment: string
}

function readAll(file: string): { frames: Read[]; names: string[]; problem: string; dropped: (number | undefined)[] } {
  const capture = openCapture(file)
  const frames: Read[] = []
  const raw = readFileSync(file)
  capture.read(frame => {
    const hex = Buffer.from(frame.bytes.subarray(frame.at, frame.at + frame.length)).toString('hex')
    assert.is(raw.subarray(frame.fileOffset, frame.fileOffset + frame.length).toString('hex'), hex, 'file offset')
    const { originalLength, interfaceId, direction, checksumNotReady, comment } = frame
    const time = `${frame.seconds}.${String(frame.nanoseconds).padStart(9, '0')}`
    frames.push({ hex, originalLength, time, interfaceId, direction, checksumNotReady, comment })
  })
  capture.close()
  const problem = capture.problem ? `${capture.problem.at}: ${capture.problem.why}` : ''
  const { interfaces } = capture
  return {
    frames,
    problem,
    names: interfaces.map(known => known.name),
    dropped: interfaces.map(known => known.dropped),
  }
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const SECONDS = 1_900_000_000

/** Two interfaces, the second described late; all lengths of padding; a snapped frame; a comment. */
function writeSample(file: string): Uint8Array[] {
  const writer = new PcapngWriter(file)
  const frames = [0, 1, 2, 3].map(i => stampedFrame(1, i, { payloadBytes: 40 + i }))
  const first = writer.addInterface('n1/eth0')
  for (const [i, frame] of frames.entries()) {
    const id = i === 2 ? writer.addInterface('rx/eth0') : i > 2 ? 1 : first
    const comment = i === 1 ? 'copy to a non-member — später' : ''
    writer.frame(id, frame, 0, frame.length, frame.length, SECONDS, 999_999_996 + i, (i % 2) + 1, i === 3, comment)
  }
  writer.frame(0, frames[0] as Uint8Array, 0, 50, 1500, SECONDS + 1, 5, 0)
  writer.statistics(0, 3, 7, 'ring shared by 2 interfaces')
  writer.close()
  return frames
}

test('tshark and capinfos read names, directions, comments, times and lengths', () => {
  writeSample(path('ours.pcapng'))
  const fields = ['number', 'interface_name', 'packet_flags_direction', 'comment', 'time_epoch', 'len', 'cap_len']
  const columns = fields.flatMap(field => ['-e', `frame.${field}`])
  const text = run('tshark', '-r', path('ours.pcapng'), '-T', 'fields', '-E', 'separator=;', ...columns)
  assert.is(
    text,
    `1;n1/eth0;0x00000001;;${SECONDS}.999999996;82;82\n` +
      `2;n1/eth0;0x00000002;copy to a non-member — später;${SECONDS}.999999997;83;83\n` +
      `3;rx/eth0;0x00000001;;${SECONDS}.999999998;84;84\n` +
      `4;rx/eth0;0x00000002;;${SECONDS}.999999999;85;85\n` +
      `5;n1/eth0;0x00000000;;${SECONDS + 1}.000000005;1500;50\n`,
  )
  const info = run('capinfos', '-M', path('ours.pcapng'))
  assert.match(info, /Number of interfaces in file: 2/)
  assert.match(info, /Number of packets: +5/)
  assert.match(info, /Capture application: +castproof/)
  assert.match(info, /nanoseconds \(9\)/)
})

test('what was written is read again', () => {
  const frames = writeSample(path('again.pcapng'))
  const { frames: read, names, problem, dropped } = readAll(path('again.pcapng'))
  assert.is(problem, '')
  assert.equal(names, ['n1/eth0', 'rx/eth0'])
  assert.equal(dropped, [7, undefined])
  assert.is(
    read.map(frame => frame.hex).join('\n'),
    [...frames.map(hex), hex(frames[0] as Uint8Array).slice(0, 100)].join('\n'),
  )
  assert.is(read.map(frame => frame.interfaceId).join(''), '00110')
  assert.is(read.map(frame => frame.direction).join(''), '12120')
  assert.is(read.map(frame => (frame.checksumNotReady ? 1 : 0)).join(''), '00010')
  assert.is(read[1]?.comment, 'copy to a non-member — später')
  assert.is(read[3]?.time, `${SECONDS}.999999999`)
  assert.is(read[4]?.originalLength, 1500)
})

test("editcap's pcapng and pcaps, in nanoseconds and microseconds", () => {
  writeSample(path('source.pcapng'))
  const want = readAll(path('source.pcapng')).frames
  for (const format of ['pcapng', 'nsecpcap', 'pcap']) {
    // One link type and no interface names in classic pcap.
    run('editcap', '-F', format, path('source.pcapng'), path('edited'))
    const got = readAll(path('edited'))
    assert.is(got.problem, '')
    assert.is(got.frames.map(frame => frame.hex).join(), want.map(frame => frame.hex).join())
    const cut = format === 'pcap' ? -3 : undefined
    assert.is(
      got.frames.map(frame => frame.time.slice(0, cut)).join(),
      want.map(frame => frame.time.slice(0, cut)).join(),
      format,
    )
  }
  run('editcap', path('source.pcapng'), path('copy.pcapng'))
  assert.equal(readAll(path('copy.pcapng')).names, ['n1/eth0', 'rx/eth0'])
  assert.equal(readAll(path('copy.pcapng')).frames, want)
})

test('tcpdump reads our classic pcap', () => {
  const writer = new PcapWriter(path('classic.pcap'))
  writer.frame(stampedFrame(1, 0), 1_000_000, 123_456_789)
  writer.close()
  assert.match(
    run('tcpdump', '-tt', '-nr', path('classic.pcap')),
    /^1000000\.123456(789)? IP 10\.0\.0\.1\.4000 > 233\.252\.0\.1\.5001: UDP, length 18/,
  )
  assert.is(readAll(path('classic.pcap')).frames[0]?.time, '1000000.123456789')
})

/** A block by hand, in either byte order, so that a mistake shared by writer and reader shows. */
function block(little: boolean, type: number, body: Buffer): Buffer {
  const padding = Buffer.alloc((4 - (body.length % 4)) % 4)
  const total = body.length + padding.length + 12
  return Buffer.concat([words(little, type, total), body, padding, words(little, total)])
}

function words(little: boolean, ...values: number[]): Buffer {
  const buffer = Buffer.alloc(values.length * 4)
  for (const [i, value] of values.entries())
    little ? buffer.writeUInt32LE(value, i * 4) : buffer.writeUInt32BE(value, i * 4)
  return buffer
}

function halves(little: boolean, ...values: number[]): Buffer {
  const buffer = Buffer.alloc(values.length * 2)
  for (const [i, value] of values.entries())
    little ? buffer.writeUInt16LE(value, i * 2) : buffer.writeUInt16BE(value, i * 2)
  return buffer
}

function section(little: boolean, ...blocks: Buffer[]): Buffer {
  const body = Buffer.concat([words(little, 0x1a2b3c4d), halves(little, 1, 0), Buffer.alloc(8, 0xff)])
  return Buffer.concat([block(little, 0x0a0d0d0a, body), ...blocks])
}

function idb(little: boolean, snapLength: number, ...options: Buffer[]): Buffer {
  return block(little, 1, Buffer.concat([halves(little, 1, 0), words(little, snapLength), ...options]))
}

const resolution = (little: boolean, value: number) => Buffer.concat([halves(little, 9, 1), Buffer.of(value, 0, 0, 0)])

function epb(little: boolean, id: number, units: bigint, data: Buffer): Buffer {
  const head = words(little, id, Number(units >> 32n), Number(units & 0xffffffffn), data.length, data.length)
  return block(little, 6, Buffer.concat([head, data]))
}

test('both byte orders, several sections, any resolution and offset, unknown and simple blocks', () => {
  const data = Buffer.from('0102030405', 'hex')
  const offset = Buffer.concat([halves(false, 14, 8), Buffer.from('0000000000000064', 'hex')])
  const file = Buffer.concat([
    section(false, idb(false, 0), epb(false, 0, 1_700_000_000_123_456n, data)),
    section(
      true,
      idb(true, 3, resolution(true, 0x80 | 10)),
      block(true, 0x0bad, Buffer.alloc(2_500_000)),
      epb(true, 0, (7n << 10n) | 512n, data),
      block(true, 3, Buffer.concat([words(true, 5), data.subarray(0, 3)])),
    ),
    section(false, idb(false, 0, offset, resolution(false, 3)), epb(false, 0, 5_250n, data)),
  ])
  writeFileSync(path('mixed.pcapng'), file)
  const { frames, problem } = readAll(path('mixed.pcapng'))
  assert.is(problem, '')
  assert.equal(
    frames.map(frame => `${frame.interfaceId} ${frame.time} ${frame.hex} ${frame.originalLength}`),
    [
      '0 1700000000.123456000 0102030405 5',
      '1 7.500000000 0102030405 5',
      '1 0.000000000 010203 5',
      '2 105.250000000 0102030405 5',
    ],
  )
})

test('truncated at any byte: every whole frame is read, and the rest is a problem with its place', () => {
  writeSample(path('whole.pcapng'))
  const whole = readFileSync(path('whole.pcapng'))
  const all = readAll(path('whole.pcapng')).frames
  const ends = blockEnds(whole)
  for (let length = 0; length <= whole.length; length++) {
    writeFileSync(path('cut.pcapng'), whole.subarray(0, length))
    const { frames, problem } = readAll(path('cut.pcapng'))
    assert.equal(frames, all.slice(0, frames.length))
    assert.is(problem === '', ends.has(length), `cut at ${length}: ${problem}`)
    if (length === whole.length - 1) assert.is(frames.length, all.length)
  }
})

function blockEnds(file: Buffer): Set<number> {
  const ends = new Set<number>()
  for (let at = 0; at < file.length; at += file.readUInt32LE(at + 4)) ends.add(at + file.readUInt32LE(at + 4))
  return ends
}

test('named problems: no capture at all, lengths that lie, an interface that is not there', () => {
  const problemOf = (bytes: Buffer) => {
    writeFileSync(path('bad'), bytes)
    return readAll(path('bad')).problem
  }
  assert.is(problemOf(Buffer.alloc(0)), '0: empty file')
  assert.is(problemOf(Buffer.from('hello, multicast!')), '0: neither pcapng nor pcap')
  assert.is(problemOf(section(true, words(true, 6, 0, 0))), '28: block length 0 cannot be right')
  assert.is(
    problemOf(section(true, epb(true, 3, 0n, Buffer.alloc(8)))),
    '28: packet of interface 3, which is not described',
  )
  const lies = epb(true, 0, 0n, Buffer.alloc(8))
  lies.writeUInt32LE(9, 20)
  assert.is(problemOf(section(true, idb(true, 0), lies)), '48: captured length is longer than the block')
  const trailer = epb(true, 0, 0n, Buffer.alloc(8))
  trailer.writeUInt32LE(44, trailer.length - 4)
  assert.is(problemOf(section(true, idb(true, 0), trailer)), '48: block lengths at start and end differ')
})

test('property: a mutated file never throws and always ends', () => {
  writeSample(path('seed.pcapng'))
  const classic = new PcapWriter(path('seed.pcap'))
  for (let i = 0; i < 5; i++) classic.frame(stampedFrame(1, i), i, i)
  classic.close()
  const seeds = ['seed.pcapng', 'seed.pcap'].map(name => readFileSync(path(name)))
  const mutation = fc.record({
    at: fc.nat(),
    value: fc.constantFrom(0, 1, 4, 12, 0x7f, 0x80, 0xff),
    width: fc.constantFrom(1, 4),
  })
  fc.assert(
    fc.property(fc.constantFrom(...seeds), fc.array(mutation, { minLength: 1, maxLength: 6 }), (seed, mutations) => {
      const bytes = Buffer.from(seed)
      for (const { at, value, width } of mutations)
        bytes
          .subarray(at % bytes.length)
          .subarray(0, width)
          .fill(value)
      writeFileSync(path('mutated'), bytes)
      assert.ok(readAll(path('mutated')).frames.length <= bytes.length / 16)
    }),
    { numRuns: 1000, includeErrorInReport: true },
  )
})

test("property: the clock's two halves are the 64-bit product", () => {
  const clock = new NanosecondClock()
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 0xffff_ffff }),
      fc.integer({ min: 0, max: 999_999_999 }),
      (seconds, nanoseconds) => {
        clock.set(seconds, nanoseconds)
        assert.is(
          (BigInt(clock.high) << 32n) | BigInt(clock.low),
          BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds),
        )
      },
    ),
  )
})

test.run()
