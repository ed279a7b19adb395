import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { parse } from 'yaml'
import { suite } from '../../test/suite.ts'
import { temporaryFolders } from '../../test/temporary.ts'

const test = suite('GitHub action', { timeoutMs: 180_000 })
const temporaryFolder = temporaryFolders(test)

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** The action's step as a runner runs it: `bash -e` with pipefail, inputs as its `env` says. */
async function runStep(inputs: Record<string, string>) {
  const action = parse(readFileSync(join(ROOT, 'action.yml'), 'utf8')) as {
    inputs: Record<string, { default?: string }>
    runs: { steps: { id?: string; run?: string; env?: Record<string, string> }[] }
  }
  const step = action.runs.steps.find(({ id }) => id === 'run')
  assert.ok(step?.run && step.env)
  const workspace = temporaryFolder('action-')
  const files = { GITHUB_OUTPUT: join(workspace, 'output'), GITHUB_STEP_SUMMARY: join(workspace, 'summary') }
  for (const path of Object.values(files)) writeFileSync(path, '')
  const inputFor = (expression: string): string => {
    const name = /inputs\.([a-z-]+)/.exec(expression)?.[1]
    return name === undefined ? ROOT : (inputs[name] ?? action.inputs[name]?.default ?? '')
  }
  const env = Object.fromEntries(Object.entries(step.env).map(([name, expression]) => [name, inputFor(expression)]))
  mkdirSync(join(workspace, 'src'))
  writeFileSync(join(workspace, 'step.sh'), step.run)
  const bash = ['--noprofile', '--norc', '-eo', 'pipefail', join(workspace, 'step.sh')]
  const { exitCode } = await execa('bash', bash, {
    cwd: join(workspace, 'src'),
    env: { ...env, ...files },
    reject: false,
  })
  const text = (path: string) => readFileSync(path, 'utf8')
  const junit = readdirSync(join(workspace, 'src/castproof/junit'))
  return { exitCode, output: text(files.GITHUB_OUTPUT), summary: text(files.GITHUB_STEP_SUMMARY), junit }
}

test('a right network goes through, with JUnit, summary and outputs', async () => {
  const { exitCode, output, summary, junit } = await runStep({
    target: 'reference',
    suites: `${ROOT}suites/delivery/group-mac.yaml`,
  })
  assert.is(exitCode, 0)
  assert.is(output, 'exit-code=0\njunit=castproof/junit\n')
  assert.match(summary, /^## castproof: all passed/)
  assert.equal(junit, ['TEST-delivery.xml'])
})

test('a wrong one does not, and leaves the same files', async () => {
  const { exitCode, output, summary, junit } = await runStep({
    target: 'reference',
    suites: `${ROOT}suites/delivery/group-mac.yaml`,
    arguments: '--fault\nwrong-group-mac\n',
  })
  assert.is(exitCode, 1)
  assert.match(output, 'exit-code=1')
  assert.match(summary, /^## castproof: 4 failed/)
  assert.equal(junit, ['TEST-delivery.xml'])
})

test.run()
