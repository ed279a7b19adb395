import * as assert from 'uvu/assert'
import type { Fault } from '../bpf/faults.ts'
import { suite } from '../test/suite.ts'
import { faultsFor, leftOutLines } from './fault-choice.ts'
import type { Plan } from './suite/plan-types.ts'

const test = suite('which faults a matrix tries')

const fault = (name: string, requirement: string): Fault => ({
  name,
  place: 'datapath',
  requirements: [requirement],
  description: name,
})
const item = (id: string, requirement: string) => ({ id, covers: [{ id: requirement }] })
const PLAN = {
  stages: [{ target: 'reference', cases: [item('a', 'D01'), item('b', 'X01'), item('c', 'X01')] }],
} as unknown as Plan
const FAULTS = [fault('lost', 'D01'), fault('clear', 'X01'), fault('other', 'F01')]

const names = (skipped: Record<string, string>, some: boolean) =>
  faultsFor(PLAN, FAULTS, skipped, some).faults.map(({ name }) => name)

test('of all suites, a fault that no case is for is tried, and will survive', () => {
  assert.equal(names({}, false), ['lost', 'clear', 'other'])
})

test('of some suites, it is another suite that is for it', () => {
  assert.equal(names({}, true), ['lost', 'clear'])
})

test('a fault whose cases are all skipped is left out with their reason, one of whose cases runs is not', () => {
  const skipped = { 'reference b': 'needs esp', 'reference c': 'needs esp' }
  assert.equal(names({ 'reference b': 'needs esp' }, true), ['lost', 'clear'])
  assert.equal(names(skipped, true), ['lost'])
  assert.equal(leftOutLines(faultsFor(PLAN, FAULTS, skipped, true).leftOut), [
    '1 fault left out: needs esp',
    '1 fault left out: no case of these suites is for it',
  ])
})

test.run()
