import * as assert from 'uvu/assert'
import type { CaseResult, RunResult, Status } from '../reports/result.ts'
import { suite } from '../test/suite.ts'
import { stagesAgain } from './run.ts'
import type { Plan, PlannedCase, Stage } from './suite/plan-types.ts'

const test = suite('run')

test('what failed on one target is not repeated because the other target could not be judged', () => {
  const stage = (target: string): Stage =>
    ({ name: `${target}-1`, target, cases: [{ id: 'a/b' } as PlannedCase] }) as Stage
  const plan = { stages: [stage('reference'), stage('exec')] } as Plan
  const result = (statuses: Record<string, Status>): RunResult => {
    const cases = Object.entries(statuses).map(([target, status]) => ({ id: 'a/b', target, status }) as CaseResult)
    return { cases } as RunResult
  }
  const again = (statuses: Record<string, Status>) => stagesAgain(plan, result(statuses)).map(({ name }) => name)
  assert.equal(again({ reference: 'fail', exec: 'inconclusive' }), ['exec-1'])
  assert.equal(again({ reference: 'inconclusive', exec: 'inconclusive' }), ['reference-1', 'exec-1'])
  assert.equal(again({ reference: 'fail', exec: 'pass' }), [])
})

test.run()
