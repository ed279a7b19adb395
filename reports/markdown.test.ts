import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { everyStatus, exampleCase, exampleRun, failedCase } from './example-result.ts'
import { summaryMarkdown } from './markdown.ts'

const test = suite('markdown summary')

test('says first what failed, then every status once, with requirement and what was seen', () => {
  const text = summaryMarkdown(exampleRun(everyStatus()))
  assert.match(text, /^## castproof: 1 failed\n/)
  for (const heading of ['Failed', 'Not judged', 'Waived', 'Skipped']) assert.match(text, `### ${heading}\n`)
  const failed = everyStatus().find(({ status }) => status === 'fail')
  assert.ok(failed)
  assert.match(text, `| \`${failed.id}\` |`)
  assert.match(text, failed.covers[0]?.id ?? '')
})

test('passes, cannot judge, nothing ran', () => {
  const of = (cases: Parameters<typeof exampleRun>[0]) => summaryMarkdown(exampleRun(cases)).split('\n')[0]
  assert.is(of([exampleCase({})]), '## castproof: all passed')
  assert.match(
    summaryMarkdown(exampleRun([exampleCase()], { exitCode: 70 })),
    /^## castproof: all passed, but castproof has a bug\n/,
  )
  assert.is(of([exampleCase({ status: 'inconclusive' })]), '## castproof: 1 could not be judged')
  assert.is(of([exampleCase({ status: 'skip' })]), '## castproof: nothing ran')
  assert.is(of([exampleCase({ status: 'inconclusive' }), failedCase()]), '## castproof: 1 failed')
})

test('every row has as many cells as its head, whatever a message holds', () => {
  const message = 'a | b\n<script>alert(1)</script> [x](http://y) `z` \\| *b*'
  const text = summaryMarkdown(exampleRun([{ ...failedCase(), message }]))
  for (const block of text.split('\n\n')) {
    const rows = block.split('\n').filter(line => line.startsWith('|'))
    const cells = rows.map(row => row.split(/(?<!\\)(?:\\\\)*\|/).length)
    assert.is(new Set(cells).size <= 1, true, block)
  }
  assert.not.match(text, '<script>')
  assert.not.match(text, /[^\\]\]\(http/)
})

test('ten thousand failures stay below the megabyte that GitHub takes', () => {
  const cases = Array.from({ length: 10_000 }, (_, i) => ({ ...failedCase(), id: `a/${i}`, message: 'x'.repeat(200) }))
  const text = summaryMarkdown(exampleRun(cases))
  assert.ok(Buffer.byteLength(text) < 100_000)
  assert.match(text, 'and 9900 more in `result.json`')
})

test.run()
