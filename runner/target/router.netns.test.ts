import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { invoke } from '../../test/invoke.ts'
import { Traces } from '../../test/leftovers.ts'
import { skip } from '../../test/skip.ts'
import { suite } from '../../test/suite.ts'
import type { RunRecord } from '../run-directory.ts'
import { untilReady } from './router/ready.ts'
import { router } from './router.ts'

const test = suite('target router', { timeoutMs: 120_000 })
const never = new AbortController().signal
const root = fileURLToPath(new URL('../..', import.meta.url))
const nodes = ['r1', 'r2', 'r3', 'r4']
const topology = { nodes, pods: nodes.map(node => ({ name: `${node}-1`, node })) }

/** True, and told, when this machine lacks something. */
async function lacks(): Promise<boolean> {
  const lacking = (await router.probe()).filter(({ ok }) => !ok)
  for (const { name, found } of lacking) skip(name, found)
  return lacking.length > 0
}

// Another run's daemons may be on this machine: ours are those that inherited this.
const traces = new Traces()
Object.assign(process.env, traces.env)

/** Of ours, those whose program lies in the unpacked packages. */
function daemons(): string[] {
  return traces.processes().flatMap(pid => {
    try {
      const exe = readlinkSync(`/proc/${pid}/exe`)
      return /\/frr\/(zebra|ospfd|pimd)$/.test(exe) ? [`${pid} ${exe}`] : []
    } catch {
      return []
    }
  })
}

test('a stream from the source is copied three times at R1, and the kernel counts what the taps saw', async () => {
  if (await lacks()) return
  const directory = mkdtempSync(join(tmpdir(), 'castproof-router-'))
  try {
    const out = join(directory, 'run')
    const run = await invoke(['run', join(root, 'suites/pim/three-listeners.yaml'), '--out', out], '/', 90_000)
    assert.is(run.exitCode, 0, run.stdout + run.stderr)
    const judged = await invoke(['judge', out])
    assert.is(judged.exitCode, 0, judged.stdout)
    const record = JSON.parse(readFileSync(join(out, 'run.json'), 'utf8')) as RunRecord
    assert.match(record.targetVersions?.['router'] ?? '', /^FRR \d/)
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('close takes daemons down and leaves no file, and a topology of other nodes is refused', async () => {
  if (await lacks()) return
  const files = readdirSync(tmpdir())
  const before = daemons()
  const site = await router.bringUp(topology, { faults: [] }, never)
  assert.is(daemons().length, before.length + 12)
  await site.close()
  assert.equal(daemons(), before)
  assert.equal(readdirSync(tmpdir()), files)
  const strange = router.bringUp({ nodes: ['n1'], pods: [{ name: 'r1-2', node: 'r1' }] }, { faults: [] }, never)
  const error = await strange.catch((reason: unknown) => reason)
  assert.match(String(error), 'the router target has no n1, r1-2')
})

test('after SIGKILL of their owner no daemon is left', async () => {
  if (await lacks()) return
  const before = daemons()
  const script = `import { router } from ${JSON.stringify(join(root, 'runner/target/router.ts'))}
    await router.bringUp(${JSON.stringify(topology)}, { faults: [] }, new AbortController().signal)
    console.log('up')
    setInterval(() => {}, 1000)`
  const directory = mkdtempSync(join(tmpdir(), 'castproof-router-'))
  const file = join(directory, 'owner.mjs')
  writeFileSync(file, script)
  const child = execa(process.execPath, ['--import', 'tsx', file], { cwd: root, reject: false })
  await new Promise(resolve => child.stdout.once('data', resolve))
  assert.is(daemons().length, before.length + 12)
  child.kill('SIGKILL')
  await child
  rmSync(directory, { recursive: true })
  const gone = { what: 'the end of all daemons', holds: () => daemons().length === before.length }
  await untilReady([gone], [], 5000, never)
})

test('what never comes is named', async () => {
  const conditions = [
    { what: 'route to 192.0.2.0 at r9', holds: () => false },
    { what: 'something that holds', holds: () => true },
  ]
  const error = await untilReady(conditions, [], 100, never).catch((reason: unknown) => reason)
  assert.match(String(error), 'needs route to 192.0.2.0 at r9, found none of it within 0.1 s')
})

test.run()
