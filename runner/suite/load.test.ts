import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { formatIpv4, groupMac } from '../../generators/wire/address.ts'
import { suite } from '../../test/suite.ts'
import { formatUserError } from './errors.ts'
import { bundledSuites } from './files.ts'
import { loadSuites } from './load.ts'
import type { PlannedCase } from './plan-types.ts'
import { suiteJsonSchema } from './schema.ts'

const test = suite('suites to plan', { timeoutMs: 120_000 })
const DATA = fileURLToPath(new URL('testdata', import.meta.url))
const GOOD = join(DATA, 'good')
const BROKEN = join(DATA, 'broken')

/** UPDATE=1 rewrites the twin; a person reads the difference. */
function sameAsTwin(file: string, text: string): void {
  if (process.env['UPDATE'] === '1') writeFileSync(file, text)
  assert.fixture(text, readFileSync(file, 'utf8'))
}

function cases(paths: string[], options: Parameters<typeof loadSuites>[1] = {}): PlannedCase[] {
  const { plan, errors } = loadSuites(paths, options)
  assert.is(errors.map(formatUserError).join('\n'), '')
  return plan.stages.flatMap(stage => stage.cases)
}

const ALL = cases([GOOD])

function caseNamed(id: string): PlannedCase {
  const found = ALL.find(each => each.id === id)
  if (!found) throw new Error(`no case ${id}`)
  return found
}

