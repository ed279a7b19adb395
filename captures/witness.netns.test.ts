import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { skipUnsupported } from '../test/skip.ts'
import { suite } from '../test/suite.ts'
import { openCap } from './cap.ts'
import { compileFilter } from './filter.ts'
import { openLedger } from './ledger.ts'
import { DIRECTION } from './record.ts'
import { Tap } from './tap.ts'
import { openTcpdump, type RemoteFrame } from './tcpdump.ts'
import { RUN, stampedFrame, tagged } from './testdata/frames.ts'
import { inside, rawSender, type VethBed, vethBed } from './testdata/veth.ts'

const test = suite('witness')
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
let bed: VethBed
let directory = ''
const closing: { close(): void }[] = []
test.beforeEach(() => {
  bed = vethBed()
  directory = mkdtempSync(join(tmpdir(), 'castproof-witness-'))
})
test.afterEach(() => {
  // Before the namespace goes: cap aborts the process when its interface vanishes.
  for (const capture of closing.splice(0)) capture.close()
  bed.close()
  rmSync(directory, { recursive: true })
})

function openTap(filter?: Uint8Array): Tap {
  const nameOf = (index: number) => (index === bed.rightIndex ? 'rx/eth0' : undefined)
  return Tap.open({ ns: bed.right, directory, file: 'rx.pcapng', nameOf, runId: RUN, ...(filter ? { filter } : {}) })
}

async function sendSlowly(frames: readonly Uint8Array[]): Promise<void> {
  const sender = rawSender(bed.left, bed.leftIndex)
  for (const [i, frame] of frames.entries()) {
    sender.send(frame)
    if (i % 100 === 99) await delay(1)
  }
  sender.close()
}

/** On a busy machine frames wait in the kernel's backlog: a ring is closed when it has what is due. */
async function closeAfter(tap: Tap, frames: number): Promise<void> {
  await until(() => tap.counters().received >= frames)
  tap.close()
}

/** Waits for a condition that events bring about. */
async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 5000
  while (!condition() && performance.now() < end) await delay(5)
  assert.ok(condition())
}

test('ring, cap and remote tcpdump see the same frames, byte for byte', async () => {
  const frames = Array.from({ length: 1000 }, (_, i) => stampedFrame(1, i, { payloadBytes: 18 + (i % 1400) }))
  const byCap: string[] = []
  const remote: RemoteFrame[] = []
  const onFrame = (frame: Uint8Array): unknown => byCap.push(hex(frame))
  const cap = await openCap({ ns: bed.right, interface: 'right', onFrame }).catch(skipUnsupported('cap'))
  if (!cap) return
  closing.push(cap)
  const tap = openTap()
  const tcpdump = await openTcpdump({
    prefix: ['nsenter', `--net=${bed.right.path}`],
    interface: 'right',
    onFrame: frame => remote.push({ ...frame, bytes: frame.bytes.slice() }),
  })
  await sendSlowly(frames)
  await until(() => byCap.length >= frames.length && remote.length >= frames.length)
  closing.splice(0)
  cap.close()
  const counters = await tcpdump.stop()
  assert.equal(tap.close(), { received: 1000, dropped: 0 })
  assert.equal(counters, { received: 1000, dropped: 0 })
  const { recording } = openLedger(directory, ['rx.pcapng'], { runId: RUN })
  const byRing = Array.from({ length: recording.count }, (_, i) => hex(recording.bytes(i)))
  const sent = frames.map(hex).join('\n')
  assert.is(byRing.join('\n'), sent)
  assert.is(byCap.join('\n'), sent)
  assert.is(remote.map(frame => hex(frame.bytes)).join('\n'), sent)
  const ours = Number(recording.baseNs) / 1e9 + recording.timeNs(999) / 1e9
  assert.ok(Math.abs((remote[999]?.seconds ?? 0) + (remote[999]?.nanoseconds ?? 0) / 1e9 - ours) < 0.1, 'one clock')
  recording.close()
})

