import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { progressOf } from '../reports/progress.ts'
import type { RunResult, Status } from '../reports/result.ts'
import { suite } from '../test/suite.ts'
import { cli } from './cli.ts'
import { judgeRun } from './judge.ts'
import { type RunWanted, run } from './run.ts'
import { LAYOUT, type RunRecord } from './run-directory.ts'
import { HostSandbox } from './sandbox/host.ts'
import { keepSenderOnOneCpu } from './stage-record.ts'
import { loadSuites } from './suite/load.ts'
import type { Plan, Stage } from './suite/plan-types.ts'
import { bringUpDetached, reference } from './target/reference.ts'
import { skipsOf } from './target/requirements.ts'
import type { Site } from './target/target.ts'

const test = suite('whole runs', { timeoutMs: 120_000 })

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const never = new AbortController().signal
let directory = ''

test.before(keepSenderOnOneCpu)
test.beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'castproof-run-'))
})
test.afterEach(() => rmSync(directory, { recursive: true }))

function planOf(below: readonly string[]): Plan {
  const { plan, errors } = loadSuites(below.map(path => join(ROOT, 'suites', path)))
  assert.equal(errors, [])
  return plan
}

async function runOf(plan: Plan, changes: Partial<RunWanted> = {}): Promise<RunResult> {
  const targets = new Map([[reference.name, reference]])
  const skipped = await skipsOf(plan, targets, new Map(), never)
  const sandbox = new HostSandbox()
  const common = { directory, targets, faults: [], waivers: [], skipped, jobs: 8, retry: true }
  const wanted = { plan, ...common, sandboxOf: () => sandbox, ...changes }
  return run(wanted, progressOf({}), never)
}

function casesThat(result: RunResult, statuses: readonly Status[]): string[] {
  const found = result.cases.filter(item => statuses.includes(item.status))
  return found.map(({ id, status, message }) => `${id} ${status}: ${message}`)
}

/** Verdicts without where their frames lie: a run points into its evidence files, judge into the captures. */
function verdicts(result: RunResult) {
  return result.cases.map(({ id, status, message, checks }) => ({
    id,
    status,
    message,
    checks: checks.map(({ evidence, ...rest }) => ({
      ...rest,
      evidence: evidence.map(({ file: _file, frame: _frame, ...seen }) => seen),
    })),
  }))
}

test('every case of an area passes, and the directory alone gives the same verdicts', async () => {
  const result = await runOf(planOf(['overlay']))
  assert.ok(result.cases.length >= 10, `${result.cases.length} cases`)
  assert.equal(casesThat(result, ['fail', 'inconclusive', 'skip', 'waived']), [])
  assert.is(result.exitCode, 0)
  assert.equal(verdicts(judgeRun(directory)), verdicts(result))
})

/** A command line in process: its exit code and what it wrote. */
async function castproof(words: string[]): Promise<{ exitCode: number; output: string }> {
  let output = ''
  const sink = new Writable({
    write(chunk, _encoding, done) {
      output += String(chunk)
      done()
    },
  })
  const io = { stdout: sink, stderr: sink, env: {}, cwd: ROOT, signal: never }
  return { exitCode: await cli(words, io), output }
}

test('a fault exits 1 with field, expected, seen, tap and frame, and tshark shows the comment at that frame', async () => {
  const out = join(directory, 'run')
  const words = ['run', 'suites/delivery/group-mac.yaml', '--fault', 'wrong-group-mac', '--out', out]
  const { exitCode, output } = await castproof(words)
  assert.is(exitCode, 1, output)
  const result = JSON.parse(readFileSync(join(out, LAYOUT.result), 'utf8')) as RunResult
  const failed = result.cases.find(item => item.status === 'fail')
  const check = failed?.checks.find(item => item.status === 'fail')
  const evidence = check?.evidence[0]
  assert.ok(failed && check && evidence, output)
  for (const word of ['D33', 'ethernet.dst', '01:00:5e:', evidence.tap, `frame ${evidence.frame}`, evidence.file]) {
    assert.ok(output.includes(word), `${word} is not in:\n${output}`)
  }
  assert.match(output, /expected/)
  assert.match(output, /seen/)
  assert.ok(commentOf(join(out, evidence.file), evidence.frame).includes('ethernet.dst'))
  rmSync(join(out, LAYOUT.result))
  const judged = judgeRun(out)
  assert.is(judged.exitCode, 1)
  assert.equal(verdicts(judged), verdicts(result))
})

