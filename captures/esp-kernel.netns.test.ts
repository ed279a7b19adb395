import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { buildFrame } from '../generators/frame.ts'
import { formatIpv4, parseIpv4 } from '../generators/wire/address.ts'
import { type EspContent, sealEsp } from '../generators/wire/esp-seal.ts'
import { skip } from '../test/skip.ts'
import { suite } from '../test/suite.ts'
import { openCapture } from './capture-file.ts'
import { Decryptor } from './decrypt.ts'
import type { EspKey } from './esp-opener.ts'
import { DIRECTION } from './record.ts'
import { Tap } from './tap.ts'
import {
  ESP_CASES,
  type EspCase,
  type EspLab,
  espLab,
  innerRight,
  LEFT,
  RIGHT,
  sendDatagrams,
} from './testdata/esp-lab.ts'
import { rawSender } from './testdata/veth.ts'

const test = suite('ESP and the kernel', { timeoutMs: 120_000 })

const KEYS: EspKey[] = ESP_CASES.map(({ name, spi, esn, cipher }) => ({
  sa: { spi, esn, cipher },
  label: name,
  scope: 'pair',
}))
let lab: EspLab | undefined
let directory = ''
test.beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'castproof-esp-'))
})
test.afterEach(() => {
  lab?.close()
  lab = undefined
  rmSync(directory, { recursive: true })
})

/** Undefined, and the test counts as skipped, where the kernel has no ESP. */
function kernelLab(options: Parameters<typeof espLab>[0] = {}): EspLab | undefined {
  try {
    lab = espLab(options)
    return lab
  } catch (error) {
    const said = String((error as { stderr?: Buffer }).stderr ?? error)
    if (!/Protocol not supported|No such file|Function not implemented|Requested/.test(said)) throw error
    skip('esp', said.trim())
    return undefined
  }
}

function tapAt(bed: EspLab, side: 'left' | 'right'): Tap {
  const ifindex = side === 'left' ? bed.leftIndex : bed.rightIndex
  return Tap.open({ ns: bed[side], ifindex, directory, file: `${side}.pcapng`, nameOf: () => `${side}/eth0` })
}

interface Seen {
  frame: Uint8Array
  originalLength: number
}

function framesOf(tap: Tap, file: string, direction: number): Seen[] {
  tap.close()
  const frames: Seen[] = []
  const capture = openCapture(join(directory, file))
  capture.read(({ bytes, at, length, originalLength, direction: seen }) => {
    if (seen === direction) frames.push({ frame: bytes.slice(at, at + length), originalLength })
  })
  capture.close()
  return frames
}

const payload = (spi: number, bytes: number) => Uint8Array.from({ length: bytes }, (_, i) => (i * 3 + spi) & 255)
const SIZES = [0, 1, 40, 1300, 4000]

test('what the kernel sealed opens: every algorithm, from empty to fragmented, also where the number passes 2^32', () => {
  const bed = kernelLab({ after: 0xffff_fffd, afterHigh: 0 })
  if (!bed) return
  const tap = tapAt(bed, 'left')
  const sent = ESP_CASES.filter(one => one.esn).flatMap(one => SIZES.map(bytes => [one, bytes] as const))
  const others = ESP_CASES.filter(one => !one.esn).flatMap(one => SIZES.slice(0, 2).map(bytes => [one, bytes] as const))
  const all = [...sent, ...others]
  sendDatagrams(
    bed,
    all.map(([{ spi }, bytes]) => [innerRight(spi), payload(spi, bytes)]),
  )
  const decryptor = new Decryptor<number>(KEYS)
  const clear = framesOf(tap, 'left.pcapng', DIRECTION.out).flatMap(({ frame, originalLength }, i) => {
    const outcome = decryptor.add('left', frame, originalLength, i)
    if (!outcome) return []
    assert.is(outcome.result.kind, 'clear', JSON.stringify(outcome.result))
    return outcome.result.kind === 'clear' ? [{ ...outcome.result, parts: outcome.tags.length }] : []
  })
  assert.is(clear.length, all.length)
  for (const [i, [one, bytes]] of all.entries()) {
    const { frame, opened, parts } = clear[i]!
    assert.is(opened[0]?.key.label, one.name)
    assert.is(
      Buffer.from(frame.subarray(42)).toString('hex'),
      Buffer.from(payload(one.spi, bytes)).toString('hex'),
      one.name,
    )
    assert.is(parts, bytes === 4000 ? 3 : 1)
    if (one.esn) assert.is(opened[0]!.sequenceHigh, i % SIZES.length < 2 ? 0 : 1)
  }
  assert.equal(decryptor.unfinished(true), [])
})

