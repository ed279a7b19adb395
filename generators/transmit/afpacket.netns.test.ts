import * as assert from 'uvu/assert'
import { inside, type VethBed, vethBed } from '../../captures/testdata/veth.ts'
import { skipUnsupported } from '../../test/skip.ts'
import { suite } from '../../test/suite.ts'
import { hexOf } from '../hex.ts'
import { realtimeNs, SyscallError } from '../linux/libc.ts'
import { PacketRing } from '../linux/packet-ring.ts'
import { type CompiledStream, compile } from '../stream.ts'
import type { StreamSpec } from '../stream-spec.ts'
import { parseIpv4 } from '../wire/address.ts'
import { readStamp } from '../wire/stamp.ts'
import { openAfPacketEngine } from './afpacket.ts'
import { openCapEngine } from './cap.ts'
import type { Engine } from './engine.ts'

const test = suite('engines on a veth')

const G = parseIpv4('233.252.0.1')
const NEVER = new AbortController().signal

let bed: VethBed
let ring: PacketRing
const engines: Engine[] = []
test.beforeEach(() => {
  bed = vethBed()
  ring = PacketRing.open({ netns: bed.right, ifindex: bed.rightIndex })
})
test.afterEach(() => {
  for (const engine of engines.splice(0)) engine.close()
  ring.close()
  bed.close()
})

function engine(options: { qdiscBypass?: boolean } = {}): Engine {
  const opened = openAfPacketEngine({ ns: bed.left, interface: 'left', ...options })
  engines.push(opened)
  return opened
}

function stream(given: Partial<StreamSpec> = {}): CompiledStream {
  const frame = { ipv4: { dst: G }, udp: {} }
  const spec = { number: 1, name: 's1', frame, stamped: true, count: 100, rate: 'max' as const, ...given }
  return compile(spec, { runId: 3, runStartNs })
}
const runStartNs = realtimeNs()

interface Arrived {
  stream: number
  sequence: number
  timeNs: number
  hex: string
}

/** Everything the far end's ring gets, read while the frames are still being sent. */
let seen: Arrived[]
let reader: NodeJS.Timeout
test.beforeEach(() => {
  seen = []
  reader = setInterval(drain, 2)
})
test.afterEach(() => clearInterval(reader))

function drain(): void {
  ring.drain((bytes, at, length, _original, seconds, nanoseconds) => {
    const { stream, sequence } = readStamp(bytes, at + 42, at + length) ?? { stream: -1, sequence: -1 }
    const timeNs = Number(BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds) - runStartNs)
    seen.push({ stream, sequence, timeNs, hex: hexOf(bytes.subarray(at, at + length)) })
  })
}

/** The frames so far once they are `frames`, or once a second passed without one. */
function arrived(frames: number): Arrived[] {
  while (seen.length < frames && ring.wait(1000)) drain()
  drain()
  return seen
}

function counted(): { frames: number; bytes: number } {
  const [link] = JSON.parse(inside(bed.right, 'ip', '-j', '-s', 'link', 'show', 'right'))
  return { frames: link.stats64.rx.packets, bytes: link.stats64.rx.bytes }
}

for (const qdiscBypass of [false, true]) {
  test(`every frame arrives once and in order, ${qdiscBypass ? 'past' : 'through'} the qdisc`, async () => {
    const [report] = await engine({ qdiscBypass }).send([stream({ count: 20_000 })], NEVER)
    arrived(20_000)
    assert.is(report?.count, 20_000)
    assert.is(seen.length, 20_000)
    assert.is(
      seen.findIndex(({ sequence }, i) => sequence !== i),
      -1,
    )
    assert.equal(counted(), { frames: 20_000, bytes: 20_000 * 60 })
  })
}

test('streams of one call share the wire, frame by frame', async () => {
  const both = [stream({ count: 1000 }), stream({ number: 2, count: 1000, lengths: { sweepBytes: [60, 1514, 300] } })]
  await engine().send(both, NEVER)
  arrived(2000)
  assert.is(seen.length, 2000)
  assert.equal(
    seen.slice(0, 6).map(frame => `${frame.stream}:${frame.sequence}:${frame.hex.length / 2}`),
    ['1:0:60', '2:0:60', '1:1:60', '2:1:1514', '1:2:60', '2:2:300'],
  )
})

test('calls side by side, neither faster than asked, at the same time', async () => {
  const slow = engine().send([stream({ count: 100, rate: { pps: 500 } })], NEVER)
  const fast = engine().send([stream({ number: 2, count: 1000, rate: { pps: 5000 } })], NEVER)
  const [[first], [second]] = await Promise.all([slow, fast])
  assert.is(arrived(1100).length, 1100)
  assert.ok((first?.pps ?? 0) < 505 && (second?.pps ?? 0) < 5050, `${first?.pps} and ${second?.pps}`)
  const places = seen.map(frame => frame.stream)
  assert.ok(places.indexOf(2) < places.lastIndexOf(1) && places.indexOf(1) < places.lastIndexOf(2))
})

test('the report is of the same clock as the far end: taken before it arrived, by less than 50 ms', async () => {
  const [report] = await engine().send([stream({ count: 50, rate: { pps: 1000 } })], NEVER)
  arrived(50)
  const [first, last] = [seen[0]?.timeNs ?? 0, seen.at(-1)?.timeNs ?? 0]
  assert.ok(first >= (report?.firstNs ?? 0) && first - (report?.firstNs ?? 0) < 50e6)
  assert.ok(last >= (report?.lastNs ?? 0) && last - (report?.lastNs ?? 0) < 50e6)
})

test('an abort ends it, and the report says how far it came', async () => {
  const stop = new AbortController()
  const sending = engine().send([stream({ count: 1_000_000, rate: { pps: 1000 } })], stop.signal)
  setTimeout(() => stop.abort(), 100)
  const [report] = await sending
  assert.ok((report?.count ?? 0) > 0 && (report?.count ?? 0) < 10_000)
  assert.is(arrived(report?.count ?? 0).length, report?.count)
})

test('a device queue that is full: waited for, nothing lost or doubled', async () => {
  // 8 kB of queue and 4 Mbit/s: most calls find no room.
  inside(bed.left, 'tc', 'qdisc', 'add', 'dev', 'left', 'root', 'tbf', 'rate', '4mbit', 'burst', '4kb', 'limit', '8kb')
  const [report] = await engine().send([stream({ count: 600, lengths: { bytes: 500 } })], NEVER)
  arrived(600)
  assert.is(report?.count, 600)
  assert.equal([seen.length, seen.findIndex(({ sequence }, i) => sequence !== i)], [600, -1])
})

test('a link that goes down is an error, not silence', async () => {
  inside(bed.left, 'ip', 'link', 'set', 'left', 'down')
  try {
    await engine().send([stream()], NEVER)
    assert.unreachable('sent through a dead link')
  } catch (error) {
    assert.instance(error, SyscallError)
    assert.is((error as SyscallError).code, 'ENETDOWN')
  }
})

test('cap sends the same frames', async () => {
  const cap = await openCapEngine({ ns: bed.left, interface: 'left' }).catch(skipUnsupported('cap'))
  if (!cap) return
  engines.push(cap)
  const [report] = await cap.send([stream({ count: 500, lengths: { sweepBytes: [60, 1514] } })], NEVER)
  arrived(500)
  assert.is(report?.count, 500)
  assert.equal([seen.length, seen.at(-1)?.sequence, (seen.at(-1)?.hex.length ?? 0) / 2], [500, 499, 1514])
})

test.run()
