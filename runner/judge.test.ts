import { execFileSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { resultJson } from '../reports/json.ts'
import { junitFiles } from '../reports/junit.ts'
import type { CaseResult, Status } from '../reports/result.ts'
import { parseResult } from '../reports/result-schema.ts'
import { suite } from '../test/suite.ts'
import { caseKey } from './case-key.ts'
import { Scenario } from './check/scenario.ts'
import { writeRunDirectory } from './check/scenario-directory.ts'
import { judgeRun } from './judge.ts'
import { LAYOUT } from './run-directory.ts'
import { UserError } from './suite/errors.ts'
import type { CheckName, ExpectationWants } from './suite/expectations.ts'

const test = suite('judge a run directory')
let directory = ''
test.beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'castproof-judge-'))
})
test.afterEach(() => rmSync(directory, { recursive: true }))

const RX = 'taps/test-1-rx.pcapng'

/** A case with one expectation of each kind about the same stream. */
function wholeCase(): Scenario {
  const scenario = new Scenario()
  const stream = { stream: 's1' }
  const control = { stream: 's1', to: ['rx', 'far'] }
  const uplink = (node: string, direction: 'in' | 'out', copies: number) => ({
    place: 'uplink' as const,
    node,
    direction,
    copies,
  })
  const wants: Partial<ExpectationWants> = {
    delivered: { ...stream, to: ['rx', 'far'], frames: 10, groupMac: true },
    'not-delivered': { ...stream, to: ['idle', 'far2'], control, allowWeaker: false },
    duplicates: { ...stream, at: ['rx', 'far'] },
    order: { ...stream, at: ['rx', 'far'] },
    content: { ...stream, at: ['rx', 'far'] },
    replication: {
      ...stream,
      senders: [
        {
          pod: 'tx',
          counts: [uplink('n1', 'out', 1), uplink('n1', 'in', 0), uplink('n2', 'out', 0), uplink('n2', 'in', 1)],
        },
      ],
    },
    encapsulated: { ...stream, fromNodes: ['n1'], toNodes: ['n2'], levels: 1, groupMac: true },
    latency: { ...stream, to: ['rx', 'far'], enforced: false },
  }
  const checks = Object.entries(wants) as [keyof ExpectationWants, ExpectationWants[keyof ExpectationWants]][]
  for (const [check, want] of checks) scenario.expect.push({ check, line: 1, want })
  scenario.step({ id: 's1', line: 1, action: 'snapshot' }, () => scenario.sendWhole('s1', ['rx', 'far']))
  return scenario
}

function judged(options = {}) {
  const result = judgeRun(directory, options)
  const [only] = result.cases
  if (!only) throw new Error('no case')
  return { result, only, statuses: statusOf(only) }
}

test('a case that did not run has a time as well: result.json keeps its schema, JUnit its timestamps', () => {
  const absent = wholeCase()
  absent.observations.length = 0
  writeRunDirectory(directory, absent)
  const statusOfOnly = () => {
    const { result, only } = judged()
    parseResult(resultJson(result))
    const [file] = junitFiles(result, { attachmentPath: path => path })
    assert.match(file?.text ?? '', `timestamp="${result.startedAt.slice(0, 19)}"`)
    return only.status
  }
  assert.is(statusOfOnly(), 'inconclusive')
  const path = join(directory, LAYOUT.run)
  const skipped = { [caseKey('reference', 'test/case')]: 'needs esp' }
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), skipped }))
  assert.is(statusOfOnly(), 'skip')
})

test('a right run passes every check, with ledger, efficiency and exit code 0', () => {
  writeRunDirectory(directory, wholeCase())
  const { result, only } = judged()
  for (const { check, status, message } of only.checks) assert.is(status, 'pass', `${check}: ${message}`)
  assert.is(only.status, 'pass')
  assert.is(result.exitCode, 0)
  assert.is(only.replicationEfficiency, 1)
  const uplink = only.ledger.find(row => row.tap === 'n1/eth0')
  assert.equal(uplink, { stream: 's1', tap: 'n1/eth0', layer: 'uplink', direction: 'out', sent: 10, copies: 10 })
  const { latencyUsP99 = 0 } = only.checks.find(({ check }) => check === 'latency')?.measurements ?? {}
  assert.ok(latencyUsP99 > 0)
})

