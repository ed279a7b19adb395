import { stripVTControlCharacters } from 'node:util'
import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { caseLine, consoleProgress } from './console.ts'
import { everyStatus, exampleCase, exampleCheck, exampleRun, failedCase } from './example-result.ts'
import { failureText } from './failure-text.ts'
import { emptyState, liveText } from './live-view.ts'
import type { RunResult } from './result.ts'
import { durationText, styleOf } from './style.ts'
import { summaryText } from './summary-text.ts'

const test = suite('console')

const PLAIN = { colour: false, unicode: false, columns: 100 }

/** Tells a whole run and returns what was written. */
function told(result: RunResult, terminal: boolean, quiet = false, env: Record<string, string> = {}): string {
  let text = ''
  const stream = { write: (chunk: string) => (text += chunk), isTTY: terminal, columns: 80, rows: 24 }
  const progress = consoleProgress(stream, { env, quiet })
  const stage = 'reference-1'
  progress.runStarted({ runId: result.runId, directory: result.directory, seed: 42, cases: 5, stages: 1, faults: [] })
  progress.stageStarted({ stage, target: 'reference', description: 'bundled datapath', cases: 5, nodes: 3, pods: 4 })
  progress.stageReady({ stage, tookMs: 900 })
  for (const { id } of result.cases) {
    progress.caseStarted({ stage, id, attempt: 1 })
    progress.caseStep({ stage, id, step: 's1', action: 'send' })
    progress.caseRan({ stage, id })
  }
  progress.stageJudging({ stage, cases: 5 })
  for (const one of result.cases) progress.caseFinished(one)
  progress.stageFinished({ stage, tookMs: 1500 })
  progress.runFinished(result)
  return text
}

test('a pipe gets plain lines, one a case, and the run directory last', () => {
  const text = told(exampleRun(everyStatus()), false)
  assert.is(text, stripVTControlCharacters(text))
  const lines = text.trimEnd().split('\n')
  assert.is(lines.at(-1), '/runs/20260203-040506-abcd')
  assert.is(lines[0], '5 cases in 1 stage, seed 42')
  assert.ok(lines.includes('PASS    igmp/v3-join[version=3]  12 ms'))
  assert.ok(lines.some(line => line.startsWith('FAIL  delivery/one-copy')))
  assert.ok(lines.includes('SKIP    overlay/esp  12 ms: needs esp, this kernel has none'))
  assert.ok(lines.includes('1 passed, 1 failed, 1 not judged, 1 skipped, 1 waived in 4.3 s'))
})

test('quiet leaves what did not pass and the summary', () => {
  const text = told(exampleRun(everyStatus()), false, true)
  assert.not.match(text, 'PASS ')
  assert.match(text, 'FAIL  delivery/one-copy')
  assert.match(text, 'ERROR  overlay/one-tunnel-packet')
  assert.match(text, '1 passed, 1 failed')
})

test('a terminal keeps failures and summary, and erases the rest', () => {
  const text = told(exampleRun(everyStatus()), true)
  assert.match(text, '\u001b[2K')
  const plain = stripVTControlCharacters(text)
  assert.match(plain, 'FAIL  delivery/one-copy')
  assert.ok(plain.trimEnd().endsWith('/runs/20260203-040506-abcd'))
})

test('colours obey NO_COLOR, and unicode the locale', () => {
  const colours = new RegExp(String.raw`${String.fromCharCode(27)}\[3\dm`)
  assert.match(told(exampleRun(everyStatus()), true), colours)
  assert.not.match(told(exampleRun(everyStatus()), true, false, { NO_COLOR: '1' }), colours)
  assert.match(told(exampleRun(everyStatus()), false, false, { FORCE_COLOR: '1' }), colours)
  assert.is(styleOf({}, { LANG: 'C' }).unicode, false)
  assert.is(styleOf({}, { LANG: 'C.UTF-8' }).unicode, true)
  assert.is(styleOf({}, { LC_ALL: 'POSIX', LANG: 'C.UTF-8' }).unicode, false)
})

