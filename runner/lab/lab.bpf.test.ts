import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { invoke } from '../../test/invoke.ts'
import { Traces } from '../../test/leftovers.ts'
import { suite } from '../../test/suite.ts'
import type { GroupTable } from '../observation.ts'

const test = suite('lab', { timeoutMs: 120_000 })
const JOINED_LIMIT_MS = 10_000
const FREED_LIMIT_MS = 10_000
const EXACTLY_ONCE = fileURLToPath(new URL('../../suites/delivery/exactly-once.yaml', import.meta.url))

/** Its mark goes to the supervisor, which is no child that we could otherwise know. */
let traces: Traces
const labs: string[] = []

test.beforeEach(() => {
  traces = new Traces()
  Object.assign(process.env, traces.env)
})

test.after(async () => {
  for (const id of labs) if (existsSync(`/run/castproof/${id}.json`)) await invoke(['lab', 'down', '--lab', id])
})

async function ok(line: string): Promise<string> {
  const { exitCode, stdout, stderr } = await invoke(line.split(' '))
  assert.is(exitCode, 0, `${line}: ${stderr}`)
  return stdout
}

async function up(): Promise<string> {
  const stdout = await ok('lab up')
  const id = /^lab ([0-9a-f]{4}): reference$/m.exec(stdout)?.[1]
  assert.ok(id, stdout)
  labs.push(id)
  return id
}

async function namespacesOf(id: string): Promise<string[]> {
  const { stdout } = await execa('ip', ['netns', 'list'])
  return stdout.split('\n').filter(line => line.startsWith(`cp-${id}-`))
}

async function nothingIsLeftOf(id: string): Promise<void> {
  assert.equal(await namespacesOf(id), [])
  assert.equal(await traces.remainingAfter(FREED_LIMIT_MS), [])
  assert.equal(
    readdirSync('/run/castproof').filter(name => name.startsWith(id)),
    [],
  )
}

function receiver(id: string, pod: string) {
  const socket = 'UDP4-RECVFROM:6666,reuseaddr,ip-add-membership=225.0.0.11:eth0'
  return execa('ip', ['netns', 'exec', `cp-${id}-${pod}`, 'socat', '-u', socket, '-'])
}

async function untilSubscribed(id: string, node: string, count: number): Promise<void> {
  const endMs = performance.now() + JOINED_LIMIT_MS
  for (;;) {
    const json = await ok(`mcast subscriber list 225.0.0.11 --json --lab ${id} --node ${node}`)
    if ((JSON.parse(json) as GroupTable[])[0]?.subscribers.length === count) return
    assert.ok(performance.now() < endMs, `${node}: ${json}`)
    await delay(20)
  }
}

test('the walk-through by hand: three receivers, the tables, one hello, and down leaves nothing', async () => {
  const id = await up()
  traces.look()
  assert.ok(traces.held.programs.size > 0)
  for (const group of ['225.0.0.11', '225.0.0.12']) await ok(`mcast group add ${group} --lab ${id}`)
  assert.is(await ok(`mcast group list --lab ${id}`), 'Group Address\n225.0.0.11\n225.0.0.12\n')
  const receivers = ['n1-1', 'n2-1', 'n3-1'].map(pod => receiver(id, pod))
  for (const node of ['n1', 'n2', 'n3']) await untilSubscribed(id, node, 3)
  assert.is(
    await ok(`mcast subscriber list all --lab ${id} --node n2`),
    [
      'Group           Subscriber      Type',
      '225.0.0.11      10.2.0.1        Local Endpoint',
      '                10.224.0.4      Remote Node',
      '                10.224.0.6      Remote Node',
      '225.0.0.12',
      '',
    ].join('\n'),
  )
  const hello = ['socat', '-', 'UDP4-DATAGRAM:225.0.0.11:6666']
  await execa('ip', ['netns', 'exec', `cp-${id}-n2-2`, ...hello], { input: 'hello, multicast!\n' })
  for (const { stdout } of await Promise.all(receivers)) assert.is(stdout, 'hello, multicast!')
  await ok(`mcast group delete 225.0.0.12 --lab ${id}`)
  assert.is(await ok(`mcast group list --lab ${id} --json`), '["225.0.0.11"]\n')
  const drops = JSON.parse(await ok(`mcast drops --json --lab ${id} --node n1`)) as Record<string, number>
  assert.is(drops['igmp-checksum'], 0)
  assert.match(await ok(`lab status --lab ${id}`), new RegExp(`n3-1 +10.3.0.1 +namespace cp-${id}-n3-1`))
  assert.is(await ok(`lab down --lab ${id}`), `lab ${id} is down\n`)
  await nothingIsLeftOf(id)
})

test('mistakes are told with what there is', async () => {
  const id = await up()
  const mistakes: [string, RegExp][] = [
    [`lab shell nowhere --lab ${id}`, /no pod or node nowhere\n.*n1-1/],
    [`mcast group add 10.1.2.3 --lab ${id}`, /10\.1\.2\.3 is not an IPv4 multicast address/],
    [`mcast subscriber list 225.9.9.9 --lab ${id}`, /225\.9\.9\.9 does not exist[\s\S]*group add/],
    [`mcast group list --node n9 --lab ${id}`, /no node n9\n.*n1, n2, n3/],
    [`mcast group add 225.0.0.1 --node n9 --lab ${id}`, /no node is called n9; there are n1, n2, n3/],
    ['mcast drops --lab zzzz', /no lab is called zzzz/],
    ['lab up --fault no-such-fault', /no-such-fault/],
    ['lab up --target mars', /mars/],
    ['lab up --suite /no/such/suite.yaml', /there is no file or folder/],
  ]
  for (const [line, pattern] of mistakes) {
    const { exitCode, stderr } = await invoke(line.split(' '))
    assert.is(exitCode, 2, `${line}: ${stderr}`)
    assert.match(stderr, pattern)
    assert.not.match(stderr, /\n {4}at /)
  }
  await ok(`lab down --lab ${id}`)
})

test('what a killed supervisor leaves is gone after the next start', async () => {
  const id = await up()
  traces.look()
  const { pid } = JSON.parse(readFileSync(`/run/castproof/${id}.json`, 'utf8')) as { pid: number }
  process.kill(pid, 'SIGKILL')
  while (traces.processes().length > 0) await delay(20)
  assert.ok((await namespacesOf(id)).length > 0)
  assert.match(await ok('lab status'), `removed what lab ${id} left behind`)
  await nothingIsLeftOf(id)
})

test('run --keep leaves a lab up', async () => {
  const out = mkdtempSync(join(tmpdir(), 'castproof-keep-'))
  try {
    const stdout = await ok(`run ${EXACTLY_ONCE} --keep --out ${out}/run`)
    assert.match(stdout, '1 passed, 0 failed')
    const id = /^lab ([0-9a-f]{4}) is up/m.exec(stdout)?.[1] ?? ''
    labs.push(id)
    traces.look()
    assert.match(await ok(`mcast subscriber list all --lab ${id} --node n1`), 'Local Endpoint')
    assert.ok((await namespacesOf(id)).length > 0)
    await ok(`lab down --lab ${id}`)
    await nothingIsLeftOf(id)
  } finally {
    rmSync(out, { recursive: true })
  }
})

test.run()
