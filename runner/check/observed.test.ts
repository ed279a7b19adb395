import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import type { Fact } from '../observation.ts'
import type { MembershipWant, OutputWant } from '../suite/expectations.ts'
import { drops } from './drops.ts'
import { membership } from './membership.ts'
import { output } from './output.ts'
import { GROUP, Scenario } from './scenario.ts'

const test = suite('checks membership, drops, output')

function observed(...facts: Fact[]): Scenario {
  const scenario = new Scenario()
  for (const fact of facts) scenario.observe(fact)
  return scenario
}

const local = {
  subscriber: '10.1.0.2',
  type: 'Local Endpoint' as const,
  mode: 'include' as const,
  sources: ['10.1.0.9', '10.1.0.1'],
}
const remote = { subscriber: '10.0.0.2', type: 'Remote Node' as const }
const tables = (...subscribers: (typeof local | typeof remote)[]): Fact => ({
  kind: 'tables',
  step: 'snap',
  node: 'n1',
  groups: [
    { group: '233.252.0.1', subscribers },
    { group: '233.252.0.9', subscribers: [remote] },
  ],
})
const want: MembershipWant = { step: 'snap', node: 'n1', group: GROUP, subscribers: [{ pod: 'rx' }, { node: 'n2' }] }

function judgeTable(scenario: Scenario, change: Partial<MembershipWant> = {}) {
  return membership.judge({ ...want, ...change }, scenario.sent, scenario.seen)
}

test('membership: exactly the subscribers, by address and type', () => {
  assert.is(judgeTable(observed(tables(remote, local))).status, 'pass')
  assert.match(judgeTable(observed(tables(local))).message, 'missing 10.0.0.2 (Remote Node)')
  assert.match(
    judgeTable(observed(tables(local, remote)), { subscribers: [{ pod: 'rx' }] }).message,
    'not expected 10.0.0.2 (Remote Node)',
  )
  assert.is(judgeTable(observed(tables(local, remote, remote))).status, 'fail')
  assert.is(judgeTable(observed(tables(local, { ...local, subscriber: '10.0.0.2' }))).status, 'fail')
})

test('membership: no subscribers means none, with or without an entry', () => {
  assert.is(judgeTable(observed(tables()), { subscribers: [] }).status, 'pass')
  assert.is(judgeTable(observed(tables()), { subscribers: [], group: GROUP + 1 }).status, 'pass')
  assert.is(judgeTable(observed(tables(remote)), { subscribers: [] }).status, 'fail')
})

test('membership: filter mode and sources where they are wanted', () => {
  const sources = [0x0a010001, 0x0a010009]
  const pod = (mode: 'include' | 'exclude') => ({ subscribers: [{ pod: 'rx', mode, sources }] })
  assert.is(judgeTable(observed(tables(local)), pod('include')).status, 'pass')
  const verdict = judgeTable(observed(tables(local)), { subscribers: [{ pod: 'rx', mode: 'exclude', sources: [1] }] })
  assert.is(verdict.status, 'fail')
  assert.equal(
    verdict.differences?.map(({ field }) => field),
    ['mode of 10.1.0.2', 'sources of 10.1.0.2'],
  )
})

test('membership: no snapshot is inconclusive', () => {
  assert.is(judgeTable(observed()).status, 'inconclusive')
  assert.is(judgeTable(observed(tables(local, remote)), { node: 'n2' }).status, 'inconclusive')
})

const counters = (step: string, reasons: Record<string, number>): Fact => ({ kind: 'drops', step, node: 'n1', reasons })

test('drops: growth between two snapshots, by reason', () => {
  const scenario = observed(counters('a', { ttl: 3, none: 0 }), counters('b', { ttl: 8, vni: 2, none: 0 }))
  const judge = (reasons: Record<string, number | { atLeast: number }>) =>
    drops.judge({ between: ['a', 'b'], node: 'n1', reasons }, scenario.sent, scenario.seen)
  assert.is(judge({ ttl: 5, vni: { atLeast: 1 }, none: 0 }).status, 'pass')
  const verdict = judge({ ttl: 4 })
  assert.is(verdict.status, 'fail')
  assert.is(verdict.message, 'expected 4 drops "ttl" on n1, saw 5 (3 to 8)')
  const missing = drops.judge({ between: ['a', 'c'], node: 'n1', reasons: { ttl: 0 } }, scenario.sent, scenario.seen)
  assert.is(missing.status, 'inconclusive')
  const misspelt = judge({ tll: 0 })
  assert.is(misspelt.status, 'inconclusive', 'a counter that is not there cannot have grown')
  assert.match(misspelt.message, 'n1 has no drop counter "tll"')
})

const line = (text: string, event: 'stdout' | 'stderr' | 'exit' = 'stdout'): Fact => ({
  kind: 'program',
  step: 'p',
  pod: 'rx',
  program: 'socat-receive',
  event,
  text,
})

test('output: counted, exact lines, exit codes', () => {
  const scenario = observed(
    line('hello, multicast!'),
    line('other'),
    line('hello, multicast!'),
    line(''),
    line('0', 'exit'),
  )
  const judge = (change: Partial<OutputWant>) =>
    output.judge({ step: 'p', source: 'stdout', ...change }, scenario.sent, scenario.seen)
  assert.is(judge({ contains: 'hello', count: 2, exitCode: 0 }).status, 'pass')
  assert.is(judge({ equals: ['hello, multicast!', 'other', 'hello, multicast!'] }).status, 'pass')
  assert.is(judge({ count: 3 }).status, 'pass')
  assert.is(judge({ contains: 'hello' }).status, 'pass')
  assert.match(
    judge({ contains: 'hello', count: 1 }).message,
    'expected 1 lines with "hello" on stdout of p, saw 2 of 3 lines',
  )
  assert.is(judge({ contains: 'goodbye' }).status, 'fail')
  assert.match(
    judge({ equals: ['hello, multicast!'] }).message,
    'line 2 on stdout of p: expected "(no more lines)", saw "other"',
  )
  assert.match(judge({ exitCode: 1 }).message, 'expected p to end with 1, saw 0')
  assert.is(judge({ source: 'stderr', count: 0 }).status, 'pass')
  assert.is(judge({ step: 'q', count: 0 }).status, 'inconclusive')
})

test('output: of a program that broke down, silence and missing lines prove nothing', () => {
  const judge = (exit: string, change: Partial<OutputWant>) => {
    const scenario = observed(line('setpriv: failed to execute socat', 'stderr'), line(exit, 'exit'))
    return output.judge({ step: 'p', source: 'stdout', ...change }, scenario.sent, scenario.seen)
  }
  assert.is(judge('127', { count: 0 }).status, 'inconclusive')
  assert.is(judge('1', { count: 0 }).message, 'program p ended by itself with 1')
  assert.is(judge('1', { contains: 'hello' }).status, 'inconclusive')
  assert.is(judge('127', { exitCode: 0 }).status, 'inconclusive')
  assert.is(judge('1', { exitCode: 0 }).status, 'fail', 'how it ends is what was asked')
  assert.is(judge('143', { count: 0 }).status, 'pass', 'we stopped it')
})

test.run()
