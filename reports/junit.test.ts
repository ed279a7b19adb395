import { XMLParser, XMLValidator } from 'fast-xml-parser'
import { parse as parseJunit } from 'junit2json'
import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { everyStatus, exampleCase, exampleCheck, exampleRun, failedCase } from './example-result.ts'
import { attachmentPaths, junitFiles } from './junit.ts'
import { attachmentBase } from './write.ts'

const test = suite('junit')

const OPTIONS = { attachmentPath: (relative: string) => `runs/1/${relative}` }

interface Case {
  classname: string
  name: string
  time: string
  failure?: Outcome[]
  error?: Outcome[]
  skipped?: Outcome[]
  'system-out'?: string[]
}

interface Outcome {
  message: string
  type?: string
  '#text': string
}

interface Suite {
  name: string
  tests: string
  failures: string
  errors: string
  skipped: string
  time: string
  timestamp: string
  testcase?: Case[]
  testsuite?: unknown
}

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '',
  trimValues: false,
  parseTagValue: false,
  parseAttributeValue: false,
  isArray: (name, _path, _isLeaf, isAttribute) =>
    !isAttribute && ['testsuite', 'testcase', 'failure', 'error', 'skipped', 'system-out'].includes(name),
})

function read(text: string): Suite & { testsuite: Suite[] } {
  return (parser.parse(text) as { testsuites: Suite & { testsuite: Suite[] } }).testsuites
}

/** The rules that five consumers share, as an independent reader would check them; empty when all hold. */
function lint(text: string): string[] {
  const root = read(text)
  const seen = new Set<string>()
  return [
    ...(XMLValidator.validate(text) === true ? [] : ['not well-formed']),
    ...(text.length < 30e6 ? [] : ['30 MB or more']),
    ...[root, ...root.testsuite].flatMap(lintFigures),
    ...root.testsuite.flatMap(one => (one.testsuite === undefined ? [] : ['nested suite'])),
    ...root.testsuite.flatMap(one => (one.testcase ?? []).flatMap(each => lintCase(each, seen))),
  ]
}

function lintFigures(one: Suite & { testsuite?: unknown }): string[] {
  const nested = Array.isArray(one.testsuite) ? (one.testsuite as Suite[]) : [one]
  const cases = nested.flatMap(each => each.testcase ?? [])
  const expected = {
    tests: cases.length,
    failures: cases.filter(each => each.failure).length,
    errors: cases.filter(each => each.error).length,
    skipped: cases.filter(each => each.skipped).length,
  }
  const wrong = Object.entries(expected).filter(([key, n]) => one[key as keyof typeof expected] !== String(n))
  return [
    ...wrong.map(([key]) => `${one.name}: ${key} is not the count`),
    ...(/^\d+\.\d+$/.test(one.time) ? [] : [`${one.name}: time ${one.time}`]),
    ...(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/.test(one.timestamp) ? [] : [`${one.name}: timestamp ${one.timestamp}`]),
  ]
}

function lintCase(one: Case, seen: Set<string>): string[] {
  const outcomes = [...(one.failure ?? []), ...(one.error ?? []), ...(one.skipped ?? [])]
  const identity = `${one.classname} ${one.name}`
  const again = seen.has(identity)
  seen.add(identity)
  const problems: [boolean, string][] = [
    [!again, 'duplicate classname and name'],
    [/^[\x20-\x7e]{1,200}$/.test(one.name ?? ''), 'name'],
    [/^[\w-]+(\.[\w-]+)*$/.test(one.classname ?? ''), 'classname'],
    [/^\d+\.\d+$/.test(one.time), 'time'],
    [outcomes.length <= 1, 'more than one outcome'],
    [outcomes.every(each => /^[\x20-\x7e]{1,200}$/.test(each.message)), 'message'],
    [outcomes.every(each => each['#text'].startsWith(each.message)), 'text does not start with the message'],
    [one['system-out']?.length === 1, 'system-out'],
    [attachmentsLast(one['system-out']?.[0] ?? ''), 'attachments are not last'],
  ]
  return problems.filter(([holds]) => !holds).map(([, what]) => `${identity}: ${what}`)
}

function attachmentsLast(text: string): boolean {
  const lines = text.split('\n').map(line => /^\[\[ATTACHMENT\|[^\]]+\]\]$/.test(line))
  return lines.lastIndexOf(false) < (lines.indexOf(true) === -1 ? lines.length : lines.indexOf(true))
}

test('one file an area, every rule of the dialect held', () => {
  const files = junitFiles(exampleRun(everyStatus()), OPTIONS)
  assert.equal(files.map(file => file.name).sort(), ['TEST-delivery.xml', 'TEST-igmp.xml', 'TEST-overlay.xml'])
  assert.equal(
    files.flatMap(file => lint(file.text)),
    [],
  )
})

test('each status is what consumers expect of it', () => {
  const texts = junitFiles(exampleRun(everyStatus()), OPTIONS).map(file => file.text)
  const cases = texts.flatMap(text => read(text).testsuite.flatMap(one => one.testcase ?? []))
  const outcomeOf = (one: Case) => (['failure', 'error', 'skipped'] as const).find(key => one[key]) ?? 'none'
  assert.equal(Object.fromEntries(cases.map(one => [one.name.split(':')[0], outcomeOf(one)])), {
    'v3-join[version=3]': 'none',
    querier: 'skipped',
    'one-copy': 'failure',
    'one-tunnel-packet': 'error',
    esp: 'skipped',
  })
})

