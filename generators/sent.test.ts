import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { openSentLog, readSent } from './sent.ts'
import { compile } from './stream.ts'
import { readStamp } from './wire/stamp.ts'

const test = suite('sent log')

const RUN_START_NS = 1_700_000_000_123_456_789n

let folder: string
let path: string
test.beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sent-test-'))
  path = join(folder, 'sent.bin')
})
test.afterEach(() => rmSync(folder, { recursive: true }))

const stream = (number: number, name = `s${number}`) =>
  compile(
    { number, name, stamped: true, rate: 'max', count: 1, frame: { ipv4: { dst: 0xe9fc0001 }, udp: {} } },
    { runId: 9, runStartNs: RUN_START_NS, about: { role: 'fence', of: 3, pod: 'tx' } },
  )

test('what was written reads back, streams mixed, over many chunks and a pause', () => {
  const log = openSentLog(path, RUN_START_NS)
  const [a, b] = [log.stream(stream(1)), log.stream(stream(2))]
  for (let k = 0; k < 20_000; k++) {
    log.frame(a, k, 0, k * 1000, 300)
    if (k % 2 === 0) log.frame(b, 5 + k / 2, 0, k * 1000 + (k > 9999 ? 60e9 : 0), 0)
  }
  log.close()
  const { streams, problems, baseNs, byNumber } = readSent(path)
  assert.equal([streams.length, problems, baseNs], [2, [], RUN_START_NS])
  const [first, second] = [byNumber(1), byNumber(2)]
  assert.equal([first?.count, first?.role, first?.of, first?.pod, first?.name], [20_000, 'fence', 3, 'tx', 's1'])
  assert.equal([first?.timeNs(0), first?.timeNs(19_999), first?.timeNs(8192)], [300, 19_999_300, 8_192_300])
  assert.equal([second?.count, second?.sequence(9999), second?.timeNs(9999)], [10_000, 10_004, 19_998_000 + 60e9])
  assert.equal([second?.timeNs(4999), second?.timeNs(5000)], [9_998_000, 10_000_000 + 60e9])
  const bytes = second?.frames(9999)[0] ?? new Uint8Array()
  assert.equal(readStamp(bytes, 42, 60), { run: 9, stream: 2, sequence: 10_004, timeUs: 60_019_998 })
})

test("times from another origin, such as a recording's", () => {
  const log = openSentLog(path, RUN_START_NS)
  log.frame(log.stream(stream(1)), 0, 0, 5000, 7)
  log.close()
  assert.is(
    readSent(path, RUN_START_NS - 1_000_000n)
      .byNumber(1)
      ?.timeNs(0),
    1_005_007,
  )
})

test('a file still being written, or cut anywhere, gives what is whole and says what is not', () => {
  const log = openSentLog(path, RUN_START_NS)
  const one = log.stream(stream(1))
  for (let k = 0; k < 100; k++) log.frame(one, k, 0, k, 0)
  log.flush()
  const half = readFileSync(path).length
  for (let k = 100; k < 200; k++) log.frame(one, k, 0, k, 0)
  log.close()
  const whole = readFileSync(path)
  assert.equal(readSent(whole).problems, [])
  for (let bytes = half; bytes < whole.length; bytes++) {
    const { streams, problems } = readSent(whole.subarray(0, bytes))
    assert.is(streams[0]?.count, 100)
    assert.is(problems.length, bytes === half ? 0 : 1, `${bytes} of ${whole.length}: ${problems}`)
  }
})

test('a file that is no sent log, a stream of another run, an index that was not sent', () => {
  assert.throws(() => readSent(Buffer.from('PK')), /not a sent log/)
  assert.throws(() => readSent(Buffer.alloc(100)), /not a sent log/)
  const log = openSentLog(path, 1n)
  assert.throws(() => log.stream(stream(1)), /another run start/)
  log.close()
  assert.throws(() => openSentLog(path, 1n), /EEXIST/)
  rmSync(path)
  const other = openSentLog(path, RUN_START_NS)
  other.stream(stream(1))
  other.close()
  assert.throws(() => readSent(path).byNumber(1)?.frames(0), /there is no index 0/)
})

test('10 M frames in under 200 MB', () => {
  const log = openSentLog(path, RUN_START_NS)
  const one = log.stream(stream(1))
  for (let k = 0; k < 10_000_000; k++) log.frame(one, k, 0, k * 1000, 1)
  log.close()
  const before = process.memoryUsage()
  const sent = readSent(path).byNumber(1)
  let sum = 0
  for (let k = 0; k < 10_000_000; k += 1000) sum += sent?.timeNs(k) ?? 0
  const after = process.memoryUsage()
  assert.is(sum, (10_000 * 9_999_000 * 1000) / 2 + 10_000)
  const grownBytes = after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed
  assert.ok(grownBytes < 200e6, `${grownBytes / 1e6} MB`)
})

test.run()
