import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { buildFrame, fragment } from '../generators/frame.ts'
import type { FrameSpec } from '../generators/frame-spec.ts'
import { writeStamp } from '../generators/wire/stamp.ts'
import { suite } from '../test/suite.ts'
import { Dissection, dissect, PROTOCOL, PROTOCOL_NAMES, portTable } from './dissect.ts'
import { findStamp, locateStamp } from './locate.ts'
import { PcapWriter } from './pcap.ts'
import { summary } from './summary.ts'
import { fragmentsOf, inVxlan, RUN, stampedFrame, tagged } from './testdata/frames.ts'

const test = suite('dissect')
const PORTS = portTable([4789, 8472])

/** To a group, unless it says where to. */
function build(spec: FrameSpec): Uint8Array {
  const network = spec.arp || spec.ethernet?.etherType ? {} : { ipv4: { dst: 0xe9fc0001 } }
  return buildFrame(spec, network)
}

function layersOf(frame: Uint8Array, originalLength = frame.length): string {
  const layers = dissect(frame, 0, frame.length, new Dissection(), originalLength)
  const names = Array.from(
    { length: layers.count },
    (_, i) => `${PROTOCOL_NAMES[layers.protocol(i) ?? 99]}@${layers.at(i)}`,
  )
  return names.join(' ') + (layers.malformed ? ` ! ${layers.malformed.at} ${layers.malformed.why}` : '')
}

const CASES: [string, Uint8Array, string][] = [
  ['stamp', stampedFrame(1, 0), 'ethernet@0 ipv4@14 udp@34 stamp@42'],
  ['tagged twice', tagged(tagged(stampedFrame(1, 0), 7), 9), 'ethernet@0 vlan@14 vlan@18 ipv4@22 udp@42 stamp@50'],
  [
    'two VXLAN levels, IANA and Linux port',
    inVxlan(inVxlan(stampedFrame(1, 0), 5, 4789)),
    'ethernet@0 ipv4@14 udp@34 vxlan@42 ethernet@50 ipv4@64 udp@84 vxlan@92 ethernet@100 ipv4@114 udp@134 stamp@142',
  ],
  ["a stamp on VXLAN's port", stampedFrame(1, 0, { dstPort: 8472 }), 'ethernet@0 ipv4@14 udp@34 stamp@42'],
  ['ARP', build({ arp: { operation: 1 } }), 'ethernet@0 arp@14'],
  [
    'IGMP behind Router Alert',
    build({ ipv4: { options: '94040000' }, igmp: { type: 0x16, group: 0xe1000001 } }),
    'ethernet@0 ipv4@14 igmp@38',
  ],
  [
    'first fragment',
    fragmentsOf(stampedFrame(1, 0, { payloadBytes: 100 }), 48)[0] as Uint8Array,
    'ethernet@0 ipv4@14 udp@34 stamp@42',
  ],
  [
    'later fragment',
    fragmentsOf(stampedFrame(1, 0, { payloadBytes: 100 }), 48)[1] as Uint8Array,
    'ethernet@0 ipv4@14 fragment@34',
  ],
  ['ESP', build({ ipv4: { protocol: 50 }, payload: '00000001000000020102' }), 'ethernet@0 ipv4@14 esp@34'],
  ['ICMP', build({ ipv4: { protocol: 1 }, payload: '0800f7ff00000000' }), 'ethernet@0 ipv4@14 icmp@34'],
  ['unknown EtherType', build({ ethernet: { etherType: 0x88cc }, payload: '01' }), 'ethernet@0 payload@14'],
  ['IHL 4', build({ ipv4: { ihl: 4 }, udp: {} }), 'ethernet@0 ! 14 ipv4: IHL below 5'],
  ['version 6 in an IPv4 frame', build({ ipv4: { version: 6 }, udp: {} }), 'ethernet@0 ! 14 ipv4: version is not 4'],
  [
    'Total Length too long',
    build({ ipv4: { totalLength: 900 }, udp: {} }),
    'ethernet@0 ! 14 ipv4: Total Length past the end of the frame',
  ],
  ['UDP length 7', build({ udp: { length: 7 }, payload: '00' }), 'ethernet@0 ipv4@14 ! 34 udp: length below 8'],
  [
    'UDP length too long',
    build({ udp: { length: 99 }, payload: '00' }),
    'ethernet@0 ipv4@14 ! 34 udp: length past the end of the packet',
  ],
  [
    'VXLAN without I flag',
    build({ udp: { dstPort: 8472 }, vxlan: { flags: 0 }, inner: { arp: {} } }),
    'ethernet@0 ipv4@14 udp@34 vxlan@42 ethernet@50 arp@64',
  ],
  ['nothing', new Uint8Array(0), ' ! 0 ethernet: cut short'],
]
for (const [name, frame, want] of CASES) test(`layers: ${name}`, () => assert.is(layersOf(frame), want))

