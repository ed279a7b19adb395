import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { formatIpv4, parseIpv4 } from '../generators/wire/address.ts'
import { gcmCipher } from '../generators/wire/esp-cipher.ts'
import { type EspContent, type EspSa, sealEsp } from '../generators/wire/esp-seal.ts'
import { writeFields } from '../generators/wire/field.ts'
import { fillIpv4Checksum, ipv4 } from '../generators/wire/ipv4.ts'
import { suite } from '../test/suite.ts'
import { openCapture } from './capture-file.ts'
import { type Decrypted, Decryptor } from './decrypt.ts'
import type { EspKey } from './esp-opener.ts'
import { PcapWriter } from './pcap.ts'
import { Reassembler } from './reassemble.ts'
import { summary } from './summary.ts'
import { ESP_CASES, tsharkSas } from './testdata/esp-lab.ts'
import { fragmentsOf, inVxlan, stampedFrame } from './testdata/frames.ts'
import { goldenPath } from './testdata/golden.ts'

const test = suite('decrypt')

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const material = (seed: number, length: number) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 255)
const [A, B] = [parseIpv4('172.16.0.1'), parseIpv4('172.16.0.2')]
const SA: EspSa = { spi: 3, esn: false, cipher: gcmCipher(material(1, 20)) }
const key = (sa: EspSa, more: Partial<EspKey> = {}): EspKey => ({ sa, label: `SPI ${sa.spi}`, scope: 'pair', ...more })

/** The frame's IP packet inside ESP between the two nodes. */
function inEsp(frame: Uint8Array, sa = SA, content: Partial<EspContent> = {}): Uint8Array {
  const payload = frame.subarray(14, 14 + ipv4.fields.totalLength.get(frame, 14))
  return inIp(sealEsp(sa, { payload, sequence: 1, ...content }))
}

function inIp(packet: Uint8Array): Uint8Array {
  const frame = new Uint8Array(34 + packet.length)
  frame.set(Buffer.from('0200000001020200000001010800', 'hex'))
  writeFields(ipv4, frame, 14, {
    version: 4,
    ihl: 5,
    totalLength: 20 + packet.length,
    ttl: 64,
    protocol: 50,
    src: A,
    dst: B,
    id: 77,
  })
  fillIpv4Checksum(frame, 14, 20)
  frame.set(packet, 34)
  return frame
}

function opened(frame: Uint8Array, keys: readonly EspKey[] = [key(SA)], originalLength = frame.length): Decrypted {
  const outcome = new Decryptor<number>(keys).add('n1/eth0', frame, originalLength, 0)
  if (!outcome) throw new Error('a fragment')
  return outcome.result
}

const text = (result: Decrypted) => (result.kind === 'clear' ? summary(result.frame) : JSON.stringify(result))
const why = (result: Decrypted) => (result.kind === 'closed' ? result.closed.why : text(result))

const inner = stampedFrame(1, 7)
const overlay = inVxlan(inner, 2)

test('VXLAN in ESP: the clear frame is the outer VXLAN packet, under the addresses of the closed one', () => {
  const result = opened(inEsp(overlay))
  assert.ok(result.kind === 'clear')
  assert.is(hex(result.frame.subarray(14)), hex(overlay.subarray(14)))
  assert.is(hex(result.frame.subarray(0, 14)), '0200000001020200000001010800')
  assert.equal(
    result.opened.map(({ spi, sequence, src, dst }) => [spi, sequence, src, dst]),
    [[3, 1, A, B]],
  )
})

test('ESP in VXLAN, and that in ESP again', () => {
  const nested = inVxlan(inEsp(inner), 5)
  assert.match(text(opened(nested)), /stream 1 sequence 7/)
  const outer: EspSa = { spi: 9, esn: true, cipher: gcmCipher(material(9, 36)) }
  const twice = opened(inEsp(nested, outer), [key(SA), key(outer)])
  assert.ok(twice.kind === 'clear')
  assert.equal(
    twice.opened.map(({ spi }) => spi),
    [9, 3],
  )
  const half = opened(inEsp(nested, outer), [key(outer)])
  assert.ok(half.kind === 'clear' && half.closed !== undefined)
  assert.is(half.closed.why, 'no key for SPI 3 from 172.16.0.1 to 172.16.0.2')
  assert.match(summary(half.frame), /VXLAN, vni 5, .* ESP, spi 0x00000003/)
})

test('fragments of an ESP packet, in any order and twice, are one packet', () => {
  const whole = inEsp(inVxlan(stampedFrame(4, 2, { payloadBytes: 1000 })))
  const parts = fragmentsOf(whole, 400)
  const order = fc.shuffledSubarray([0, 1, 2, 1], { minLength: 4 })
  fc.assert(
    fc.property(order, indices => {
      const decryptor = new Decryptor<number>([key(SA)])
      const outcomes = indices
        .map(i => decryptor.add('p', parts[i]!, parts[i]!.length, i))
        .filter(one => one !== undefined)
      assert.match(text(outcomes[0]!.result), /stream 4 sequence 2/)
    }),
  )
  const other = new Decryptor<number>([key(SA)])
  assert.is(other.add('p', parts[0]!, parts[0]!.length, 1), undefined)
  assert.is(other.add('elsewhere', parts[1]!, parts[1]!.length, 2), undefined)
  assert.equal(other.unfinished(true), [1, 2])
})

