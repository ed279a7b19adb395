import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import type { RunResult } from '../../reports/result.ts'
import { Traces } from '../../test/leftovers.ts'
import { suite } from '../../test/suite.ts'
import { judgeRun } from '../judge.ts'
import type { RunRecord } from '../run-directory.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CASTPROOF = join(ROOT, 'castproof')
const JOIN = join(ROOT, 'suites/igmp/join.yaml')
const test = suite('the sandbox', { timeoutMs: 300_000 })
let directory: string
test.before(() => {
  directory = mkdtempSync(join(tmpdir(), 'castproof-sandbox-'))
})
test.after(() => rmSync(directory, { recursive: true }))

interface Started {
  traces: Traces
  out: string
  child: ReturnType<typeof launch>
}

function launch(words: readonly string[], env: Record<string, string>) {
  return execa(CASTPROOF, ['run', '--sandbox', 'vm', ...words], { env, reject: false })
}

function start(name: string, ...words: string[]): Started {
  const traces = new Traces()
  const out = join(directory, name)
  return { traces, out, child: launch([...words, '--out', out], traces.env) }
}

/** Resolves once the output holds the text. */
async function says({ child }: Started, wanted: string): Promise<void> {
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += String(chunk)
  })
  while (!output.includes(wanted)) {
    assert.is(child.exitCode, null, `ended before it said ${wanted}: ${output}`)
    await delay(20)
  }
}

function read<Of>(out: string, name: string): Of {
  return JSON.parse(readFileSync(join(out, name), 'utf8')) as Of
}

function verdicts({ cases }: RunResult): string[] {
  return cases.map(({ id, status, message }) => `${id} ${status} ${message}`)
}

test('a run in the machine passes, says on which kernel, and is judged alike outside', async () => {
  const { child, out, traces } = start('passes', JOIN)
  const { exitCode, stdout, stderr } = await child
  assert.is(exitCode, 0, `${stdout}\n${stderr}`)
  assert.is(stdout.split('\n').at(-1), out)
  const [stage] = read<RunRecord>(out, 'run.json').stages
  assert.is(stage?.sandbox?.kind, 'vm')
  assert.match(stage?.sandbox?.kernel ?? '', /^6\.1\./)
  assert.match(stdout, /target reference in vm with Linux 6\.1\./)
  assert.equal(verdicts(judgeRun(out)), verdicts(read<RunResult>(out, 'result.json')))
  assert.equal(await traces.remainingAfter(2000), [])
})

test('a datapath that is broken fails in there as well: exit 1 with the frame', async () => {
  const { child, out } = start('fails', JOIN, '--fault', 'duplicate-local')
  const { exitCode, stdout } = await child
  assert.is(exitCode, 1, stdout)
  const failed = read<RunResult>(out, 'result.json').cases.filter(({ status }) => status === 'fail')
  assert.ok(failed.length > 0)
  assert.ok(readdirSync(join(out, 'evidence')).length > 0)
})

test('Ctrl-C is heard in there: torn down, exit 130, nothing left', async () => {
  const run = start('stopped', JOIN)
  await says(run, ': up in')
  run.child.kill('SIGINT')
  const { exitCode, stderr } = await run.child
  assert.is(exitCode, 130, stderr)
  assert.match(stderr, run.out)
  assert.equal(await run.traces.remainingAfter(2000), [])
})

test('SIGKILL leaves no machine and no file', async () => {
  const run = start('killed', JOIN)
  await says(run, ': up in')
  const before = readdirSync(tmpdir())
  run.child.kill('SIGKILL')
  await run.child
  assert.equal(await run.traces.remainingAfter(5000), [])
  const left = readdirSync(tmpdir()).filter(name => !before.includes(name) && name.startsWith('castproof'))
  assert.equal(left, [])
})

test.run()