test('a frame cut by the capture keeps what is there; the same bytes as a whole frame are malformed', () => {
  const whole = stampedFrame(1, 0, { payloadBytes: 500 })
  const cut = whole.subarray(0, 64)
  assert.is(layersOf(cut, whole.length), 'ethernet@0 ipv4@14 udp@34 stamp@42')
  assert.is(layersOf(cut), 'ethernet@0 ! 14 ipv4: Total Length past the end of the frame')
})

test('offsets hold in the middle of a buffer, and bytes outside the frame are not looked at', () => {
  const frame = inVxlan(stampedFrame(1, 0))
  const buffer = new Uint8Array(frame.length + 40).fill(0xa5)
  buffer.set(frame, 20)
  const layers = dissect(buffer, 20, 20 + frame.length, new Dissection())
  assert.is(layers.innerAt, 70)
  assert.is(layers.levels, 1)
  assert.is(layers.at(layers.find(PROTOCOL.stamp)), 112)
  assert.is(layers.end(layers.find(PROTOCOL.stamp)), 130)
})

/** The ordinary value four times in five. */
function mostly<T>(ordinary: T, other: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 4, arbitrary: fc.constant(ordinary) }, { weight: 1, arbitrary: other })
}

const anyFrame = fc.uint8Array({ maxLength: 200 })
const somethingLikeAFrame = fc
  .record({
    levels: fc.nat(3),
    vlans: fc.constantFrom(0, 0, 0, 0, 1, 2),
    options: fc.constantFrom('', '', '', '', '94040000', '01010100'),
    port: fc.constantFrom(4789, 8472, 5001),
    run: fc.constantFrom(RUN, 7),
    bytes: fc.integer({ min: 18, max: 120 }),
    fragmentBytes: fc.constantFrom(0, 0, 0, 0, 0, 60),
    flags: fc.constantFrom(0, 2, 2, 2, 4, 1),
    udpLength: mostly<number | undefined>(undefined, fc.constantFrom(0, 8, 20, 26, 200)),
    totalLength: mostly<number | undefined>(undefined, fc.constantFrom(20, 46, 60, 300)),
    cut: mostly<number | undefined>(undefined, fc.nat(120)),
    changes: mostly<[number, number][]>([], fc.array(fc.tuple(fc.nat(220), fc.nat(255)), { maxLength: 3 })),
  })
  .map(shape => {
    let spec: FrameSpec = {
      vlan: Array.from({ length: shape.vlans }, () => ({ vid: 5 })),
      ipv4: {
        dst: 0xe9fc0001,
        flags: shape.flags,
        ...(shape.options ? { options: shape.options } : {}),
        ...(shape.totalLength === undefined ? {} : { totalLength: shape.totalLength }),
      },
      udp: { dstPort: shape.port, ...(shape.udpLength === undefined ? {} : { length: shape.udpLength }) },
      payload: stampHex(shape.run, shape.bytes),
    }
    for (let i = 0; i < shape.levels; i++)
      spec = { ipv4: { dst: 0xac100002 }, udp: { dstPort: shape.port }, vxlan: { vni: 1 }, inner: spec }
    const built = build(spec)
    const frame = shape.fragmentBytes ? (fragment(built, shape.fragmentBytes)[0] ?? built) : built
    for (const [at, value] of shape.changes) if (at < frame.length) frame[at] = value
    return { frame: frame.subarray(0, shape.cut ?? frame.length), originalLength: frame.length }
  })

function stampHex(run: number, bytes: number): string {
  const payload = new Uint8Array(bytes)
  writeStamp(payload, 0, { run, stream: 3, sequence: 4, timeUs: 5 })
  return Buffer.from(payload).toString('hex')
}

/** What the generic walk says, in the terms of the fast one. */
function generic(frame: Uint8Array, originalLength: number): string {
  const layers = dissect(frame, 0, frame.length, new Dissection(), originalLength, PORTS)
  if (layers.protocol(layers.count - 1) !== PROTOCOL.stamp) return 'none'
  return `${layers.at(layers.count - 1)} ${layers.innerAt} ${layers.levels}`
}

test('property: what the fast path finds is what the generic walk finds', () => {
  let found = 0
  fc.assert(
    fc.property(somethingLikeAFrame, ({ frame, originalLength }) => {
      const place = { stampAt: -1, innerAt: -1, levels: -1 }
      const fast = locateStamp(frame, 0, frame.length, PORTS, place)
      const want = generic(frame, originalLength)
      if (fast) {
        found++
        assert.is(`${place.stampAt} ${place.innerAt} ${place.levels}`, want)
      }
      const both = findStamp(frame, 0, frame.length, originalLength, PORTS, new Dissection(), place)
      assert.is(both ? `${place.stampAt} ${place.innerAt} ${place.levels}` : 'none', want)
    }),
    { numRuns: 3000 },
  )
  assert.ok(found > 300, `only ${found} frames took the fast path`)
})

