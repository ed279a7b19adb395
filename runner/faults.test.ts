import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import type { RunResult } from '../reports/result.ts'
import { suite } from '../test/suite.ts'
import { idleCases, rowOf } from './fault-row.ts'
import { ALL_FAULTS } from './faults.ts'
import { loadRequirements } from './requirements.ts'

const test = suite('registry of faults')

test('docs/faults.md has a row for each, as the registry has it', () => {
  const page = readFileSync(new URL('../docs/faults.md', import.meta.url), 'utf8')
  const rows = page
    .split('\n')
    .filter(line =>
      /^\| [a-z0-9-]+ \| (datapath|control plane|encryption|generator|exporter|router|collector|metrics) /.test(line),
    )
  const wanted = ALL_FAULTS.map(
    ({ name, place, requirements, description }) =>
      `| ${name} | ${place} | ${requirements.join(', ')} | ${description} |`,
  )
  assert.equal(rows, wanted)
})

test('faults break requirements that there are', () => {
  const { requirements } = loadRequirements()
  const unknown = ALL_FAULTS.flatMap(fault => fault.requirements.filter(id => !requirements.has(id)))
  assert.equal(unknown, [])
})

const covering = (id: string, requirement: string, status: string) => ({ id, status, covers: [{ id: requirement }] })

/** Of a run with a fault of D01: what each case came to. */
function row(...cases: ReturnType<typeof covering>[]) {
  const count = (status: string) => cases.filter(item => item.status === status).length
  const totals = { pass: count('pass'), fail: count('fail'), inconclusive: count('inconclusive') }
  const fault = { name: 'x', place: 'datapath', requirements: ['D01'], description: 'x' } as const
  return rowOf(fault, { cases, totals } as unknown as RunResult, 0)
}

test('a fault is killed by cases that fail and cover what it breaks, by no others', () => {
  const { killedBy, alsoFailed, inconclusive } = row(
    covering('a', 'D01', 'fail'),
    covering('b', 'D02', 'fail'),
    covering('c', 'D01', 'inconclusive'),
    covering('d', 'D01', 'pass'),
  )
  assert.equal({ killedBy, alsoFailed, inconclusive }, { killedBy: ['a'], alsoFailed: ['b'], inconclusive: ['c'] })
})

test('a case is idle unless it fails where half of the others pass', () => {
  const narrow = row(covering('a', 'D01', 'fail'), covering('b', 'D01', 'pass'), covering('c', 'D01', 'fail'))
  const wide = row(
    covering('a', 'D01', 'fail'),
    covering('b', 'D01', 'fail'),
    covering('c', 'D01', 'inconclusive'),
    covering('d', 'D01', 'pass'),
  )
  assert.equal(idleCases(['a', 'b', 'c'], [narrow]), ['b'])
  assert.equal(idleCases(['a', 'b', 'c', 'd'], [wide]), ['a', 'b', 'c', 'd'])
})

test.run()
