import * as assert from 'uvu/assert'
import { objectPath } from '../../bpf/object-path.ts'
import { inside, type VethBed, vethBed } from '../../captures/testdata/veth.ts'
import { suite } from '../../test/suite.ts'
import { realtimeNs } from '../linux/libc.ts'
import { PacketRing } from '../linux/packet-ring.ts'
import { type CompiledStream, compile } from '../stream.ts'
import type { StreamSpec } from '../stream-spec.ts'
import { Unsupported } from '../unsupported.ts'
import { parseIpv4 } from '../wire/address.ts'
import { readStamp } from '../wire/stamp.ts'
import type { SentReport } from './engine.ts'
import { openXdpEngine } from './xdp.ts'

const test = suite('XDP engine on a veth')

const STAMP_AT = 42
const runStartNs = realtimeNs()

let bed: VethBed
let ring: PacketRing
test.beforeEach(() => {
  bed = vethBed()
  ring = PacketRing.open({ netns: bed.right, ifindex: bed.rightIndex })
})
test.afterEach(() => {
  ring.close()
  bed.close()
})

function stream(given: Partial<StreamSpec> = {}): CompiledStream {
  const frame = { ipv4: { dst: parseIpv4('233.252.0.1') }, udp: {} }
  const spec = { number: 1, name: 's1', frame, stamped: true, count: 100, rate: 'max' as const, ...given }
  return compile(spec, { runId: 3, runStartNs })
}

async function send(...streams: CompiledStream[]): Promise<SentReport[]> {
  const engine = openXdpEngine({ ns: bed.left, interface: 'left', object: objectPath('xdp-send') })
  return engine.send(streams, new AbortController().signal)
}

/** `stream:sequence:bytes` of every frame at the far end. */
function arrived(): string[] {
  const seen: string[] = []
  ring.drain((bytes, at, length) => {
    const { stream, sequence } = readStamp(bytes, at + STAMP_AT, at + length) ?? { stream: -1, sequence: -1 }
    seen.push(`${stream}:${sequence}:${length}`)
  })
  return seen
}

function napiAtTheFarEnd(): void {
  inside(bed.right, 'ethtool', '-K', 'right', 'gro', 'on')
}

test('every frame of two interleaved streams arrives once, in order, whole', async () => {
  napiAtTheFarEnd()
  const both = [stream({ count: 3000 }), stream({ number: 2, count: 3000, lengths: { sweepBytes: [60, 1514, 300] } })]
  const reports = await send(...both)
  const lengths = [60, 1514, 300]
  const wanted = Array.from({ length: 3000 }, (_, k) => [`1:${k}:60`, `2:${k}:${lengths[k % 3]}`]).flat()
  assert.equal(arrived(), wanted)
  assert.equal(
    reports.map(({ count, frames }) => [count, frames]),
    [
      [3000, 3000],
      [3000, 3000],
    ],
  )
})

test('a far end that does not poll takes nothing: an error, not a report of what never arrived', async () => {
  try {
    await send(stream())
    assert.unreachable('sent into nothing')
  } catch (error) {
    assert.instance(error, Unsupported)
    assert.match((error as Error).message, /gro on.*left took 0 of 100 frames/)
  }
})

test('a frame that no page holds is refused before anything is sent', async () => {
  napiAtTheFarEnd()
  try {
    await send(stream({ lengths: { bytes: 4000 } }))
    assert.unreachable('sent a frame of 4000 bytes')
  } catch (error) {
    assert.instance(error, Unsupported)
  }
  assert.equal(arrived(), [])
})

test.run()
