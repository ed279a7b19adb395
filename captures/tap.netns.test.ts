import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { inNetns, interfaceIndex } from '../generators/linux/netns.ts'
import { suite } from '../test/suite.ts'
import { openLedger } from './ledger.ts'
import { DIRECTION } from './record.ts'
import { Tap, type TapOptions } from './tap.ts'
import { fragmentsOf, inVxlan, RUN, stampedFrame, tagged } from './testdata/frames.ts'
import { inside, rawSender, type VethBed, vethBed } from './testdata/veth.ts'

const test = suite('tap')
let bed: VethBed
let directory = ''
const taps: Tap[] = []
test.beforeEach(() => {
  bed = vethBed()
  directory = mkdtempSync(join(tmpdir(), 'castproof-tap-'))
})
test.afterEach(() => {
  for (const tap of taps.splice(0)) tap.close()
  bed.close()
  rmSync(directory, { recursive: true })
})

function open(side: 'left' | 'right', options: Partial<TapOptions> = {}): Tap {
  const ifindex = side === 'left' ? bed.leftIndex : bed.rightIndex
  const nameOf = (index: number) => (index === ifindex ? `${side}/eth0` : undefined)
  const tap = Tap.open({ ns: bed[side], directory, file: `${side}.pcapng`, nameOf, runId: RUN, ...options })
  taps.push(tap)
  return tap
}

function send(...frames: Uint8Array[]): void {
  const sender = rawSender(bed.left, bed.leftIndex)
  for (const frame of frames) sender.send(frame)
  sender.close()
}

function drainUntil(tap: Tap, condition: () => boolean): void {
  const end = performance.now() + 2000
  while (!condition() && performance.now() < end) {
    tap.wait(50)
    tap.drain()
  }
  assert.ok(condition())
}

test('live index: streams at any depth, tagged or fragmented, and only of this run', () => {
  const tap = open('right')
  const head = fragmentsOf(stampedFrame(3, 9, { payloadBytes: 100 }), 48)
  send(
    stampedFrame(1, 5),
    stampedFrame(1, 4),
    inVxlan(inVxlan(stampedFrame(2, 7))),
    ...head,
    tagged(stampedFrame(4, 1), 9),
    stampedFrame(1, 8, { run: 1 }),
    stampedFrame(5, 0),
  )
  drainUntil(tap, () => tap.seen(5, 'right/eth0', DIRECTION.in) !== undefined)
  const first = tap.seen(1, 'right/eth0', DIRECTION.in)
  assert.is(first?.count, 2)
  assert.is(first?.highestSequence, 5)
  assert.ok((first?.lastNs ?? 0) >= (first?.firstNs ?? Infinity) && (first?.firstNs ?? -1) >= 0)
  assert.is(tap.seen(2, 'right/eth0', DIRECTION.in)?.highestSequence, 7)
  assert.is(tap.seen(3, 'right/eth0', DIRECTION.in)?.count, 1, 'of a fragmented datagram the head counts')
  assert.is(tap.seen(4, 'right/eth0', DIRECTION.in)?.count, 1)
  assert.is(tap.seen(1, 'right/eth0', DIRECTION.out), undefined)
  assert.is(tap.seen(1, 'nowhere', DIRECTION.in), undefined)
})

test('both ends: what one file says out the other says in, and the delay is not negative', () => {
  open('left')
  open('right')
  send(...Array.from({ length: 500 }, (_, i) => stampedFrame(1, i)))
  const counters = taps.map(tap => tap.close())
  assert.equal(counters, [
    { received: 500, dropped: 0 },
    { received: 500, dropped: 0 },
  ])
  const { recording, ledger } = openLedger(directory, ['left.pcapng', 'right.pcapng'], { runId: RUN })
  const [left, right] = ['left/eth0', 'right/eth0'].map(name => recording.taps.findIndex(tap => tap.name === name))
  const out = ledger.sightings(left as number, 1, DIRECTION.out)
  const into = ledger.sightings(right as number, 1, DIRECTION.in)
  assert.is(`${out.length} ${into.length} ${ledger.count}`, '500 500 1000')
  for (const [j, i] of into.entries()) {
    assert.is(ledger.sequence(i), j)
    assert.ok(ledger.timeNs(i) >= ledger.timeNs(out[j] as number))
  }
  assert.is(recording.dropped(right as number), 0)
  recording.close()
})