test('a filter keeps out of the ring what tcpdump would keep out', async () => {
  const tap = openTap(await compileFilter('arp or udp dst port 5003'))
  await sendSlowly([
    stampedFrame(1, 0),
    stampedFrame(2, 0, { dstPort: 5003 }),
    tagged(stampedFrame(3, 0, { dstPort: 5002 }), 7),
    tagged(stampedFrame(4, 0, { dstPort: 5002 }), 8),
  ])
  await closeAfter(tap, 1)
  const { recording, ledger } = openLedger(directory, ['rx.pcapng'], { runId: RUN })
  const streams = Array.from({ length: ledger.count }, (_, i) => ledger.stream(i))
  assert.is(streams.join(), '2')
  recording.close()
})

test('vlan in a filter is the tag that the kernel keeps beside the frame', async () => {
  const tap = openTap(await compileFilter('vlan 7 and udp dst port 5001'))
  await sendSlowly([stampedFrame(1, 0), tagged(stampedFrame(2, 0), 7), tagged(stampedFrame(3, 0), 8)])
  await closeAfter(tap, 1)
  const { recording, ledger } = openLedger(directory, ['rx.pcapng'], { runId: RUN })
  assert.is(Array.from({ length: ledger.count }, (_, i) => ledger.stream(i)).join(), '2')
  recording.close()
})

test("tshark finds names, direction and count in a tap's file", async () => {
  const tap = openTap()
  await sendSlowly([stampedFrame(1, 0), stampedFrame(1, 1)])
  await closeAfter(tap, 2)
  const columns = ['frame.interface_name', 'frame.packet_flags_direction', 'udp.dstport'].flatMap(field => [
    '-e',
    field,
  ])
  const args = ['-r', join(directory, 'rx.pcapng'), '-T', 'fields', ...columns]
  const text = execFileSync('tshark', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  assert.is(text, 'rx/eth0\t0x00000001\t5001\n'.repeat(2))
})

test('tcpdump of one direction', async () => {
  const seen: string[] = []
  const prefix = ['nsenter', `--net=${bed.right.path}`]
  const onFrame = (frame: RemoteFrame) => seen.push(hex(frame.bytes))
  const tcpdump = await openTcpdump({ prefix, interface: 'right', direction: 'in', filter: 'udp port 5001', onFrame })
  const back = rawSender(bed.right, bed.rightIndex)
  back.send(stampedFrame(9, 9))
  back.close()
  await sendSlowly([stampedFrame(1, 1), stampedFrame(1, 2, { dstPort: 5002 })])
  await until(() => seen.length > 0)
  assert.equal(await tcpdump.stop(), { received: 1, dropped: 0 })
  assert.equal(seen, [hex(stampedFrame(1, 1))])
})

test('a tcpdump that cannot listen: its own words', async () => {
  const prefix = ['nsenter', `--net=${bed.right.path}`]
  const failure = await openTcpdump({ prefix, interface: 'none', onFrame: () => {} }).catch((error: Error) => error)
  assert.match(String(failure), /none: No such device exists/)
  const missing = await openTcpdump({ prefix: ['no-such-program'], interface: 'x', onFrame: () => {} }).catch(
    (e: Error) => e,
  )
  assert.match(String(missing), /no-such-program/)
  assert.not.match(inside(bed.right, 'ps', 'ax'), /tcpdump -U/)
})

test('direction at both ends of one namespace-wide tap', async () => {
  const tap = Tap.open({ ns: bed.left, directory, file: 'tx.pcapng', nameOf: () => 'tx/eth0', runId: RUN })
  await sendSlowly([stampedFrame(1, 0)])
  tap.close()
  assert.is(tap.seen(1, 'tx/eth0', DIRECTION.out)?.count, 1)
  assert.is(tap.seen(1, 'tx/eth0', DIRECTION.in), undefined)
})

test.run()