test('a failure names requirement, tap, frame and field', () => {
  const [file] = junitFiles(exampleRun([failedCase()]), OPTIONS)
  const failure = read(file?.text ?? '').testsuite[0]?.testcase?.[0]?.failure?.[0]
  assert.is(failure?.type, 'delivered')
  for (const fact of ['D01', 'RFC 3376 section 4.2', 'tap rx/eth0', 'frame 12', 'ethernet.dst', '01:00:0e:01:02:03']) {
    assert.match(failure?.['#text'] ?? '', fact)
  }
})

test('anything in a message or a title leaves the XML well-formed', () => {
  const nasty = `\u0000\u001b[31m\ud800 <&>"']]> \uffff é\u{1f600} ${'x'.repeat(500)}`
  const check = exampleCheck({ message: nasty, details: [nasty, 'y'.repeat(200_000)] })
  const one = failedCase({ title: nasty, message: nasty, checks: [check], id: 'a b/<é>' })
  const files = junitFiles(exampleRun([one, { ...one }], { warnings: [nasty] }), OPTIONS)
  assert.equal(
    files.flatMap(file => lint(file.text)),
    [],
  )
})

test('the same case on two targets is two test cases', () => {
  const [file] = junitFiles(exampleRun([exampleCase(), exampleCase({ target: 'bridge' })]), OPTIONS)
  assert.equal(lint(file?.text ?? ''), [])
  assert.equal(
    read(file?.text ?? '').testsuite.map(one => one.name),
    ['reference.igmp', 'bridge.igmp'],
  )
})

test('a run of nothing is a valid file without tests', () => {
  const [file] = junitFiles(exampleRun([]), OPTIONS)
  assert.is(read(file?.text ?? '').tests, '0')
  assert.equal(lint(file?.text ?? ''), [])
})

test('files stay under the size that GitLab takes', () => {
  const check = exampleCheck({ details: Array.from({ length: 8 }, () => 'z'.repeat(7000)) })
  const cases = Array.from({ length: 700 }, (_, i) => failedCase({ id: `big/case-${i}`, checks: [check] }))
  const files = junitFiles(exampleRun(cases), OPTIONS)
  assert.equal(
    files.map(file => file.name),
    ['TEST-big.xml', 'TEST-big-2.xml', 'TEST-big-3.xml'],
  )
  assert.ok(files.every(file => file.text.length < 30e6))
})

test('attachments are named as the CI system reads them', () => {
  const where = { runDirectory: '/p/runs/1', junitDirectory: '/p/out', projectDirectory: '/p' }
  const of = (base: 'xml' | 'project' | 'absolute') => attachmentPaths(base, where).attachmentPath('evidence/a.pcapng')
  assert.equal(
    [of('xml'), of('project'), of('absolute')],
    ['../runs/1/evidence/a.pcapng', 'runs/1/evidence/a.pcapng', '/p/runs/1/evidence/a.pcapng'],
  )
  assert.equal(
    [attachmentBase({}), attachmentBase({ GITLAB_CI: 'true' }), attachmentBase({ JENKINS_URL: 'http://ci' })],
    ['xml', 'project', 'absolute'],
  )
})

test('the linter notices what it is for', () => {
  const [file] = junitFiles(exampleRun([failedCase()]), OPTIONS)
  const text = file?.text ?? ''
  const broken: [RegExp, string][] = [
    [/tests="1"/, 'tests="2"'],
    [/ time="0.012"/, ' time="1e-2"'],
    [/classname="[^"]*"/, 'classname="a/b"'],
    [/<failure [^>]*>/, '<failure message="another">'],
    [/<system-out>/, '<system-out>[[ATTACHMENT|x]]\n'],
    [/ name="one-copy[^"]*"/, ''],
    [/timestamp="([^"]*)"/, 'timestamp="$1Z"'],
    [/<failure /, '<error message="e">e</error><failure '],
  ]
  for (const [pattern, replacement] of broken) {
    const changed = text.replace(pattern, replacement)
    assert.is.not(changed, text, String(pattern))
    assert.not.equal(lint(changed), [], String(pattern))
  }
})

test('junit2json, a parser that CI tools are built on, reads the same numbers and the same words', async () => {
  const run = exampleRun(everyStatus())
  const files = junitFiles(run, OPTIONS)
  const suites = await Promise.all(files.map(({ text }) => parseJunit(text)))
  const cases = suites
    .flatMap(file => (file && 'testsuite' in file ? (file.testsuite ?? []) : []))
    .flatMap(one => ('testcase' in one ? (one.testcase ?? []) : []))
  assert.is(cases.length, run.cases.length)
  const count = (key: 'failure' | 'error' | 'skipped') => cases.filter(one => one[key] !== undefined).length
  const { totals } = run
  assert.equal(
    [count('failure'), count('error'), count('skipped')],
    [totals.fail, totals.inconclusive, totals.skip + totals.waived],
  )
  const [failure] = cases.flatMap(one => one.failure ?? [])
  assert.match(failure?.message ?? '', 'expected 100 copies at rx')
  assert.match(failure?.inner ?? '', 'expected 100 copies at rx')
})

test.run()