test('close writes what no drain has seen, also a block that is still being filled', () => {
  const tap = open('right', { retireMs: 300 })
  send(stampedFrame(1, 0))
  assert.is(tap.drain(), 0)
  assert.equal(tap.close(), { received: 1, dropped: 0 })
  const { recording } = openLedger(directory, ['right.pcapng'], { runId: RUN })
  assert.is(recording.count, 1)
  recording.close()
})

test('every named interface is a tap, silent or not, and one that comes later too', () => {
  const names = new Map([[bed.rightIndex, 'rx/eth0']])
  const tap = open('right', { nameOf: index => names.get(index) })
  inside(bed.right, 'ip', 'link', 'add', 'pod1', 'type', 'veth', 'peer', 'name', 'pod2')
  for (const name of ['pod1', 'pod2']) inside(bed.right, 'ip', 'link', 'set', name, 'up', 'arp', 'off')
  const [one, two] = ['pod1', 'pod2'].map(name => inNetns(bed.right, () => interfaceIndex(name))) as [number, number]
  names.set(one, 'p1/eth0')
  const sender = rawSender(bed.right, one)
  sender.send(stampedFrame(1, 0))
  sender.close()
  drainUntil(tap, () => tap.seen(1, 'p1/eth0', DIRECTION.out) !== undefined)
  assert.is(tap.seen(1, `if${two}`, DIRECTION.in)?.count, 1)
  tap.close()
  const { recording } = openLedger(directory, ['right.pcapng'], { runId: RUN })
  assert.equal(recording.taps.map(known => known.name).sort(), [`if${two}`, 'p1/eth0', 'rx/eth0'].sort())
  recording.close()
})

test('a watcher sees frames from when it is set until it is taken away', () => {
  const tap = open('right')
  const seen: string[] = []
  const stop = tap.watch((frame, name, direction) => void seen.push(`${name} ${direction} ${frame.length}`))
  send(stampedFrame(1, 0), stampedFrame(1, 1, { payloadBytes: 100 }))
  drainUntil(tap, () => seen.length === 2)
  stop()
  send(stampedFrame(2, 0))
  drainUntil(tap, () => tap.seen(2, 'right/eth0', DIRECTION.in) !== undefined)
  assert.equal(seen, ['right/eth0 1 60', 'right/eth0 1 142'])
})

test('a trickle that nobody drains for half a second loses nothing', async () => {
  const tap = open('right')
  const sender = rawSender(bed.left, bed.leftIndex)
  const start = performance.now()
  let sent = 0
  while (performance.now() - start < 500) {
    sender.send(stampedFrame(1, sent++))
    await delay(1)
  }
  sender.close()
  assert.ok(sent > 50)
  assert.equal(tap.close(), { received: sent, dropped: 0 })
})

test('loss is in the counters and in the file', () => {
  const tap = open('right', { ringBytes: 1 })
  send(...Array.from({ length: 6000 }, (_, i) => stampedFrame(1, i)))
  const { received, dropped } = tap.close()
  assert.is(received + dropped, 6000)
  assert.ok(dropped > 0)
  const { recording } = openLedger(directory, ['right.pcapng'], { runId: RUN })
  assert.is(recording.count, received)
  assert.is(recording.dropped(0), dropped)
  recording.close()
})

test('a directory that is not there: the error says so and the ring is gone', () => {
  const sockets = () => inside(bed.right, 'cat', '/proc/net/packet').split('\n').length
  const before = sockets()
  assert.throws(() => open('right', { directory: join(directory, 'none') }), /ENOENT/)
  assert.is(sockets(), before)
})

test.run()
