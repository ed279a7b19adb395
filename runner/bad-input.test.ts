import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { invoke } from '../test/invoke.ts'
import { suite } from '../test/suite.ts'

const test = suite('bad input', { timeoutMs: 60_000 })
const GOOD = fileURLToPath(new URL('../suites/delivery/exactly-once.yaml', import.meta.url))
let directory = ''

test.before(() => {
  directory = mkdtempSync(join(tmpdir(), 'castproof-bad-'))
  writeFileSync(join(directory, 'empty.yaml'), '')
  writeFileSync(join(directory, 'big.yaml'), Buffer.alloc(10 << 20, 'a'))
  writeFileSync(join(directory, 'binary.yaml'), Buffer.from([1, 0, 2, 0xff]))
  writeFileSync(join(directory, 'waivers.yaml'), 'castproof: 1\nwaivers: [ { requirment: D01, target: reference } ]\n')
  writeFileSync(join(directory, 'run.json'), '{"schema":"castproof-run/1","stages":[{}]}')
  writeFileSync(join(directory, 'plan.json'), '{"schema":"castproof-plan/1","stages":[]}')
})
test.after(() => rmSync(directory, { recursive: true }))

const LINES: readonly [words: string[], message: RegExp][] = [
  [['run', '--target', 'mars'], /no target is called mars\n.*reference/],
  [['run', GOOD, '--fault', 'nope'], /no fault is called nope\n.*wrong-group-mac/],
  [['run', GOOD, '--filter', '((('], /--filter: it ends too early/],
  [['run', GOOD, '--profile', 'nope'], /no profile has the name `nope`\n.*default/],
  [['run', GOOD, '--waivers', '/no/such'], /cannot read \/no\/such/],
  [['run', GOOD, '--seed', 'abc'], /--seed.*'abc' is invalid/],
  [['run', GOOD, '--seed', '-1'], /'-1' is invalid/],
  [['run', GOOD, '--repeat', '0'], /'0' is invalid. It must be a whole number from 1/],
  [['run', GOOD, '--jobs', '-1'], /'-1' is invalid. It must be a whole number from 1/],
  [['run', GOOD, '--filter', 'foo:bar'], /nothing is called `foo:`/],
  [['run', GOOD, '--profile', 'nope.yaml'], /there is no profile file nope\.yaml/],
  [['run', GOOD, '--waivers', 'binary.yaml'], /binary\.yaml:1:1: error: this is not a text file/],
  [['run', GOOD, '--waivers', 'waivers.yaml'], /waivers\.yaml:2:\d+: error: [\s\S]*requirment/],
  [['run', GOOD, '--out', 'empty.yaml'], /cannot make the folder .*empty\.yaml: a file is in the way/],
  [['run', GOOD, '--out', '.'], /is not empty/],
  [['run', GOOD, '--junit', 'empty.yaml'], /cannot make the folder .*empty\.yaml: a file is in the way/],
  [['judge', '.', '--junit', 'empty.yaml'], /cannot make the folder .*empty\.yaml: a file is in the way/],
  [['run', '/no/such.yaml'], /there is no file or folder \/no\/such\.yaml/],
  [['check', 'empty.yaml'], /empty\.yaml:1:1: error: the file is empty/],
  [['check', 'big.yaml'], /big\.yaml:1:1: error: the file has 10485760 bytes/],
  [['check', 'binary.yaml'], /binary\.yaml:1:1: error: this is not a text file/],
  [['judge', '/no/such'], /\/no\/such is not a directory/],
  [['judge', '/'], /has no run\.json: not a run directory/],
  [['judge', '.'], /run\.json has no whole stage 1/],
  [['explain', 'nope'], /no case and no requirement is called nope/],
  [['frobnicate'], /unknown command 'frobnicate'/],
]

for (const [words, message] of LINES) {
  test(`castproof ${words.join(' ')}`, async () => {
    const { exitCode, stderr } = await invoke(words, directory)
    assert.is(exitCode, 2, stderr)
    assert.match(stderr, message)
    assert.not.match(stderr, /\n {4}at |this is a bug/)
  })
}

test.run()