test('without extended numbers the kernel sends nothing beyond 2^32', () => {
  const bed = kernelLab({ after: 0xffff_fffe })
  if (!bed) return
  const tap = tapAt(bed, 'left')
  const one = ESP_CASES.find(each => !each.esn)!
  for (const bytes of [1, 2, 3])
    try {
      sendDatagrams(bed, [[innerRight(one.spi), payload(one.spi, bytes)]])
    } catch {
      // The socket is told: the state is used up.
    }
  assert.is(framesOf(tap, 'left.pcapng', DIRECTION.out).length, 1)
})

/** An Ethernet frame with what we sealed, as the left end would have sent it. */
function sealed(
  bed: EspLab,
  one: EspCase,
  content: Partial<EspContent> & { sequence: number },
  data: Uint8Array,
): Uint8Array {
  const inner = buildFrame(
    {
      ipv4: { src: parseIpv4('192.0.2.250'), dst: parseIpv4(innerRight(one.spi)) },
      udp: { srcPort: 5000, dstPort: 5001 },
      payload: Buffer.from(data).toString('hex'),
    },
    {},
    0,
  ).subarray(14)
  const packet = sealEsp({ spi: one.spi, cipher: one.cipher, esn: one.esn }, { payload: inner, ...content })
  return inIp(bed, packet)
}

function inIp(bed: EspLab, packet: Uint8Array): Uint8Array {
  return buildFrame({
    ethernet: { dst: bed.rightMac, src: 0x0200_0000_0001 },
    ipv4: { src: parseIpv4(LEFT), dst: parseIpv4(RIGHT), protocol: 50 },
    payload: Buffer.from(packet).toString('hex'),
  })
}

/** Clear packets that came out of the kernel's XFRM at the right end: it shows them again at the device they came by. */
function receivedClear(frames: readonly Seen[]): string[] {
  return frames
    .filter(({ frame }) => frame[23] === 17)
    .map(
      ({ frame }) =>
        `${formatIpv4(Buffer.from(frame).readUInt32BE(30))} ${Buffer.from(frame.subarray(42, 14 + Buffer.from(frame).readUInt16BE(16))).toString('hex')}`,
    )
}

test('the kernel opens what we seal: every algorithm, from empty to full size', () => {
  const bed = kernelLab()
  if (!bed) return
  const tap = tapAt(bed, 'right')
  const sender = rawSender(bed.left, bed.leftIndex)
  const expected: string[] = []
  for (const one of ESP_CASES) {
    for (const [i, bytes] of [0, 1, 14, 15, 16, 1300].entries()) {
      sender.send(sealed(bed, one, { sequence: i + 1 }, payload(one.spi, bytes)))
      expected.push(`${innerRight(one.spi)} ${Buffer.from(payload(one.spi, bytes)).toString('hex')}`)
    }
  }
  sender.close()
  assert.equal(receivedClear(framesOf(tap, 'right.pcapng', DIRECTION.in)), expected)
  assert.equal(
    Object.entries(bed.errors()).filter(([, n]) => n > 0),
    [],
  )
})

test('what should not open does not: altered, replayed, unknown SPI, wrong high half, bad padding', () => {
  const bed = kernelLab()
  if (!bed) return
  const tap = tapAt(bed, 'right')
  const sender = rawSender(bed.left, bed.leftIndex)
  const [plain, extended] = [ESP_CASES[2]!, ESP_CASES[3]!]
  const grows = (frame: Uint8Array): string => {
    const before = bed.errors()
    sender.send(frame)
    const after = bed.errors()
    return Object.keys(after)
      .filter(name => after[name] !== before[name])
      .join(' ')
  }
  const good = sealed(bed, plain, { sequence: 5 }, payload(1, 20))
  const altered = sealed(bed, plain, { sequence: 6 }, payload(1, 20))
  altered[60]! ^= 1
  assert.is(grows(good), '')
  assert.is(grows(altered), 'XfrmInStateProtoError')
  assert.is(grows(good), 'XfrmInStateSeqError')
  assert.is(grows(sealed(bed, plain, { sequence: 7, spi: 99 }, payload(1, 20))), 'XfrmInNoStates')
  assert.is(grows(sealed(bed, extended, { sequence: 5, sequenceHigh: 1 }, payload(1, 20))), 'XfrmInStateProtoError')
  assert.is(grows(inIp(bed, Uint8Array.of(0, 0, 0, 3, 0, 0, 0, 9, 1, 2, 3))), 'XfrmInStateProtoError')
  sender.close()
  assert.is(receivedClear(framesOf(tap, 'right.pcapng', DIRECTION.in)).length, 1)
})

test.run()
