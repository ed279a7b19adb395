import * as assert from 'uvu/assert'
import { stampedFrame, tagged } from '../../captures/testdata/frames.ts'
import { inside, rawSender, type VethBed, vethBed } from '../../captures/testdata/veth.ts'
import { suite } from '../../test/suite.ts'
import { realtimeNs, SyscallError } from './libc.ts'
import { inNetns, interfaceIndex } from './netns.ts'
import { PacketRing, RING_CHECKSUM_NOT_READY, type RingOptions } from './packet-ring.ts'

const test = suite('packet-ring')
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

interface Seen {
  hex: string
  originalLength: number
  timeNs: bigint
  ifindex: number
  direction: number
  flags: number
}

let bed: VethBed
const rings: PacketRing[] = []
test.beforeEach(() => {
  bed = vethBed()
})
test.afterEach(() => {
  for (const ring of rings.splice(0)) ring.close()
  bed.close()
})

function open(options: RingOptions): PacketRing {
  const ring = PacketRing.open(options)
  rings.push(ring)
  return ring
}

/** Drains until `frames` came or a second went by without one. */
function collect(ring: PacketRing, frames: number): Seen[] {
  const seen: Seen[] = []
  while (seen.length < frames && ring.wait(1000)) {
    ring.drain((bytes, at, length, originalLength, seconds, nanoseconds, ifindex, direction, flags) => {
      const timeNs = BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds)
      seen.push({ hex: hex(bytes.subarray(at, at + length)), originalLength, timeNs, ifindex, direction, flags })
    })
  }
  return seen
}

function sendAll(frames: Uint8Array[]): void {
  const sender = rawSender(bed.left, bed.leftIndex)
  for (const frame of frames) sender.send(frame)
  sender.close()
}

test('bytes, length, interface, kernel time and direction at both ends', () => {
  const left = open({ netns: bed.left, ifindex: bed.leftIndex })
  const right = open({ netns: bed.right, ifindex: bed.rightIndex })
  const frames = Array.from({ length: 100 }, (_, i) => stampedFrame(1, i, { payloadBytes: 18 + i }))
  const before = realtimeNs()
  sendAll(frames)
  const atLeft = collect(left, 100)
  const atRight = collect(right, 100)
  const after = realtimeNs()
  for (const [seen, ifindex, direction] of [
    [atLeft, bed.leftIndex, 2],
    [atRight, bed.rightIndex, 1],
  ] as const) {
    assert.is(seen.map(frame => frame.hex).join('\n'), frames.map(hex).join('\n'))
    assert.ok(seen.every(frame => frame.ifindex === ifindex && frame.direction === direction))
    assert.ok(seen.every((frame, i) => frame.originalLength === frames[i]?.length))
    assert.ok(seen.every(frame => frame.timeNs >= before && frame.timeNs <= after))
    assert.ok(seen.every((frame, i) => i === 0 || frame.timeNs >= (seen[i - 1] as Seen).timeNs))
  }
  assert.equal(right.counters(), { received: 100, dropped: 0 })
})

test('an 802.1Q tag that the kernel took out is put back', () => {
  const right = open({ netns: bed.right, ifindex: bed.rightIndex })
  const frame = tagged(stampedFrame(1, 7), 0x0a5)
  sendAll([frame])
  assert.is(collect(right, 1)[0]?.hex, hex(frame))
})

test('bound to interface 0 it sees every interface, also one made later', () => {
  const right = open({ netns: bed.right, ifindex: 0 })
  sendAll([stampedFrame(1, 0)])
  inside(bed.right, 'ip', 'link', 'add', 'late', 'type', 'veth', 'peer', 'name', 'late2')
  inside(bed.right, 'ip', 'link', 'set', 'late2', 'up', 'arp', 'off')
  inside(bed.right, 'ip', 'link', 'set', 'late', 'up', 'arp', 'off')
  const sender = rawSender(
    bed.right,
    inNetns(bed.right, () => interfaceIndex('late')),
  )
  sender.send(stampedFrame(2, 0))
  sender.close()
  const seen = collect(right, 3).filter(frame => frame.hex.includes('ca57'))
  assert.is(
    seen
      .map(frame => frame.direction)
      .sort()
      .join(),
    '1,1,2',
  )
  assert.is(new Set(seen.map(frame => frame.ifindex)).size, 3)
})