/** Loads one suite given as text. */
function loadText(text: string, options: Parameters<typeof loadSuites>[1] = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'castproof-'))
  try {
    writeFileSync(join(folder, 't.yaml'), text)
    return loadSuites([folder], { cwd: folder, ...options })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const HEAD = 'castproof: 1\nsuite: t\ncovers: [D01]\ntopology: { endpoints: { tx: n1, rx: n2, idle: n3 } }\n'

test('every broken suite: its message, place, caret and hint', () => {
  const files = readdirSync(BROKEN).filter(file => file.endsWith('.yaml'))
  assert.ok(files.length >= 20)
  const texts = files.sort().map(file => {
    const { errors, plan } = loadSuites([file], { cwd: BROKEN })
    assert.ok(errors.length > 0, `${file} passes`)
    assert.ok(plan.schema === 'castproof-plan/1')
    return errors.map(formatUserError).join('\n')
  })
  sameAsTwin(join(BROKEN, 'expected.txt'), `${texts.join('\n\n')}\n`)
})

test('two targets of one case are no two mistakes', () => {
  const { errors } = loadText(
    `${HEAD.replace('covers', 'targets: [reference, bridge]\ncovers')}matrix: { n: [1, 2] }\nsteps:\n  - join: { endpoint: rxx, group: $g, version: $n }\n  - leave: { endpoint: rx, group: $g }\nexpect:\n  - igmp: { endpoint: rx, direction: out }\n`,
    { targets: ['bridge', 'reference'] },
  )
  assert.equal(
    errors.map(({ message }) => message),
    ['no endpoint has the role `rxx`'],
  )
})

test('a file of 10 MB is refused by its size', () => {
  const { errors } = loadText(`# ${'x'.repeat(10 << 20)}`)
  assert.is(errors.map(error => error.code).join(), 'too-large')
})

test('groupMac where nobody would look at it', () => {
  const inner = '{ ethernet: { dst: groupMac }, ipv4: { dst: $g }, udp: { dstPort: 9 } }'
  const tunnel = `send: { id: s1, from: tx, count: 1, to: rx, udp: { dstPort: 8472 }, vxlan: { vni: 2 }, inner: ${inner} }`
  const wait = 'wait: { until: frame, endpoint: rx, direction: in, match: { ethernet: { dst: groupMac } } }'
  const send = 'send: { id: s2, from: tx, count: 1, ipv4: { dst: $g } }'
  const expect = `expect:\n  - delivered: { stream: s2, to: rx, inner: ${inner} }\n`
  const steps = `steps:\n  - join: { endpoint: rx, group: $g }\n  - ${tunnel}\n  - ${wait}\n  - ${send}\n`
  const { errors } = loadText(HEAD + steps + expect)
  assert.equal(
    errors.map(({ code, position }) => `${code} ${position?.line}`),
    ['misplaced-group-mac 7', 'misplaced-group-mac 8', 'misplaced-group-mac 11'],
  )
})

test('tunnel packets of senders on two nodes go to each other too', () => {
  const joins = 'join: { endpoint: [tx, rx, idle], group: $g }'
  const text = `${HEAD}steps:\n  - ${joins}\n  - send: { id: s1, from: [tx, rx], count: 1, ipv4: { dst: $g } }\nexpect:\n  - encapsulated: { stream: s1 }\n`
  const { errors, plan } = loadText(text)
  assert.equal(errors, [])
  const want = plan.stages[0]?.cases[0]?.expect[0]?.want as { fromNodes: string[]; toNodes: string[] }
  assert.equal(
    [want.fromNodes, want.toNodes],
    [
      ['n1', 'n2'],
      ['n1', 'n2', 'n3'],
    ],
  )
})

test('a missing path, an empty folder', () => {
  const { errors } = loadSuites(['nowhere.yaml'], { cwd: DATA })
  assert.is(errors.map(error => error.code).join(), 'no-such-file')
})

test('same files, same plan, in any order', () => {
  const forward = readdirSync(join(GOOD, 'suites/lang')).map(file => join(GOOD, 'suites/lang', file))
  const one = loadSuites(forward, { seed: 7 }).plan
  const two = loadSuites([...forward].reverse(), { seed: 7 }).plan
  assert.is(JSON.stringify(one), JSON.stringify(two))
  assert.is(JSON.stringify(one), JSON.stringify(loadSuites(forward, { seed: 7 }).plan))
})

test('the plan is plain data', () => {
  const { plan } = loadSuites([GOOD])
  assert.equal(JSON.parse(JSON.stringify(plan)), plan)
})

test('groups of all cases differ in their low 23 bits, but for aliases', () => {
  const all = ALL
  const macs = new Map<number, string>()
  for (const each of all) {
    for (const { name, address } of each.groups) {
      if (each.id === 'lang/steps' && name === '$h') continue
      // Rows of lang/rows share a literal on purpose.
      if (each.id.startsWith('lang/rows')) continue
      const mac = groupMac(address)
      assert.not(macs.has(mac), `${each.id} ${name} ${formatIpv4(address)} has the MAC of ${macs.get(mac)}`)
      macs.set(mac, `${each.id} ${name}`)
    }
  }
})

test('an alias has the same Ethernet address and another group', () => {
  const { groups } = caseNamed('lang/steps')
  const [g, h] = ['$g', '$h'].map(name => groups.find(group => group.name === name)?.address ?? 0)
  assert.is.not(g, h)
  assert.is(groupMac(g!), groupMac(h!))
})

test('two cases with one literal group run alone', () => {
  const rows = ALL.filter(({ id }) => id.startsWith('lang/rows'))
  assert.equal(
    rows.map(({ id, exclusive }) => [id, exclusive]),
    [
      ['lang/rows[name=bad]', true],
      ['lang/rows[name=good]', true],
    ],
  )
  assert.not(caseNamed('igmp/v3-join').exclusive)
})

test('a literal is never leased to another case', () => {
  const text = `${HEAD}steps:\n  - join: { endpoint: rx, group: $g }\n  - igmp: { from: rx, hex: '16000002e9fc0001' }\n  - send: { id: s1, from: tx, count: 1, ipv4: { dst: $g } }\nexpect:\n  - delivered: { stream: s1, to: rx }\n`
  const planned = loadText(text).plan.stages[0]?.cases[0]
  assert.equal(
    planned?.groups.map(({ name, address }) => [name, formatIpv4(address)]),
    [
      ['$g', '233.252.0.2'],
      ['233.252.0.1', '233.252.0.1'],
    ],
  )
})

test('stages: cases without a querier share one, a querier and a thousand pods make their own', () => {
  const { stages } = loadSuites([GOOD]).plan
  assert.equal(
    stages.map(({ name, topology, cases }) => [
      name,
      topology.nodes.join(' '),
      topology.pods.length,
      cases.length,
      topology.querier !== undefined,
    ]),
    [
      ['reference-1', 'n1 n2 n3', 7, 5, false],
      ['reference-2', 'n1 n2', 1025, 1, false],
      ['reference-3', 'n1 n2', 3, 1, false],
      ['reference-4', 'n1 n2', 2, 1, false],
      ['reference-5', 'n1 n2 n3', 2, 5, true],
      ['reference-6', 'n1 n2', 2, 1, false],
    ],
  )
  assert.is(stages[2]?.topology.encryption?.mode, 'both')
  assert.equal(stages[2]?.topology.encryption?.windowPackets, 1024)
  assert.is(stages[3]?.topology.encryption?.algorithm, 'aes-cbc-sha256')
  assert.is(stages[4]?.topology.querier?.queryIntervalMs, 2000)
  assert.is(stages[5]?.topology.metrics, true)
  assert.ok(stages[5]?.cases[0]?.needs.includes('metrics'))
})

test('a stranger on the underlay is a pod of no node', () => {
  const stage = loadSuites([GOOD]).plan.stages.find(({ cases }) => cases.some(({ id }) => id === 'lang/stranger'))
  assert.equal(stage?.topology.nodes, ['n1', 'n2', 'n3'])
  assert.equal(stage?.topology.pods.at(-1), { name: 'underlay-1', node: 'underlay' })
  assert.not.match(JSON.stringify(caseNamed('lang/stranger').expect.at(-1)), 'underlay')
})

test('matrix: typed values, excluded row, ids and titles', () => {
  const rows = ALL.filter(({ id }) => id.startsWith('lang/matrix'))
  assert.equal(
    rows.map(({ id }) => id),
    [
      'lang/matrix[version=1,ttl=1]',
      'lang/matrix[version=2,ttl=1]',
      'lang/matrix[version=2,ttl=4]',
      'lang/matrix[version=3,ttl=1]',
      'lang/matrix[version=3,ttl=4]',
    ],
  )
  assert.is(rows[2]?.title, 'IGMPv2, TTL 4')
  const send = rows[2]?.steps[1]
  assert.is(send?.action === 'send' ? send.stream.frame.ipv4?.ttl : undefined, 4)
})

test('when: of a row leaves items out', () => {
  const [bad, good] = ALL.filter(({ id }) => id.startsWith('lang/rows'))
  assert.equal(
    bad?.expect.map(({ check }) => check),
    ['delivered', 'not-delivered'],
  )
  assert.equal(
    good?.expect.map(({ check }) => check),
    ['delivered', 'delivered'],
  )
  assert.equal(
    [bad, good].map(each => each?.covers[0]?.id),
    ['F01', 'F04'],
  )
})

test('addresses that only the site knows are bindings', () => {
  const { steps, expect } = caseNamed('lang/steps')
  assert.equal(steps.find(({ id }) => id === 'step5')?.bind, [
    { path: ['filter', 'sources', 0], of: { pod: 'n1-1' }, what: 'ip' },
  ])
  assert.equal(steps.find(({ id }) => id === 's3')?.bind, [
    { path: ['stream', 'frame', 'ipv4', 'dst'], of: { pod: 'n2-2' }, what: 'ip' },
  ])
  assert.equal(
    steps.find(({ id }) => id === 's5')?.bind?.map(({ path, of }) => [path.join('.'), Object.values(of)[0]]),
    [
      ['stream.frame.ipv4.src', 'n1'],
      ['stream.frame.ipv4.dst', 'n2'],
      ['stream.frame.inner.ethernet.src', 'n1-1'],
      ['stream.frame.inner.ipv4.src', 'n1-1'],
    ],
  )
  assert.equal(expect.find(({ check }) => check === 'encapsulated')?.bind, [
    { path: ['outer', 'ipv4', 'src'], of: { node: 'n1' }, what: 'ip' },
  ])
})

test('priming: the pods of delivered, those a window opens late for not', () => {
  const { steps } = caseNamed('lang/steps')
  const prime = (id: string) => {
    const step = steps.find(each => each.id === id)
    return step?.action === 'send' ? [step.prime, step.primeOf] : undefined
  }
  assert.equal(prime('s1'), [['n2-2'], { 'n1-1': ['n2-2'], 'n2-1': [] }])
  assert.equal(prime('s2'), [['n2-2'], undefined])
  assert.equal(prime('s3'), [[], undefined])
  assert.equal(prime('s4'), [[], undefined])
})

test('a window that opens after a change does not prime', () => {
  const text = `${HEAD}steps:\n  - join: { endpoint: rx, group: $g }\n  - send: { id: s1, from: tx, count: 9, ipv4: { dst: $g }, while: [{ join: { id: late, endpoint: idle, group: $g } }] }\nexpect:\n  - delivered: { stream: s1, to: rx }\n  - delivered: { stream: s1, to: idle, after: late }\n`
  const { plan, errors } = loadText(text)
  assert.equal(errors, [])
  const send = plan.stages[0]?.cases[0]?.steps[1]
  assert.equal(send?.action === 'send' ? send.prime : undefined, ['n2-1'])
})

test('absence gets the delivery of the same stream as its control', () => {
  const [, absent] = caseNamed('igmp/v3-join').expect
  assert.equal(absent?.want, { stream: 's1', to: ['n2-2'], allowWeaker: true, control: { stream: 's1', to: ['n2-1'] } })
})

test('replication derived from joins: members, sender, remote nodes', () => {
  const replication = ALL.find(({ id }) => id === 'lang/matrix[version=2,ttl=4]')?.expect.find(
    ({ check }) => check === 'replication',
  )
  const text = JSON.stringify(replication?.want)
  assert.match(text, '"pod":"n3-1","copies":1')
  assert.match(text, '"pod":"n1-1","copies":0')
  assert.match(text, '{"place":"uplink","node":"n1","direction":"out","copies":1}')
  assert.match(text, '{"place":"overlay","node":"n3","direction":"in","copies":1}')
  assert.match(text, '{"place":"uplink","node":"n3","direction":"out","copies":0}')
  assert.match(text, '{"place":"uplink","node":"n2","direction":"in","copies":0}')
})

test('targets: what is not for this run is skipped with the reason', () => {
  const { plan } = loadSuites([GOOD], { targets: ['bridge'] })
  assert.equal(
    plan.stages.map(({ target, cases }) => [target, cases.length]),
    [['bridge', 2]],
  )
  assert.is(plan.skipped.length, 12)
  assert.is(plan.skipped[0]?.skipReason, 'for target reference, exec, kubernetes; this run has bridge')
})

test('filter', () => {
  const ids = (filter: string) => cases([GOOD], { filter }).map(({ id }) => id)
  assert.equal(ids('v3-join'), ['igmp/v3-join'])
  assert.equal(ids('covers:D36 or covers:F01'), ['lang/crowd', 'lang/rows[name=bad]'])
  assert.equal(ids('lang !matrix and !(rows or steps)'), [
    'lang/crowd',
    'lang/encryption',
    'lang/encryption-options',
    'lang/metrics',
    'lang/stranger',
  ])
  assert.equal(ids('level:extended'), ['lang/steps'])
  assert.equal(loadSuites([GOOD], { filter: 'levl:basic' }).errors[0]?.hint, 'did you mean `level`?')
})

test('what a filter leaves out is checked all the same', () => {
  const { errors } = loadSuites([BROKEN], { filter: 'nothing-is-called-so' })
  assert.ok(errors.length > 30)
})

test('the timing profile makes bounds fail, the later profile wins', () => {
  const delay = (profiles: string[]) =>
    cases([GOOD], { profiles })
      .find(({ id }) => id === 'lang/steps')
      ?.expect.find(({ check }) => check === 'join-delay')?.want
  assert.match(JSON.stringify(delay([])), '"maxMs":50,"enforced":false')
  assert.match(JSON.stringify(delay(['timing'])), '"maxMs":5,"enforced":true')
  assert.match(JSON.stringify(delay(['timing', 'default'])), '"maxMs":100,"enforced":false')
  assert.is(loadSuites([GOOD], { profiles: ['timng'] }).errors[0]?.hint?.startsWith('did you mean `timing`?'), true)
})

test('a parameter may be a group, and $port is one of the case alone', () => {
  const ports = ALL.map(({ port }) => port)
  assert.is(new Set(ports).size, ports.length)
  const catcher = caseNamed('lang/steps').steps.find(({ id }) => id === 'catcher')
  assert.is(catcher?.action === 'run' ? catcher.params['port'] : undefined, caseNamed('lang/steps').port)
})

test('steps with an id of their own and without', () => {
  const ids = caseNamed('lang/steps').steps.map(({ id }) => id)
  assert.equal(ids.slice(0, 4), ['step1', 'step2', 'step3', 'j2'])
  const s1 = caseNamed('lang/steps').steps.find(({ id }) => id === 's1')
  assert.equal(s1?.action === 'send' ? s1.meanwhile.map(({ id, action }) => [id, action]) : [], [
    ['s1.1', 'wait'],
    ['gone', 'kill'],
    ['s1.3', 'leave'],
  ])
})

test('suites/schema.json is what schema.ts makes', () => {
  const kept = readFileSync(join(bundledSuites(), 'schema.json'), 'utf8')
  assert.is(kept, `${JSON.stringify(suiteJsonSchema(), null, 1)}\n`)
})

test('the suites that come with castproof are valid', () => {
  const { errors } = loadSuites([bundledSuites()])
  assert.equal(errors.filter(({ code }) => code !== 'no-suites').map(formatUserError), [])
})

test.run()