function commentOf(file: string, frame: number): string {
  const words = ['-r', file, '-Y', `frame.number == ${frame}`, '-T', 'fields', '-e', 'frame.comment']
  return execFileSync('tshark', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
}

test('with the programs attached nowhere no case passes', async () => {
  const siteOf = async (stage: Stage) => {
    const site = await bringUpDetached(stage.topology, never)
    return { site, done: () => site.close() }
  }
  const plan = sideBySide(planOf(['delivery', 'overlay']))
  const sandbox = new HostSandbox(siteOf)
  const result = await runOf(plan, { sandboxOf: () => sandbox, retry: false, jobs: 128 })
  assert.ok(result.cases.length >= 40, `${result.cases.length} cases`)
  assert.equal(casesThat(result, ['pass', 'skip', 'waived']), [])
  assert.is.not(result.exitCode, 0)
})

/** A site of which some answers are not the real ones. */
function altered(site: Site, change: Partial<Site>): Site {
  return new Proxy(site, {
    get(target, key) {
      const found = Reflect.get(key in change ? change : target, key) as unknown
      return typeof found === 'function' ? found.bind(key in change ? change : target) : found
    },
  })
}

/** The cases of a plan on a site that the test changes. */
function onAltered(change: (site: Site) => Partial<Site>): Pick<RunWanted, 'sandboxOf'> {
  const siteOf = async (stage: Stage) => {
    const site = await reference.bringUp(stage.topology, { faults: [] }, never)
    return { site: altered(site, change(site)), done: () => site.close() }
  }
  const sandbox = new HostSandbox(siteOf)
  return { sandboxOf: () => sandbox }
}

test('an error nobody expected ends its case only, is kept with its stack, and the run with 70', async () => {
  const plan = planOf(['delivery/group-mac.yaml', 'delivery/non-member.yaml'])
  const victim = plan.stages.flatMap(stage => stage.cases).find(item => item.id === 'delivery/non-member')
  const rx = victim?.endpoints['rx']?.[0] ?? ''
  const groups = new Set(victim?.groups.map(({ address }) => address))
  const broken = (site: Site): Partial<Site> => ({
    endpoint(pod) {
      const endpoint = site.endpoint(pod)
      if (pod !== rx) return endpoint
      const join: typeof endpoint.join = async membership => {
        if (groups.has(membership.group)) throw new TypeError('x is undefined')
        return endpoint.join(membership)
      }
      return Object.assign(Object.create(endpoint), { join })
    },
  })
  const result = await runOf(plan, { ...onAltered(broken), retry: false })
  assert.equal(casesThat(result, ['inconclusive']), [
    'delivery/non-member inconclusive: step step1 (join): x is undefined',
  ])
  assert.equal(casesThat(result, ['fail']), [])
  assert.is(result.exitCode, 70)
  const record = JSON.parse(readFileSync(join(directory, LAYOUT.run), 'utf8')) as RunRecord
  assert.is(record.bugs?.[0]?.case, 'delivery/non-member')
  assert.match(record.bugs?.[0]?.stack ?? '', /TypeError: x is undefined\n +at /)
  assert.ok(result.warnings.some(line => line.includes('a bug in castproof')))
  assert.is(judgeRun(directory).exitCode, 70)
})

test('a step that threw is no answer of the SUT, and what the case set is taken back all the same', async () => {
  const plan = planOf(['delivery/group-not-enabled.yaml'])
  const disabled: number[] = []
  const broken = (site: Site): Partial<Site> => ({
    async tryEnableGroup() {
      throw new Error('the tables are on fire')
    },
    async disableGroup(node, group) {
      disabled.push(group)
      await site.disableGroup(node, group)
    },
  })
  const result = await runOf(plan, { ...onAltered(broken), retry: false })
  assert.equal(casesThat(result, ['fail']), [])
  assert.match(casesThat(result, ['inconclusive'])[0] ?? '', /the tables are on fire/)
  assert.ok(disabled.length > 0)
})

test('a wait for tables waits for each of its nodes', async () => {
  const plan = planOf(['delivery/walk-through-tables.yaml'])
  const wanted = new Map([['n3', 5]])
  const asked: Record<string, number> = {}
  const slow = (site: Site): Partial<Site> => ({
    async tables(node) {
      asked[node] = (asked[node] ?? 0) + 1
      return (asked[node] ?? 0) <= (wanted.get(node) ?? 0) ? [] : site.tables(node)
    },
  })
  const result = await runOf(plan, onAltered(slow))
  assert.equal(casesThat(result, ['fail', 'inconclusive']), [])
})

/** Without the cases that run alone: each waits for what never comes, and that adds up. */
function sideBySide(plan: Plan): Plan {
  const stages = plan.stages.map(stage => ({ ...stage, cases: stage.cases.filter(item => !item.exclusive) }))
  return { ...plan, stages: stages.filter(stage => stage.cases.length > 0) }
}

test.run()
