import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { openCapture } from '../../captures/capture-file.ts'
import { goldenPath } from '../../captures/testdata/golden.ts'
import { invoke } from '../../test/invoke.ts'
import { suite } from '../../test/suite.ts'

const test = suite('castproof decrypt')

const CAPTURE = goldenPath('linux-esp.pcapng')
const KEYS = goldenPath('linux-esp.keys.yaml')
let directory = ''
test.beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'castproof-decrypt-'))
})
test.afterEach(() => rmSync(directory, { recursive: true }))

const decrypt = (capture: string, keys: string, ...more: string[]) =>
  invoke(['decrypt', capture, '--keys', keys, '-o', 'clear.pcapng', ...more], directory)

function write(name: string, content: string | Uint8Array): string {
  writeFileSync(join(directory, name), content)
  return name
}

interface Shown {
  comment: string
  direction: number
  protocol: number
  time: string
}

function framesOf(path: string): Shown[] {
  const frames: Shown[] = []
  const capture = openCapture(path)
  capture.read(({ comment, direction, bytes, at, seconds, nanoseconds }) => {
    frames.push({ comment, direction, protocol: bytes[at + 23] ?? 0, time: `${seconds}.${nanoseconds}` })
  })
  capture.close()
  return frames
}

const clear = () => framesOf(join(directory, 'clear.pcapng'))

test('every ESP frame becomes what was in it, at its time and in its direction; all else stays', async () => {
  const { exitCode, stdout, stderr } = await decrypt(CAPTURE, KEYS)
  assert.is(exitCode, 0, stderr)
  assert.match(stdout, /83 frames, 43 ESP packets, 43 opened, 3 fragments joined\n/)
  assert.match(
    stdout,
    / {2}198\.51\.100\.1 > 198\.51\.100\.2 SPI 8: 3 opened, sequence 4294967281 to 4294967283 \(AES-256-CBC, hmac\(sha256\) as Linux cuts it\)\n/,
  )
  assert.match(stdout, /clear\.pcapng: 81 frames\n$/)
  const [frames, before] = [clear(), framesOf(CAPTURE)]
  assert.not.ok(frames.some(({ protocol }) => protocol === 50))
  assert.is(
    frames[0]?.comment,
    'was frame 1; ESP 198.51.100.1 > 198.51.100.2, SPI 1, sequence 4294967281, AES-128-GCM, ICV 64',
  )
  assert.equal(frames[1], before[1])
  assert.equal([frames[0]?.time, frames[0]?.direction], [before[0]?.time, before[0]?.direction])
  const twice = frames.find(({ comment }) => comment.includes('SPI 4') && comment.includes('SPI 20'))
  assert.match(
    twice?.comment ?? '',
    /^was frame 82; ESP 198\.51\.100\.1 .* ESP 10\.9\.0\.1 > 10\.9\.0\.2, SPI 20, sequence 2, inside VXLAN$/,
  )
  assert.ok(frames.some(({ comment }) => comment.startsWith('was frame 76, 77, 78; ')))
})

test('what does not open stays, counted by reason: exit 4', async () => {
  const keys = readFileSync(KEYS, 'utf8')
    .replace(/^.*spi: 3,.*\n/m, '')
    .replace(/(spi: 7,.* key: ')../, '$1ff')
  const { exitCode, stdout } = await decrypt(CAPTURE, write('keys.yaml', keys))
  assert.is(exitCode, 4)
  assert.match(stdout, /43 ESP packets, 36 opened/)
  assert.match(stdout, /4 not opened: no key for SPI 3 from 198\.51\.100\.1 to 198\.51\.100\.2/)
  const kept = clear().filter(({ protocol }) => protocol === 50)
  // Of SPI 3 three whole packets and one in three fragments, of SPI 7 three.
  assert.is(kept.length, 9)
  assert.is(kept[0]?.comment, 'ESP not opened: no key for SPI 3 from 198.51.100.1 to 198.51.100.2')
})

test('--json', async () => {
  const { stdout } = await decrypt(CAPTURE, KEYS, '--json')
  const summary = JSON.parse(stdout)
  assert.equal([summary.frames, summary.written, summary.esp, summary.opened, summary.joined], [83, 81, 43, 43, 3])
  assert.equal(summary.closed, [])
  assert.equal(summary.sas[0], {
    src: '198.51.100.1',
    dst: '198.51.100.2',
    spi: 1,
    key: 'AES-128-GCM, ICV 64',
    packets: 3,
    lowestSequence: 4294967281,
    highestSequence: 4294967283,
  })
})

test('no ESP proves nothing: exit 4', async () => {
  const { exitCode, stdout } = await decrypt(goldenPath('linux-vxlan.pcap'), KEYS)
  assert.is(exitCode, 4)
  assert.match(stdout, /there is no ESP in it/)
})

test('a capture that is cut gives what could be read: exit 4', async () => {
  const { exitCode, stdout } = await decrypt(write('cut.pcapng', readFileSync(CAPTURE).subarray(0, 9001)), KEYS)
  assert.is(exitCode, 4)
  assert.match(stdout, /reading ended at byte \d+: /)
})

test('mistakes: exit 2, in words, and nothing of keys', async () => {
  const cases: [string, string, RegExp][] = [
    ['nothing.pcapng', KEYS, /there is no file nothing\.pcapng/],
    ['.', KEYS, /\. is not a regular file/],
    [write('text.pcap', 'not a capture at all'), KEYS, /text\.pcap: neither pcapng nor pcap/],
    [CAPTURE, 'nothing.yaml', /there is no file nothing\.yaml/],
    [
      CAPTURE,
      write('short.yaml', `castproof: 1\nsas: [{ spi: 1, algorithm: rfc4106(gcm(aes)), key: 'deadbeefdeadbeef' }]\n`),
      /short\.yaml:2:7: error: rfc4106\(gcm\(aes\)\) takes 20, 28 or 36 octets/,
    ],
    [write('clear.pcapng', readFileSync(CAPTURE)), KEYS, /clear\.pcapng is the capture itself/],
  ]
  for (const [capture, keys, message] of cases) {
    const { exitCode, stderr } = await decrypt(capture, keys)
    assert.is(exitCode, 2, `${capture} ${keys}: ${stderr}`)
    assert.match(stderr, message)
    assert.not.match(stderr, /deadbeef/)
  }
})

test('no key, nor eight digits of one, in the output or in what was printed', async () => {
  const keys = [...readFileSync(KEYS, 'utf8').matchAll(/[kK]ey: '([0-9a-f]+)'/g)].map(([, key]) => key ?? '')
  assert.is(keys.length, 21)
  const { stdout, stderr } = await decrypt(CAPTURE, KEYS)
  const json = (await decrypt(CAPTURE, KEYS, '--json')).stdout
  const file = readFileSync(join(directory, 'clear.pcapng'))
  const printed = `${stdout}${stderr}${json}${clear()
    .map(({ comment }) => comment)
    .join()}`
  for (const key of keys) {
    for (let i = 0; i + 8 <= key.length; i += 2) {
      assert.not.ok(printed.includes(key.slice(i, i + 8)))
      if (i + 16 <= key.length)
        assert.is(file.indexOf(Buffer.from(key.slice(i, i + 16), 'hex')), -1, key.slice(i, i + 16))
    }
  }
})

test.run()