test('an overrun is counted, and what was kept is the oldest', () => {
  const right = open({ netns: bed.right, ifindex: bed.rightIndex, blockBytes: 4096, blocks: 2 })
  sendAll(Array.from({ length: 500 }, (_, i) => stampedFrame(1, i)))
  const seen = collect(right, 1)
  const counters = right.counters()
  assert.ok(counters.dropped > 0 && counters.received === seen.length, JSON.stringify({ counters, seen: seen.length }))
  assert.is(counters.received + counters.dropped, 500)
  assert.is(seen[0]?.hex, hex(stampedFrame(1, 0)))
  sendAll([stampedFrame(1, 500)])
  collect(right, 1)
  assert.is(right.counters().received + right.counters().dropped, 501, 'counters add up over reads')
})

test('a filter is in force from the first frame', () => {
  // ldh [12]; jeq #0x806; ret #262144; ret #0: `tcpdump -ddd arp`.
  const arpOnly = Buffer.from(
    '28000000' + '0c000000' + '15000001' + '06080000' + '06000000' + '00000400' + '06000000' + '00000000',
    'hex',
  )
  const right = open({ netns: bed.right, ifindex: bed.rightIndex, filter: arpOnly })
  const arp = stampedFrame(1, 1)
  arp[13] = 6
  sendAll([stampedFrame(1, 0), arp])
  assert.is(
    collect(right, 1)
      .map(frame => frame.hex)
      .join(),
    hex(arp),
  )
})

test('a checksum left to the device is said to be', () => {
  inside(bed.left, 'ip', 'addr', 'add', '10.9.0.1/24', 'dev', 'left')
  const right = open({ netns: bed.right, ifindex: bed.rightIndex })
  inside(bed.left, 'bash', '-c', 'echo hello > /dev/udp/10.9.0.2/77')
  sendAll([stampedFrame(1, 0)])
  assert.is(
    collect(right, 2)
      .map(frame => frame.flags)
      .join(),
    `${RING_CHECKSUM_NOT_READY},0`,
  )
})

test('closing twice, draining after it, and in the middle of a drain', () => {
  const right = open({ netns: bed.right, ifindex: bed.rightIndex })
  sendAll([stampedFrame(1, 0), stampedFrame(1, 1)])
  right.wait(1000)
  right.drain(() => right.close())
  right.close()
  assert.is(
    right.drain(() => assert.unreachable()),
    0,
  )
  assert.is(right.counters().received, 2)
})

test('a mistake is an error with its errno and leaves no descriptor', () => {
  const sockets = () => inside(bed.right, 'cat', '/proc/net/packet').split('\n').length
  const before = sockets()
  const fails = (options: RingOptions, code: string) => {
    assert.throws(
      () => PacketRing.open(options),
      (error: unknown) => error instanceof SyscallError && error.code === code,
    )
  }
  fails({ netns: bed.right, ifindex: 4242 }, 'ENODEV')
  fails({ netns: bed.right, ifindex: 0, blockBytes: 5000 }, 'EINVAL')
  assert.throws(() => PacketRing.open({ ifindex: 0, promiscuous: true }), /needs an interface/)
  assert.is(sockets(), before)
})

test('a hundred rings opened and closed one after another', () => {
  for (let i = 0; i < 100; i++) {
    const ring = PacketRing.open({ netns: bed.right, ifindex: 0, promiscuous: false })
    ring.drain(() => {})
    ring.close()
  }
  const promiscuous = open({ netns: bed.right, ifindex: bed.rightIndex, promiscuous: true })
  assert.match(inside(bed.right, 'ip', '-d', 'link', 'show', 'right'), /promiscuity 1/)
  promiscuous.close()
  assert.match(inside(bed.right, 'ip', '-d', 'link', 'show', 'right'), /promiscuity 0/)
})

test.run()