test('the live table is never wider than the terminal nor taller than nine lines', () => {
  const state = emptyState()
  state.cases = 1000
  state.stage = 'reference-1'
  state.decided.fail = 3
  for (let i = 0; i < 40; i++) state.running.set(`delivery/${'long-name-'.repeat(12)}${i}`, 'send s1')
  for (const columns of [20, 40, 80, 200]) {
    const lines = liveText(state, { colour: false, unicode: true, columns }).split('\n')
    assert.ok(lines.length <= 9)
    assert.ok(
      lines.every(line => line.length <= columns),
      `${columns}: ${Math.max(...lines.map(l => l.length))}`,
    )
  }
  const asciiOnly = liveText(state, { ...PLAIN, columns: 40 })
  assert.match(asciiOnly, /^[\x20-\x7e\n]*$/)
})

test('a failure says everything on one screen', () => {
  const text = failureText(failedCase(), PLAIN)
  for (const fact of [
    'FAIL  delivery/one-copy  reference, suites/igmp/v3-join.yaml:12',
    'D01 MUST, RFC 3376 section 4.2',
    'delivered (line 40): expected 100 copies at rx, saw 99 (missing 17)',
    'ethernet.dst  expected 01:00:5e:01:02:03  seen 01:00:0e:01:02:03',
    'tap rx/eth0, frame 12 of evidence/igmp_v3-join.pcapng',
  ]) {
    assert.match(text, fact)
  }
})

test('a failure of a thousand lines is still one screen', () => {
  const many = <T>(one: T): T[] => Array.from({ length: 1000 }, () => one)
  const example = exampleCheck()
  const check = exampleCheck({
    details: many('a detail'),
    differences: example.differences.flatMap(many),
    evidence: example.evidence.flatMap(many),
  })
  const lines = failureText(
    failedCase({ checks: many(check), ledger: failedCase().ledger.flatMap(many) }),
    PLAIN,
  ).split('\n')
  assert.ok(lines.length <= 40, `${lines.length} lines`)
  assert.ok(lines.some(line => line.includes('992 more lines in result.json')))
})

test('a case whose stage broke has its message', () => {
  const text = failureText(exampleCase({ status: 'inconclusive', message: 'the target did not come up' }), PLAIN)
  assert.match(text, 'the target did not come up')
})

test('a summary counts skips by their reason', () => {
  const cases = Array.from({ length: 30 }, (_, i) =>
    exampleCase({ id: `esp/${i}`, status: 'skip', message: i < 20 ? 'needs esp' : `reason ${i}` }),
  )
  const text = summaryText(exampleRun(cases), PLAIN)
  assert.match(text, 'skipped 20: needs esp')
  assert.match(text, 'skipped 6 for other reasons')
  assert.ok(text.split('\n').length < 20)
})

test('a warning that came often is one line, and many are a few', () => {
  const same = summaryText(exampleRun([], { warnings: ['w', 'x', 'w'] }), PLAIN)
  assert.match(same, 'warning: w (2 times)\nwarning: x\n')
  const many = summaryText(exampleRun([], { warnings: Array.from({ length: 50 }, (_, i) => `w${i}`) }), PLAIN)
  assert.match(many, 'and 42 more warnings')
})

test('durations read well', () => {
  assert.equal([0.42, 12.3, 999, 1234, 184_000].map(durationText), ['0.4 ms', '12 ms', '999 ms', '1.2 s', '3 min 4 s'])
})

test('what a program wrote does not steer the terminal', () => {
  const evil = 'text\u001b[2J\r\u009b1A'
  const check = exampleCheck({
    details: [evil],
    differences: [{ field: 'line 1', expected: evil, seen: evil }],
    evidence: [{ tap: 'rx/eth0', file: 'evidence/x.pcapng', frame: 1, note: evil }],
  })
  const cases = [failedCase({ checks: [check] }), exampleCase({ status: 'inconclusive', message: evil })]
  const run = exampleRun([...cases, exampleCase({ status: 'skip', message: evil })], { warnings: [evil] })
  const style = styleOf({}, {})
  const texts = [...run.cases.flatMap(one => [failureText(one, style), caseLine(one, style)]), summaryText(run, style)]
  assert.not.match(texts.join('\n'), /(?!\n)\p{Cc}/u)
  assert.match(texts.join('\n'), 'expected text?[2J??1A')
})

test('a terminal of no known size has 100 columns', () => {
  assert.is(styleOf({ isTTY: true, columns: 0 }, {}).columns, 100)
  assert.is(styleOf({ isTTY: true, columns: 5 }, {}).columns, 20)
})

test.run()