test('the fast path takes every ordinary frame, so the benchmark measures it', () => {
  const place = { stampAt: 0, innerAt: 0, levels: 0 }
  for (let levels = 0, frame = stampedFrame(1, 0); levels < 5; levels++, frame = inVxlan(frame)) {
    assert.ok(locateStamp(frame, 0, frame.length, PORTS, place))
    assert.is(`${place.levels} ${place.innerAt}`, `${levels} ${levels * 50}`)
  }
})

test('property: no bytes make dissect or the summary throw, every layer lies in the frame, and the walk ends', () => {
  const frames = fc.oneof(
    anyFrame,
    somethingLikeAFrame.map(({ frame }) => frame),
  )
  fc.assert(
    fc.property(frames, frame => {
      const layers = dissect(frame, 0, frame.length, new Dissection())
      for (let i = 0; i < layers.count; i++) assert.ok(layers.at(i) <= layers.end(i) && layers.end(i) <= frame.length)
      assert.type(summary(frame), 'string')
    }),
    { numRuns: 3000 },
  )
})

test('64 KiB of nested VXLAN ends', () => {
  let frame = stampedFrame(1, 0)
  while (frame.length + 50 < 65_000) frame = inVxlan(frame)
  const layers = dissect(frame, 0, frame.length, new Dissection())
  assert.ok(layers.levels > 1200)
  assert.is(layers.protocol(layers.count - 1), PROTOCOL.stamp)
})

test('tshark names the same layers', () => {
  const directory = mkdtempSync(join(tmpdir(), 'castproof-dissect-'))
  try {
    const frames = CASES.filter(([name, , want]) => !want.includes('!') && !name.startsWith('a stamp on')).map(
      ([, frame]) => frame,
    )
    const path = join(directory, 'frames.pcap')
    const writer = new PcapWriter(path)
    for (const frame of frames) writer.frame(frame, 1, 0)
    writer.close()
    const text = execFileSync(
      'tshark',
      ['-r', path, '-d', 'udp.port==8472,vxlan', '-o', 'ip.defragment:false', '-T', 'fields', '-e', 'frame.protocols'],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    )
    const theirs = text.trimEnd().split('\n')
    for (const [i, frame] of frames.entries())
      assert.is(commonNames(layersOf(frame)), theirNames(theirs[i] as string), theirs[i])
  } finally {
    rmSync(directory, { recursive: true })
  }
})

/** Down to the last layer that both have a name for. */
function commonNames(layers: string): string {
  const names = layers.replace(/@\d+/g, '').replace('fragment', 'payload').split(' ')
  return names.filter(name => name !== 'stamp' && name !== 'payload').join(':')
}

function theirNames(protocols: string): string {
  const ours: Record<string, string> = { eth: 'ethernet', ip: 'ipv4' }
  const known = ['eth', 'vlan', 'ip', 'udp', 'vxlan', 'arp', 'igmp', 'icmp', 'esp']
  return protocols
    .split(':')
    .filter((name, i, all) => known.includes(name) && name !== all[i - 1])
    .map(name => ours[name] ?? name)
    .join(':')
}

test('summary lines', () => {
  assert.is(
    summary(inVxlan(stampedFrame(7, 300), 2)),
    '02:00:00:00:01:01 > 02:00:00:00:01:02 type 0x0800, IP 172.16.0.1 > 172.16.0.2 ttl 64 proto 17, UDP 40000 > 8472, length 68, ' +
      'VXLAN, vni 2, 02:00:00:00:00:01 > 01:00:5e:7c:00:01 type 0x0800, IP 10.0.0.1 > 233.252.0.1 ttl 8 proto 17, ' +
      'UDP 4000 > 5001, length 18, stream 7 sequence 300 (run 0abcde)',
  )
  const report = build({
    ipv4: { src: 0x0a000001, dst: 0xe0000016 },
    igmp: { type: 0x22, records: [{ recordType: 3, multicastAddress: 0xe9fc0001, sources: [0x0a000002] }] },
  })
  assert.match(summary(report), /IGMPv3 report \[CHANGE_TO_INCLUDE_MODE 233\.252\.0\.1 \{10\.0\.0\.2\}\]/)
  assert.match(
    summary(build({ arp: { operation: 1, senderIp: 1, targetIp: 2 } })),
    /ARP who-has 0\.0\.0\.2 tell 0\.0\.0\.1/,
  )
})

test.run()