function statusOf(only: CaseResult): Partial<Record<CheckName, Status>> {
  return Object.fromEntries(only.checks.map(({ check, status }) => [check, status]))
}

/** Frame numbers, as editcap counts them, of a stream's copies in the capture of rx. */
function framesAtRx(scenario: Scenario): number[] {
  const stream = scenario.sent.of('s1')[0]
  const frames = scenario.frames.filter(f => f.tap === 'rx/eth0').sort((a, b) => a.timeNs - b.timeNs)
  return frames.flatMap((f, i) => (f.stream === stream?.number ? [i + 1] : []))
}

function replaceRx(path: string): void {
  renameSync(path, join(directory, RX))
}

test('a frame taken out with editcap is missing; the altered capture is named', () => {
  const scenario = wholeCase()
  writeRunDirectory(directory, scenario)
  const out = join(directory, 'out.pcapng')
  execFileSync('editcap', [join(directory, RX), out, String(framesAtRx(scenario)[3])], { stdio: 'ignore' })
  replaceRx(out)
  const { result, only, statuses } = judged()
  assert.is(statuses.delivered, 'fail')
  assert.match(only.message, 'missing 3')
  assert.is(statuses['not-delivered'], 'inconclusive', 'its positive control is not complete')
  assert.is(statuses.order, 'pass')
  assert.equal(result.altered, [RX])
  assert.is(result.exitCode, 1)
})

test('a frame doubled with editcap and mergecap is a duplicate', () => {
  const scenario = wholeCase()
  writeRunDirectory(directory, scenario)
  const [one, out] = [join(directory, 'one.pcapng'), join(directory, 'out.pcapng')]
  execFileSync('editcap', ['-r', join(directory, RX), one, String(framesAtRx(scenario)[5])], { stdio: 'ignore' })
  execFileSync('mergecap', ['-w', out, join(directory, RX), one], { stdio: 'ignore' })
  replaceRx(out)
  const { only, statuses } = judged()
  assert.is(statuses.duplicates, 'fail', only.checks.find(c => c.check === 'duplicates')?.message)
  assert.is(statuses.delivered, 'fail')
  assert.match(only.message, 'duplicated 5')
})

