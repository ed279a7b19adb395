import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { everyStatus, exampleCase, exampleRun } from './example-result.ts'
import { resultJson } from './json.ts'
import type { RunResult } from './result.ts'
import { parseResult, resultJsonSchema } from './result-schema.ts'
import { writeJunit, writeResult, writeWhole } from './write.ts'

const test = suite('json')

test('a result survives writing and reading', () => {
  const result = exampleRun(everyStatus())
  assert.equal(parseResult(resultJson(result)), result)
})

test('what is not a result is refused with its place', () => {
  const result = exampleRun(everyStatus())
  const broken: [string, (copy: RunResult) => void][] = [
    ['cases[0].status', copy => Object.assign(copy.cases[0] ?? {}, { status: 'green' })],
    [
      'cases[1].checks[0].evidence[0].frame',
      copy => Object.assign(copy.cases[1]?.checks[0]?.evidence[0] ?? {}, { frame: 0 }),
    ],
    ['colour', copy => Object.assign(copy, { colour: 'red' })],
    ['schema', copy => Object.assign(copy, { schema: 'castproof-result/2' })],
    ['totals.pass', copy => Object.assign(copy.totals, { pass: 0.5 })],
  ]
  for (const [place, breakIt] of broken) {
    const copy = structuredClone(result)
    breakIt(copy)
    assert.throws(
      () => parseResult(JSON.stringify(copy)),
      (error: Error) => error.message.includes(place),
      place,
    )
  }
})

test('the published schema is the one of the code', () => {
  const published = readFileSync(new URL('result.schema.json', import.meta.url), 'utf8')
  assert.equal(JSON.parse(published), JSON.parse(resultJsonSchema()), 'run: node --import tsx reports/write-schema.ts')
})

test('files are written whole or not at all', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'castproof-json-'))
  try {
    const result = exampleRun([exampleCase()], { directory })
    writeResult(result)
    const [junit] = await writeJunit(result, 'out/deep', {}, directory)
    assert.is(junit, join(directory, 'out/deep/TEST-igmp.xml'))
    assert.match(readFileSync(junit ?? '', 'utf8'), '[[ATTACHMENT|../../evidence/igmp_v3-join.pcapng]]')
    assert.throws(() => writeWhole(join(directory, 'out'), 'a folder is in the way'), /EISDIR|ENOTEMPTY|EEXIST/)
    assert.equal(readdirSync(directory).sort(), ['out', 'result.json'])
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test.run()