test('ESP in a VXLAN packet that is fragmented', () => {
  const parts = fragmentsOf(inVxlan(inEsp(stampedFrame(4, 2, { payloadBytes: 1000 }))), 400)
  const decryptor = new Decryptor<number>([key(SA)])
  const outcomes = parts.flatMap((part, i) => decryptor.add('p', part, part.length, i) ?? [])
  assert.equal(outcomes[0]?.tags, [0, 1, 2])
  assert.match(text(outcomes[0]!.result), /stream 4 sequence 2/)
})

test('fragments in clear are given back as they are', () => {
  const parts = fragmentsOf(stampedFrame(4, 2, { payloadBytes: 1000 }), 400)
  const decryptor = new Decryptor<number>([key(SA)])
  const outcomes = parts.flatMap((part, i) => decryptor.add('p', part, part.length, i) ?? [])
  assert.equal(outcomes, [{ tags: [0, 1, 2], result: { kind: 'plain' } }])
})

test('fragments that overlap never join, and a flood of them is let go', () => {
  const [first, second] = fragmentsOf(stampedFrame(4, 2, { payloadBytes: 1000 }), 800)
  ipv4.fields.fragmentOffset.set(second!, 14, 99)
  const fragments = new Reassembler<number>()
  assert.is(fragments.add('p', first!, 14, first!.length, 0), undefined)
  assert.is(fragments.add('p', second!, 14, second!.length, 1), undefined)
  for (let i = 2; i < 6000; i++) {
    ipv4.fields.id.set(first!, 14, i)
    fragments.add('p', first!, 14, first!.length, i)
  }
  const gone = fragments.takeGone()
  assert.equal(gone.slice(0, 4), [0, 1, 2, 3])
  assert.is(gone.length, 6000 - 4096)
})

test('why it stays closed', () => {
  const frame = inEsp(overlay)
  const altered = frame.slice()
  altered[60]! ^= 1
  assert.is(why(opened(frame, [])), 'no key for SPI 3 from 172.16.0.1 to 172.16.0.2')
  assert.is(why(opened(frame, [key(SA, { src: B })])), 'no key for SPI 3 from 172.16.0.1 to 172.16.0.2')
  assert.is(why(opened(altered)), 'wrong ICV: another key, or altered on the way')
  assert.is(why(opened(frame.slice(0, 80), [key(SA)], frame.length)), 'cut short by the capture or a lost fragment')
  assert.is(
    why(opened(frame, [key({ ...SA, cipher: gcmCipher(material(2, 20)) })])),
    'wrong ICV: another key, or altered on the way',
  )
  assert.is(why(opened(inEsp(overlay, SA, { nextHeader: 59 }))), 'Next Header 59: a dummy packet')
  assert.is(
    why(opened(inEsp(overlay, SA, { padding: Uint8Array.of(1, 3, 3, 4), payload: material(0, 22) }))),
    'padding does not count 1, 2, 3',
  )
  assert.is(why(opened(inIp(Uint8Array.of(0, 0, 0, 3)))), 'cut short: no whole ESP header')
  assert.is(why(opened(inIp(Uint8Array.of(0, 0, 0, 3, 0, 0, 0, 1, 9)))), 'cut short: 9 octets')
})

test('transport mode: the IP header of the outside with what it carried', () => {
  const udp = inner.subarray(34, 60)
  const result = opened(inEsp(inner, SA, { payload: udp, nextHeader: 17 }))
  assert.match(
    text(result),
    /IP 172\.16\.0\.1 > 172\.16\.0\.2 ttl 64 proto 17, UDP 4000 > 5001, length 18, stream 1 sequence 7/,
  )
})

test('the high half of extended numbers is followed past 2^32, back, and to a new start', () => {
  const sa: EspSa = { ...SA, esn: true }
  const decryptor = new Decryptor<number>([key(sa)])
  const at = (sequence: number, sequenceHigh: number) => {
    const outcome = decryptor.add('p', inEsp(overlay, sa, { sequence, sequenceHigh }), 0, 0)
    return outcome?.result.kind === 'clear' ? outcome.result.opened[0]?.sequenceHigh : 'closed'
  }
  assert.equal(
    [at(0xffff_fffe, 0), at(0xffff_ffff, 0), at(0, 1), at(0xffff_fff0, 0), at(1, 1), at(5, 2)],
    [0, 0, 1, 0, 1, 2],
  )
  assert.equal([at(1, 0), at(9, 7)], [0, 'closed'])
  const far = new Decryptor<number>([key(sa, { sequenceHigh: 7 })])
  assert.is(far.add('p', inEsp(overlay, sa, { sequence: 9, sequenceHigh: 7 }), 0, 0)?.result.kind, 'clear')
})