test('evidence names the frame in its own file, and the file carries the note as a comment', () => {
  const scenario = wholeCase()
  const stream = scenario.sent.of('s1')[0]
  if (stream) scenario.double(scenario.at('rx/eth0', stream, 5)[0])
  writeRunDirectory(directory, scenario)
  const { only } = judged({ evidence: true })
  const evidence = only.checks[0]?.evidence[0]
  assert.is(evidence?.file, 'evidence/test-case.pcapng')
  assert.equal(only.attachments, ['evidence/test-case.pcapng'])
  const shown = execFileSync(
    'tshark',
    [
      '-r',
      join(directory, evidence?.file ?? ''),
      '-Y',
      `frame.number == ${evidence?.frame}`,
      '-T',
      'fields',
      '-e',
      'frame.comment',
      '-e',
      'frame.interface_name',
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  assert.match(shown.toString(), 's1 5: copy 2 of 2 at rx/eth0')
  assert.match(shown.toString(), 'rx/eth0')
})

test('the verdicts do not depend on result.json, and are the same each time', () => {
  writeRunDirectory(directory, wholeCase())
  const first = judgeRun(directory)
  writeFileSync(join(directory, LAYOUT.result), '{"cases": "lies"}')
  assert.equal(judgeRun(directory), first)
})

test('a capture that ends early is judged as far as it goes, and proves nothing', () => {
  writeRunDirectory(directory, wholeCase())
  truncateSync(join(directory, RX), 1000)
  const { result, statuses } = judged()
  assert.is(statuses.delivered, 'inconclusive')
  assert.is(statuses['not-delivered'], 'inconclusive')
  assert.is(result.exitCode, 4)
  assert.ok(result.warnings.some(line => line.startsWith(`${RX}: byte`)))
})

test('a capture that is not there, or is no capture, is a warning and no proof', () => {
  for (const spoil of [() => rmSync(join(directory, RX)), () => writeFileSync(join(directory, RX), 'no capture')]) {
    writeRunDirectory(mkdtempInPlace(), wholeCase())
    spoil()
    const { result, statuses } = judged()
    assert.is(statuses.delivered, 'inconclusive')
    assert.ok(result.warnings.some(line => line.includes(RX)))
  }
})

function mkdtempInPlace(): string {
  rmSync(directory, { recursive: true })
  directory = mkdtempSync(join(tmpdir(), 'castproof-judge-'))
  return directory
}

test('what is no run directory is a user error with a plain message', () => {
  const spoil: [string, () => void, RegExp][] = [
    ['no run.json', () => rmSync(join(directory, LAYOUT.run)), /has no run\.json/],
    ['no plan.json', () => rmSync(join(directory, LAYOUT.plan)), /has no plan\.json/],
    ['no sent.bin', () => rmSync(join(directory, LAYOUT.sent)), /has no sent\.bin/],
    ['no observations', () => rmSync(join(directory, LAYOUT.observations)), /has no observations\.jsonl/],
    ['broken JSON', () => writeFileSync(join(directory, LAYOUT.plan), '{"sch'), /is not JSON/],
    ['another schema', () => writeFileSync(join(directory, LAYOUT.run), '{"schema":"x/9"}'), /has schema "x\/9"/],
    ['null', () => writeFileSync(join(directory, LAYOUT.run), 'null'), /has schema undefined/],
    ['no sent log', () => writeFileSync(join(directory, LAYOUT.sent), 'nonsense'), /not a sent log/],
    [
      'broken line',
      () => writeFileSync(join(directory, LAYOUT.observations), 'x\n{}\n'),
      /observations\.jsonl:1 is not/,
    ],
  ]
  for (const [what, change, message] of spoil) {
    writeRunDirectory(mkdtempInPlace(), wholeCase())
    change()
    assert.throws(
      () => judgeRun(directory),
      (error: unknown) => error instanceof UserError && message.test(error.message),
      what,
    )
  }
  assert.throws(() => judgeRun(join(directory, 'nowhere')), /is not a directory/)
})

test('a last observation that was cut off is left out with a warning', () => {
  writeRunDirectory(directory, wholeCase())
  appendFileSync(join(directory, LAYOUT.observations), '{"tNs":"17')
  const { result, only } = judged()
  assert.is(only.status, 'pass')
  assert.ok(result.warnings.some(line => line.includes('ends in the middle')))
})

test('a sent log that was cut makes everything inconclusive', () => {
  writeRunDirectory(directory, wholeCase())
  const path = join(directory, LAYOUT.sent)
  truncateSync(path, readFileSync(path).length - 40)
  assert.is(judged().only.status, 'inconclusive')
})

test('a step that did not come to pass is told; a limit that was not kept is a failure', () => {
  const scenario = wholeCase()
  scenario.steps.push({
    id: 'w',
    line: 7,
    action: 'wait',
    until: { until: 'sent', stream: 's1', frames: 1 },
    timeoutMs: 1,
  })
  scenario.observe({ kind: 'step', step: 'w', action: 'wait', phase: 'end', ok: false, detail: 'too late' })
  writeRunDirectory(directory, scenario)
  assert.is(judged().only.message, 'step w (wait): too late')
  assert.is(judged().only.status, 'inconclusive')
  scenario.steps.push({ id: 'g', line: 8, action: 'group', groups: [1], enable: true, nodes: ['n1'], refused: 1 })
  scenario.observe({
    kind: 'step',
    step: 'g',
    action: 'group',
    phase: 'end',
    ok: false,
    detail: '0 groups were refused, expected 1',
  })
  writeRunDirectory(mkdtempInPlace(), scenario)
  assert.is(judged().only.status, 'fail')
})

test('a case without an attempt or without checks is inconclusive, never a pass', () => {
  const scenario = new Scenario()
  scenario.expect.push({ check: 'duplicates', line: 1, want: { stream: 's1', at: ['rx'] } })
  writeRunDirectory(directory, scenario)
  assert.is(judged().only.message, 'the case was not run')
  assert.is(judged().only.status, 'inconclusive')
  const empty = wholeCase()
  empty.expect.length = 0
  empty.steps.length = 0
  writeRunDirectory(mkdtempInPlace(), empty)
  assert.is(judged().only.status, 'inconclusive')
})

test.run()
