import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { readDrafts, wishOf } from './draft.ts'
import { formatUserError } from './errors.ts'
import { leaseGroups } from './groups.ts'
import { Language } from './language.ts'
import { planCase } from './plan.ts'
import { placeKey, planPools } from './pools.ts'
import { parseSource } from './source.ts'
import { editDistance, nearest } from './suggest.ts'

const test = suite('suite files without trust', { timeoutMs: 120_000 })
const STEPS = readFileSync(fileURLToPath(new URL('testdata/good/suites/lang/steps.yaml', import.meta.url)))
const TIMERS = {
  robustness: 2,
  queryIntervalMs: 1,
  queryResponseIntervalMs: 1,
  lastMemberQueryIntervalMs: 1,
  version: 3,
} as const
const LANGUAGE = new Language()
const SETTINGS = { policy: {}, timing: { enforced: false }, allowWeakerFence: true }

/** Every message that the file gives, through all stages of reading. */
function messages(bytes: Uint8Array): string[] {
  const { source, errors } = parseSource('suites/lang/steps.yaml', bytes)
  if (!source) return errors.map(formatUserError)
  const { drafts, errors: more } = readDrafts(source, new Set(['D01']))
  const all = [...errors, ...more]
  for (const draft of drafts.slice(0, 2)) {
    const wish = { id: draft.id, target: 'reference', topology: draft.header.topology, needs: [] }
    const place = planPools([wish], { timers: TIMERS, router: { multicast: 'static', exporter: 'reference' } }).get(
      placeKey(wish),
    )!
    const lease = leaseGroups([wishOf(draft)]).get(draft.id)!
    const setting = { place, lease, settings: SETTINGS, requirements: new Map(), language: LANGUAGE }
    all.push(...planCase(draft, setting).errors)
  }
  return all.map(formatUserError)
}

test('the untouched file has no mistake', () => {
  assert.equal(messages(STEPS), [])
})

test('any change of one place gives a plan or messages with a place, never an exception', () => {
  const text = new TextDecoder().decode(STEPS)
  const words = text.match(/[\w$@'.-]+|[{}[\]:,#&*!|>%-]/g) ?? []
  const junk = [
    '',
    'null',
    '[]',
    '{}',
    '-1',
    '1e400',
    '.nan',
    '~',
    '"',
    "'",
    '&a',
    '*a',
    '!!set',
    '0x',
    '$',
    '@',
    '${',
    '__proto__',
    'constructor',
    '\t',
    '\n',
  ]
  fc.assert(
    fc.property(fc.nat(words.length - 1), fc.constantFrom(...junk, ...words.slice(0, 60)), (at, by) => {
      let i = -1
      const changed = text.replace(/[\w$@'.-]+|[{}[\]:,#&*!|>%-]/g, word => (++i === at ? by : word))
      for (const message of messages(Buffer.from(changed)))
        assert.match(message, /^suites\/lang\/steps\.yaml:\d+:\d+: error: /)
    }),
    { numRuns: 60, seed: 1 },
  )
})

test('random bytes never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes => messages(bytes).length >= 0),
    { numRuns: 300, seed: 2 },
  )
})

test('a caret stands under the value, also behind wide text and in CRLF files', () => {
  const [message] = messages(
    Buffer.from('castproof: 1\r\ntitle: é\r\nsuite: lang/stepz\r\ncovers: [D01]\r\nsteps: []\r\nexpect: []\r\n'),
  )
  assert.is(
    message,
    "suites/lang/steps.yaml:3:8: error: the suite's id `lang/stepz` is not its path below suites/ [suite-id]\n    3 | suite: lang/stepz\n      |        ^^^^^^^^^^\n  = suite: lang/steps",
  )
})

test('terminal control characters in a file do not reach the terminal', () => {
  const all = messages(Buffer.from('castproof: 1\nsuite: "\\e[31m"\ncovers: [D01]\nlevel: \u009b31mred\n')).join('\n')
  const codes = [...all].map(character => character.codePointAt(0) ?? 0)
  assert.equal(
    codes.filter(code => (code < 0x20 && code !== 0x0a) || (code >= 0x7f && code < 0xa0)),
    [],
  )
})

test('an alias of nothing, and one inside its own anchor', () => {
  for (const text of ['castproof: *a\n', 'castproof: 1\nsteps: &a [*a]\n'])
    assert.match(messages(Buffer.from(text)).join(), 'no value before this one has the anchor `a` [aliases]')
})

test('edit distance counts a swap of neighbours as one', () => {
  assert.is(editDistance('jion', 'join'), 1)
  assert.is(editDistance('', 'abc'), 3)
  assert.is(nearest('deliverd', ['delivered', 'duplicates']), 'delivered')
  assert.is(nearest('n4', ['n1', 'n2']), undefined)
})

test.run()
