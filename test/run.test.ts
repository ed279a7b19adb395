import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { kindOf } from './kinds.ts'
import { judgeTests, runCheck } from './run-file.ts'
import { suite } from './suite.ts'

const test = suite('test runner')

const ENDED = { code: 0, signal: null, durationMs: 1, timedOut: false }
const LIMIT_MS = 1000

function judged(output: string, changes: Partial<Parameters<typeof judgeTests>[0]> = {}) {
  const { passed, failed, skips, problem } = judgeTests({ ...ENDED, output, ...changes }, LIMIT_MS)
  return { passed, failed, skipped: skips.length, ok: problem === '' }
}

test('a file that ran all its tests passes', () => {
  const result = judged('dots\n@tests registered=3 finished=3 hookErrors=0\n')
  assert.equal(result, { passed: 3, failed: 0, skipped: 0, ok: true })
})

test('a silent pass is a failure', () => {
  const silent: [string, object][] = [
    ['', {}],
    ['all fine', {}],
    ['@tests registered=0 finished=0 hookErrors=0', {}],
    ['@tests registered=3 finished=3 hookErrors=1', {}],
    ['@tests registered=3 finished=3 hookErrors=0', { code: 1 }],
    ['@tests registered=3 finished=3 hookErrors=0', { code: null, signal: 'SIGSEGV' }],
    ['@tests registered=3 finished=3 hookErrors=0', { code: null, signal: 'SIGKILL', timedOut: true }],
    ['@tests registered=3 finished=0 hookErrors=0', {}],
    ['@tests registered=3 finished=3 hookErrors=0', { left: ['castproof-probe-x'] }],
  ]
  for (const [output, changes] of silent)
    assert.ok(judged(output, changes).failed > 0, JSON.stringify([output, changes]))
})

test('a failed test counts once', () => {
  const result = judged('@tests registered=5 finished=4 hookErrors=0', { code: 1 })
  assert.equal(result, { passed: 4, failed: 1, skipped: 0, ok: true })
})

test('a skip is no pass', () => {
  const result = judged('\n@skip esp no INET_ESP\n@tests registered=5 finished=5 hookErrors=0')
  assert.equal(result, { passed: 4, failed: 0, skipped: 1, ok: true })
})

test('names say the kind, and a misspelt kind is told', () => {
  assert.equal(['a.test.ts', 'a.netns.test.ts', 'a.bpf.test.ts', 'a.vm.test.ts', 'a.ts', 'test.ts'].map(kindOf), [
    'unit',
    'netns',
    'bpf',
    'vm',
    undefined,
    undefined,
  ])
  assert.throws(() => kindOf('a.netn.test.ts'), /no kind/)
})

test('a check that hangs is killed with its children', async () => {
  const script = 'sleep 3600 & echo "child $!"; wait'
  const result = await runCheck('/', 'hang', ['sh', '-c', script], 300)
  assert.is(result.failed, 1)
  assert.match(result.problem, 'killed after')
  const child = Number(/child (\d+)/.exec(result.output)?.[1])
  // Its pipe closes, which ends the check, a moment before the kernel calls it dead.
  const endMs = performance.now() + 5000
  while (isAlive(child) && performance.now() < endMs) await delay(5)
  assert.ok(!isAlive(child))
})

/** A killed orphan stays a zombie for as long as its new parent does not ask for it. */
function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
}

test.run()
