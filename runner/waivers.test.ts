import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import type { CaseResult, Status } from '../reports/result.ts'
import { suite } from '../test/suite.ts'
import { UserError, UserErrors } from './suite/errors.ts'
import { loadSuites } from './suite/load.ts'
import { applyWaivers, readWaivers, type Waiver } from './waivers.ts'

const test = suite('waivers')

const waiver: Waiver = {
  requirement: 'D01',
  target: 'reference',
  reason: 'known',
  link: 'https://example.org/1',
  expires: '2026-12-31',
}

function result(status: Status, id = 'a/b', requirement = 'D01'): CaseResult {
  const covers = [{ id: requirement, rfc: '', level: 'MUST' as const, text: '' }]
  const rest = { file: '', line: 1, title: '', level: '', params: {}, startedAt: '', durationMs: 0 }
  return {
    id,
    status,
    covers,
    target: 'reference',
    message: 'saw 99',
    checks: [],
    ledger: [],
    attempts: [],
    attachments: [],
    ...rest,
  }
}

function applied(cases: CaseResult[], change: Partial<Waiver> = {}, day = '2026-09-01', versions = {}) {
  return applyWaivers(cases, { waivers: [{ ...waiver, ...change }], day, versions })
}

test('a failing case with a waiver is waived, and keeps its message', () => {
  const [only] = applied([result('fail')]).cases
  assert.is(only?.status, 'waived')
  assert.is(only?.message, 'known (https://example.org/1, until 2026-12-31); saw 99')
})

test('a case is not waived for one requirement while it may have broken another', () => {
  const both = { ...result('fail'), covers: [...result('fail').covers, ...result('fail', 'a/b', 'D36').covers] }
  const { cases, warnings } = applied([both])
  assert.is(cases[0]?.status, 'fail')
  assert.equal(warnings, ['a/b fails and is not waived: D01 is, but it covers D36 too; waive it by case'])
  const waivers = [waiver, { ...waiver, requirement: 'D36' }]
  assert.is(applyWaivers([both], { waivers, day: '2026-01-01', versions: {} }).cases[0]?.status, 'waived')
})

test('a waiver that concerns no case is told: most often a misspelt id', () => {
  assert.equal(applied([result('fail')], { requirement: 'D10' }).warnings, [
    'waiver of D10 concerns no case of this run on reference',
  ])
})

test('by case id, rows of a matrix included', () => {
  const { requirement: _, ...rest } = waiver
  const byCase = [{ ...rest, case: 'a/b' }]
  const cases = [result('fail', 'a/b'), result('fail', 'a/b[v=2]'), result('fail', 'a/bc')]
  assert.equal(
    applyWaivers(cases, { waivers: byCase, day: '2026-01-01', versions: {} }).cases.map(c => c.status),
    ['waived', 'waived', 'fail'],
  )
})

test('a waiver that only passing cases match is stale, which fails', () => {
  const [only] = applied([result('pass')]).cases
  assert.is(only?.status, 'fail')
  assert.match(only?.message ?? '', 'stale waiver')
  assert.equal(
    applied([result('pass'), result('fail', 'a/c')]).cases.map(c => c.status),
    ['pass', 'waived'],
  )
  assert.is(applied([result('inconclusive')]).cases[0]?.status, 'inconclusive')
})

test('a prediction that comes true waives and says so; one that does not is told and fails nothing', () => {
  const right = applied([result('fail')], { predicted: true }).cases[0]
  assert.is(right?.status, 'waived')
  assert.is(right?.message, 'known (predicted, https://example.org/1, until 2026-12-31); saw 99')
  const { cases, warnings } = applied([result('pass')], { predicted: true })
  assert.is(cases[0]?.status, 'pass')
  assert.equal(warnings, ['D01 was predicted to fail and passes: known (https://example.org/1)'])
  assert.equal(applied([result('pass', 'a/b', 'D02')], { predicted: true }).warnings, [])
})

test('what comes with castproof: every waiver reads, and names a case that there is', async () => {
  const folder = fileURLToPath(new URL('../suites/', import.meta.url))
  const { plan, errors } = await loadSuites([folder], { profiles: [], targets: ['reference', 'router'], cwd: folder })
  assert.equal(errors, [])
  const known = plan.stages.flatMap(stage => stage.cases)
  for (const name of readdirSync(join(folder, 'waivers')).filter(each => each.endsWith('.yaml'))) {
    for (const { case: id, requirement, predicted } of readWaivers(join(folder, 'waivers', name))) {
      assert.ok(
        known.some(
          one => one.id === id || one.id.startsWith(`${id}[`) || one.covers.some(each => each.id === requirement),
        ),
        `${name}: no case ${id ?? requirement}`,
      )
      if (name === 'cilium.yaml') assert.is(predicted, true, `${id}: no run on this network has shown it yet`)
    }
  }
})

test('expired, of another target, requirement or version: it does nothing', () => {
  assert.is(applied([result('fail')], {}, '2027-01-01').cases[0]?.status, 'fail')
  assert.match(applied([], {}, '2027-01-01').warnings[0] ?? '', 'expired on 2026-12-31')
  assert.is(applied([result('fail')], { target: 'kubernetes' }).cases[0]?.status, 'fail')
  assert.is(applied([result('fail', 'a/b', 'D02')]).cases[0]?.status, 'fail')
  assert.is(applied([result('fail')], { versions: '>=1.2' }).cases[0]?.status, 'fail')
})

test('version ranges', () => {
  const held: [string, string, boolean][] = [
    ['>=1.16 <1.18', '1.17.3', true],
    ['>=1.16 <1.18', '1.18.0', false],
    ['1.17.0', 'v1.17', true],
    ['>1.9', '1.10', true],
    ['<=2', '2.0.1', false],
  ]
  for (const [versions, version, holds] of held) {
    const [only] = applied([result('fail')], { versions }, '2026-09-01', { reference: version }).cases
    assert.is(only?.status, holds ? 'waived' : 'fail', `${version} in ${versions}`)
  }
})

test('a file: read whole, or every mistake with its line', () => {
  const directory = mkdtempSync(join(tmpdir(), 'castproof-waivers-'))
  try {
    const file = join(directory, 'w.yaml')
    writeFileSync(
      file,
      'castproof: 1\nwaivers:\n  - requirement: D01\n    target: reference\n    reason: known\n    link: https://example.org/1\n    expires: 2026-12-31\n',
    )
    assert.equal(readWaivers(file), [waiver])
    writeFileSync(
      file,
      'castproof: 1\nwaivers:\n  - target: 7\n    reason: known\n    link: x\n    expires: soon\n    versions: new\n',
    )
    const error = thrown(() => readWaivers(file))
    assert.instance(error, UserErrors)
    assert.ok((error as UserErrors).errors.length >= 2)
    assert.ok((error as UserErrors).errors.every(each => (each.line ?? 0) >= 3))
    assert.instance(
      thrown(() => readWaivers(join(directory, 'none.yaml'))),
      UserError,
    )
  } finally {
    rmSync(directory, { recursive: true })
  }
})

function thrown(body: () => unknown): unknown {
  try {
    body()
  } catch (error) {
    return error
  }
  return undefined
}

test.run()
