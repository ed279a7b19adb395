import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { CHECKS } from '../check/registry.ts'
import { yamlBelow } from './files.ts'
import { NEEDS } from './header-schema.ts'
import { PROGRAM_NAMES } from './programs.ts'
import { STEP_KINDS } from './steps/read-step.ts'

const test = suite('docs/suite-language.md')
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const PAGE = readFileSync(join(ROOT, 'docs/suite-language.md'), 'utf8')
const GOOD = yamlBelow(join(ROOT, 'runner/suite/testdata/good/suites')).map(file => readFileSync(file, 'utf8'))

test('every YAML line of the page stands in a suite that load.test.ts finds valid', () => {
  const known = new Set(GOOD.flatMap(text => text.split('\n')))
  const lines = [...PAGE.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].flatMap(([, block]) => (block ?? '').split('\n'))
  assert.ok(lines.length > 60)
  assert.equal(
    lines.filter(line => !known.has(line)),
    [],
  )
})

test('every step, check, program and need is named', () => {
  const missing = [...STEP_KINDS, ...Object.keys(CHECKS), ...PROGRAM_NAMES, ...Object.keys(NEEDS)].filter(
    word => !new RegExp(`\\b${word}\\b`).test(PAGE),
  )
  assert.equal(missing, [])
})

test.run()
