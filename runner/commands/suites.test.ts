import { readFileSync, writeFileSync } from 'node:fs'
import { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import type { Io } from '../io.ts'
import { UserError } from '../suite/errors.ts'
import { checkCommand } from './check.ts'
import { explainCommand } from './explain.ts'
import { listCommand } from './list.ts'

const test = suite('check, list, explain', { timeoutMs: 120_000 })
const DATA = fileURLToPath(new URL('../suite/testdata', import.meta.url))
const FAULTS = [{ name: 'to-everybody', requirements: ['D01'], description: 'every pod gets a copy' }]

/** What a command wrote, and its exit code. */
async function ran(command: (io: Io) => Promise<number>): Promise<{ out: string; err: string; code: number }> {
  const text = { out: '', err: '' }
  const sink = (key: 'out' | 'err') =>
    new Writable({
      write(chunk, _, done) {
        text[key] += String(chunk)
        done()
      },
    })
  const io: Io = { stdout: sink('out'), stderr: sink('err'), env: {}, cwd: DATA, signal: new AbortController().signal }
  const code = await command(io)
  return { ...text, code }
}

/** UPDATE=1 rewrites the twin; a person reads the difference. */
function sameAsTwin(name: string, text: string): void {
  const file = `${DATA}/${name}`
  if (process.env['UPDATE'] === '1') writeFileSync(file, text)
  assert.fixture(text, readFileSync(file, 'utf8'))
}

test('check: the count of valid files and cases', async () => {
  const { out, err, code } = await ran(io => checkCommand({ suites: ['good'], profile: [] }, io))
  assert.is(out, '9 files, 14 cases valid\n')
  assert.is(err, '')
  assert.is(code, 0)
})

test('check: all mistakes of all files, exit code 2', async () => {
  const { out, err, code } = await ran(io =>
    checkCommand({ suites: ['broken/several.yaml', 'broken/wrong-id.yaml'], profile: [] }, io),
  )
  assert.is(out, '')
  assert.is(err.match(/error:/g)?.length, 5)
  assert.match(err, '5 mistakes in 2 files\n')
  assert.is(code, 2)
})

test('list: by area', async () => {
  const { out, code } = await ran(io => listCommand({ suites: ['good'], requirements: false, json: false }, io))
  sameAsTwin('list.txt', out)
  assert.is(code, 0)
})

test('list --json and --requirements --json', async () => {
  const cases = JSON.parse(
    (await ran(io => listCommand({ suites: ['good'], requirements: false, json: true }, io))).out,
  )
  assert.is(cases.length, 14)
  const rows = JSON.parse(
    (await ran(io => listCommand({ suites: ['good'], requirements: true, json: true }, io))).out,
  ) as { id: string; cases: string[] }[]
  assert.equal(rows.find(({ id }) => id === 'D36')?.cases, ['lang/crowd'])
})

test('list --requirements: what covers which, and what nothing covers', async () => {
  const { out } = await ran(io => listCommand({ suites: ['good'], requirements: true, json: false }, io))
  assert.match(out, /D33 {2}MUST {4}RFC 1112 §6\.4\n.*\n {5}igmp\/v3-join\n/)
  assert.match(out, /not covered: .*D38/)
})

test('explain a case: steps in words, octets, what passes', async () => {
  const { out } = await ran(io => explainCommand({ id: 'lang/steps' }, io, FAULTS, ['good']))
  sameAsTwin('explain.txt', out.replace(/^checks:[\s\S]*/m, ''))
  assert.match(out, /^ {2}delivered: each pod/m)
  // The golden vector of an IGMPv2 report stands in the octets, behind a header with Router Alert.
  assert.match(out, /46c0002.{8}0{0}.*16000002e9fc0001/)
})

test('explain a requirement', async () => {
  const { out } = await ran(io => explainCommand({ id: 'd01' }, io, FAULTS, ['good']))
  assert.match(out, 'D01 (MUST)  RFC 4541 §2.1.2')
  assert.match(out, 'to-everybody: every pod gets a copy')
  assert.match(out, 'igmp/v3-join')
})

test('explain what is not there', async () => {
  try {
    await ran(io => explainCommand({ id: 'igmp/v3-jion' }, io, FAULTS, ['good']))
    assert.unreachable()
  } catch (error) {
    assert.instance(error, UserError)
    assert.is((error as UserError).hint, 'did you mean `igmp/v3-join`?')
  }
})

test.run()