test('of several keys for an SPI the right one is found, whichever it was before', () => {
  const other: EspSa = { ...SA, cipher: gcmCipher(material(2, 20)) }
  const decryptor = new Decryptor<number>([key(SA, { label: 'one' }), key(other, { label: 'other' })])
  const labels = [SA, other, other, SA].map((sa, i) => {
    const result = decryptor.add('p', inEsp(overlay, sa, { sequence: i }), 0, 0)?.result
    return result?.kind === 'clear' ? result.opened[0]?.key.label : undefined
  })
  assert.equal(labels, ['one', 'other', 'other', 'one'])
})

test('random ESP never throws, and never opens', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), bytes => {
      bytes.set([0, 0, 0, 3].slice(0, bytes.length))
      assert.is(opened(inIp(bytes)).kind, 'closed')
    }),
    { numRuns: 1000 },
  )
})

/** Addresses of the innermost packet and the innermost UDP payload of each ESP frame, as tshark decrypts them. */
function tsharkReads(path: string, more: readonly string[] = []): Map<number, string> {
  const columns = ['frame.number', 'ip.src', 'ip.dst', 'udp.payload', 'esp.icv_good'].flatMap(field => ['-e', field])
  const decode = ['-o', 'esp.enable_encryption_decode:TRUE', '-o', 'esp.enable_authentication_check:TRUE']
  const args = [
    '-r',
    path,
    '-d',
    'udp.port==8472,vxlan',
    '-Y',
    'esp and not icmp',
    ...decode,
    ...tsharkSas(ESP_CASES),
    ...more,
  ]
  const lines = execFileSync('tshark', [...args, '-T', 'fields', ...columns], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return new Map(
    lines
      .trimEnd()
      .split('\n')
      .map(line => {
        const [number = '', src = '', dst = '', payload = '', icv = ''] = line.split('\t')
        const last = (list: string) => list.split(',').at(-1) ?? ''
        return [Number(number), [last(src), last(dst), last(payload), icv].join(' ')]
      }),
  )
}

/** The same of ours, by the number of the frame that made the packet whole. */
function weRead(path: string, keys: readonly EspKey[]): Map<number, string> {
  const decryptor = new Decryptor<number>(keys)
  const found = new Map<number, string>()
  const capture = openCapture(path)
  let number = 0
  capture.read(({ bytes, at, length, originalLength }) => {
    const outcome = decryptor.add('left', bytes.slice(at, at + length), originalLength, ++number)
    if (outcome?.result.kind !== 'clear') return
    const { frame, opened: packets } = outcome.result
    // After VXLAN the last IP header is not the first.
    const ip = frame[23] === 17 && ((frame[36]! << 8) | frame[37]!) === 8472 ? 64 : 14
    const [src, dst] = [ipv4.fields.src, ipv4.fields.dst].map(field => formatIpv4(field.get(frame, ip)))
    const payload = hex(frame.subarray(ip + 28, ip + ipv4.fields.totalLength.get(frame, ip)))
    // tshark 4.0 knows no extended numbers, and says so by a wrong ICV.
    const good = packets.map(({ key: { sa } }) => (sa.esn ? '0' : '1')).join(',')
    found.set(number, [src, dst, payload, good].join(' '))
  })
  capture.close()
  return found
}

function sameReading(theirs: ReadonlyMap<number, string>, ours: ReadonlyMap<number, string>): void {
  assert.equal([...theirs.keys()], [...ours.keys()])
  for (const [number, line] of theirs) assert.is(ours.get(number), line, `frame ${number}`)
}

const GOLDEN_KEYS: EspKey[] = [
  ...ESP_CASES.map(({ name, spi, esn, cipher }) => key({ spi, esn, cipher }, { label: name })),
  key({ spi: 20, esn: false, cipher: gcmCipher(new Uint8Array(20).fill(0x9f)) }),
]

test('what the kernel sealed: tshark reads frame by frame what we read', () => {
  const nested = `uat:esp_sa:"IPv4","*","*","0x00000014","AES-GCM with 16 octet ICV [RFC4106]","0x${'9f'.repeat(20)}","NULL",""`
  const ours = weRead(goldenPath('linux-esp.pcapng'), GOLDEN_KEYS)
  assert.is(ours.size, 43)
  sameReading(tsharkReads(goldenPath('linux-esp.pcapng'), ['-o', nested]), ours)
})

test('what we seal: tshark finds the ICV right and reads what we put in', () => {
  const directory = mkdtempSync(join(tmpdir(), 'castproof-decrypt-'))
  try {
    const path = join(directory, 'sealed.pcap')
    const writer = new PcapWriter(path)
    for (const { spi, esn, cipher } of ESP_CASES) {
      for (const payloadBytes of [18, 19, 33, 1300]) {
        writer.frame(inEsp(stampedFrame(1, payloadBytes, { payloadBytes }), { spi, esn, cipher }), 1, 0)
      }
    }
    writer.close()
    sameReading(tsharkReads(path), weRead(path, GOLDEN_KEYS))
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test.run()
