import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { seededRandom } from '../../generators/random.ts'
import { Traces } from '../../test/leftovers.ts'
import { suite } from '../../test/suite.ts'

/** Signals to each phase; by hand, CASTPROOF_MOMENTS=10. */
const MOMENTS = Number(process.env['CASTPROOF_MOMENTS'] ?? 1)
const FREED_LIMIT_MS = 10_000
const test = suite('signals to run --keep', { timeoutMs: 120_000 })
const random = seededRandom(Number(process.env['CASTPROOF_SEED'] ?? 1))

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CASTPROOF = join(ROOT, 'castproof')
const SUITE = join(ROOT, 'suites/delivery/exactly-once.yaml')

/** Somebody else's, with a name that looks like one of ours. */
const FOREIGN = `cp-${process.pid}-n1`

/** A mount namespace with a registry of its own, so that `lab down --all` takes no lab of others down. */
let machine: { pid: number; stop(): void }
let directory: string

test.before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'castproof-kept-'))
  machine = await ownRegistry()
  await execa('ip', ['netns', 'add', FOREIGN])
  await execa('ip', ['-n', FOREIGN, 'link', 'add', 'theirs', 'type', 'bridge'])
})

test.after(async () => {
  machine.stop()
  await execa('ip', ['netns', 'del', FOREIGN])
  rmSync(directory, { recursive: true })
})

async function ownRegistry(): Promise<typeof machine> {
  const mount = 'mkdir -p /run/castproof && mount -t tmpfs none /run/castproof && echo ready && exec sleep infinity'
  const child = execa('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', mount], { reject: false })
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once('data', () => resolve())
    child.once('exit', code => reject(new Error(`unshare ended with ${code}`)))
  })
  return { pid: child.pid ?? 0, stop: () => void child.kill('SIGKILL') }
}

/** Runs in the mount namespace; what is executed keeps the process id. */
function inside(words: readonly string[], env: Record<string, string> = {}) {
  return execa('nsenter', ['--mount', '--target', String(machine.pid), '--', ...words], { env, reject: false })
}

function entries(): string[] {
  return readdirSync(`/proc/${machine.pid}/root/run/castproof`)
}

interface Run {
  traces: Traces
  child: ReturnType<typeof inside>
  output(): string
}

let started = 0

function start(): Run {
  const traces = new Traces()
  const out = join(directory, `run-${++started}`)
  const child = inside([CASTPROOF, 'run', SUITE, '--keep', '--out', out], traces.env)
  let output = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    output += String(chunk)
  })
  return { traces, child, output: () => output }
}

const PHASES: readonly { name: string; begun(run: Run): boolean; spanMs: number }[] = [
  { name: 'bring-up', begun: () => entries().length > 0, spanMs: 300 },
  { name: 'stage', begun: run => run.output().includes(': up in'), spanMs: 300 },
  { name: 'report', begun: run => run.output().includes('1 passed'), spanMs: 5 },
]

async function until(run: Run, phase: (typeof PHASES)[number]): Promise<void> {
  while (!phase.begun(run)) {
    assert.is(run.child.exitCode, null, `ended before ${phase.name}: ${run.output()}`)
    await delay(2)
  }
  await delay(Math.floor(random() * phase.spanMs))
  run.traces.look()
}

const IS_UP = /^lab ([0-9a-f]{4}) is up/m

/** Of the run's: processes, programs and namespaces, names, and its entry in the registry. */
async function nothingIsLeft({ traces }: Run, what: string): Promise<void> {
  assert.equal(await traces.remainingAfter(FREED_LIMIT_MS), [], what)
  assert.equal(entries(), [], what)
  assert.equal(await names(), [FOREIGN], what)
  const theirs = await execa('ip', ['-n', FOREIGN, '-o', 'link', 'show', 'dev', 'theirs'])
  assert.match(theirs.stdout, 'theirs')
}

/** Names of our runs that the mount namespace has, and the foreign one. */
async function names(): Promise<string[]> {
  const { stdout } = await inside(['ip', 'netns', 'list'])
  const all = stdout.split('\n').map(line => line.split(' ')[0] ?? '')
  return all.filter(name => name === FOREIGN || ids.some(id => name.startsWith(`cp-${id}-`)))
}

const ids: string[] = []

async function down(): Promise<string> {
  const { exitCode, stdout, stderr } = await inside([CASTPROOF, 'lab', 'down', '--all'])
  assert.is(exitCode, 0, stderr)
  return stdout
}

function rememberNames(): void {
  for (const file of entries()) if (file.endsWith('.json')) ids.push(file.slice(0, -'.json'.length))
}

for (const phase of PHASES) {
  for (let moment = 0; moment < MOMENTS; moment++) {
    const when = MOMENTS === 1 ? phase.name : `${phase.name}, moment ${moment}`

    test(`SIGINT, ${when}: exit 130 and nothing left, or a lab that lab down --all takes down`, async () => {
      const run = start()
      await until(run, phase)
      rememberNames()
      run.child.kill('SIGINT')
      const { exitCode, stderr } = await run.child
      assert.ok(exitCode === 0 || exitCode === 130, `${exitCode}: ${run.output()}\n${stderr}`)
      if (exitCode === 0) assert.match(await down(), `lab ${IS_UP.exec(run.output())?.[1]} is down`)
      await nothingIsLeft(run, `SIGINT in ${when}`)
    })

    test(`SIGKILL, ${when}: the process that would have held the lab takes it down`, async () => {
      const run = start()
      await until(run, phase)
      rememberNames()
      run.child.kill('SIGKILL')
      await run.child
      if (IS_UP.test(run.output())) await down()
      await nothingIsLeft(run, `SIGKILL in ${when}`)
    })

    test(`SIGKILL to every process, ${when}: lab down --all removes what is left`, async () => {
      const run = await killed(phase)
      assert.match(await down(), /left behind|is down/)
      await nothingIsLeft(run, `SIGKILL to all in ${when}`)
    })
  }
}

/** A run whose processes were all killed at once: what has a name stays. */
async function killed(phase: (typeof PHASES)[number]): Promise<Run> {
  const run = start()
  await until(run, phase)
  rememberNames()
  // Some end by themselves meanwhile: kill(1) says so and goes on.
  await execa('kill', ['-KILL', ...run.traces.processes()], { reject: false })
  await run.child
  assert.ok(entries().length > 0)
  return run
}

test('SIGKILL to every process: the next run removes what is left, and is as good as the first', async () => {
  const stage = PHASES[1]
  assert.ok(stage)
  const run = await killed(stage)
  assert.ok((await names()).length > 1, 'there are names to remove')
  const next = await inside([CASTPROOF, 'run', SUITE, '--out', join(directory, 'next')])
  assert.is(next.exitCode, 0, next.stderr)
  assert.match(next.stdout, /removed what lab [0-9a-f]{4} left behind/)
  await nothingIsLeft(run, 'the next run')
})

test.run()
