import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { attachTc, BpfObject } from '../generators/linux/libbpf.ts'
import { inNetns, interfaceIndex, openNetns } from '../generators/linux/netns.ts'
import { seededRandom } from '../generators/random.ts'
import { livePrograms, Traces } from '../test/leftovers.ts'
import { suite } from '../test/suite.ts'

/** Moments for each signal; by hand, CASTPROOF_MOMENTS=10. */
const MOMENTS = Number(process.env['CASTPROOF_MOMENTS'] ?? 4)
const SEED = Number(process.env['CASTPROOF_SEED'] ?? 1)
const TEARDOWN_LIMIT_MS = 5000
const FREED_LIMIT_MS = 10_000
const SUITES = [
  'delivery/walk-through-hello',
  'delivery/exactly-once',
  'delivery/member-killed',
  'overlay/one-packet-per-node',
]

/** Of what reads TypeScript: without it every start would take seconds. */
const LOADER_CACHE = `tsx-${process.getuid?.() ?? ''}`

const root = fileURLToPath(new URL('..', import.meta.url))
const castproof = join(root, 'castproof')
const suites = SUITES.map(name => join(root, 'suites', `${name}.yaml`))
const random = seededRandom(SEED)
const test = suite('signals', { timeoutMs: 60_000 * Math.ceil(MOMENTS / 2) })

/** Somebody else's, with a name that looks like one of ours. */
const foreign = { namespace: `cp-${process.pid}-n1`, link: 'theirs', program: '' }
let directory: string

test.before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'castproof-signals-'))
  await execa('ip', ['netns', 'add', foreign.namespace])
  await execa('ip', ['-n', foreign.namespace, 'link', 'add', foreign.link, 'type', 'bridge'])
  foreign.program = await attachForeign()
})

test.after(async () => {
  await execa('ip', ['netns', 'del', foreign.namespace])
  rmSync(directory, { recursive: true })
})

const PROGRAM = `
__attribute__((section("tc"), used)) int theirs(void *ctx) { return 0; }
__attribute__((section("license"), used)) char _license[] = "GPL";
`

/** A tc program that only the foreign namespace keeps; gives back its id. */
async function attachForeign(): Promise<string> {
  const path = join(directory, 'theirs.o')
  await execa('clang', ['-target', 'bpf', '-O2', '-g', '-c', '-x', 'c', '-', '-o', path], { input: PROGRAM })
  const namespace = openNetns(`/run/netns/${foreign.namespace}`)
  const object = new BpfObject(path)
  try {
    object.load(['theirs'])
    const fd = object.programFd('theirs')
    inNetns(namespace, () => attachTc(interfaceIndex(foreign.link), fd))
    return /^prog_id:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? ''
  } finally {
    object.close()
    namespace.close()
  }
}

async function foreignIsUntouched(): Promise<void> {
  const links = await execa('ip', ['-n', foreign.namespace, '-o', 'link', 'show', 'dev', foreign.link])
  assert.match(links.stdout, foreign.link)
  assert.ok((await livePrograms()).has(foreign.program), 'the foreign program is gone')
}

interface Run {
  traces: Traces
  child: ReturnType<typeof launch>
  directory: string
  temporary: string
  output(): string
}

function launch(out: string, env: Record<string, string>) {
  return execa(castproof, ['run', ...suites, '--out', out], { env, reject: false })
}

function start(name: string): Run {
  const traces = new Traces()
  const temporary = join(directory, `${name}.tmp`)
  mkdirSync(temporary)
  symlinkSync(join(tmpdir(), LOADER_CACHE), join(temporary, LOADER_CACHE))
  const out = join(directory, name)
  const child = launch(out, { ...traces.env, TMPDIR: temporary })
  let output = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    output += String(chunk)
  })
  return { traces, child, directory: out, temporary, output: () => output }
}

/** When to strike: a phase of the run has begun, then a random part of the time that the phase takes at the least. */
const PHASES: readonly { name: string; begun(run: Run): boolean; spanMs: number }[] = [
  { name: 'set-up', begun: () => true, spanMs: 900 },
  { name: 'bring-up', begun: run => run.output().includes('reference datapath'), spanMs: 300 },
  { name: 'stage', begun: run => run.output().includes(': up in'), spanMs: 400 },
  { name: 'judging', begun: run => runRecord(run)?.durationMs !== undefined, spanMs: 15 },
]

function runRecord(run: Run): { durationMs?: number } | undefined {
  const path = join(run.directory, 'run.json')
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as { durationMs?: number }) : undefined
}

/** Runs to the moment, looking at what the run holds on the way. */
async function strike(run: Run, moment: number, signal: NodeJS.Signals): Promise<{ phase: string; atMs: number }> {
  const phase = PHASES[moment % PHASES.length] ?? PHASES[0]
  if (!phase) throw new RangeError('no phases')
  while (!phase.begun(run)) {
    assert.is(run.child.exitCode, null, `ended before ${phase.name}: ${run.output()}`)
    await delay(2)
  }
  const atMs = Math.floor(random() * phase.spanMs)
  await delay(atMs)
  run.traces.look()
  run.child.kill(signal)
  return { phase: phase.name, atMs }
}

function ours(folder: string): string[] {
  return readdirSync(folder).filter(name => name !== LOADER_CACHE)
}

/** Whole or not at all. */
function reportIsWhole(run: Run): boolean {
  const path = join(run.directory, 'result.json')
  if (!existsSync(path)) return false
  const result = JSON.parse(readFileSync(path, 'utf8')) as { cases: unknown[] }
  assert.ok(result.cases.length > 0)
  return true
}

for (const [signal, exitCode] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  const moments = signal === 'SIGINT' ? MOMENTS : 1
  for (let moment = 0; moment < moments; moment++) {
    test(`${signal}, moment ${moment}: torn down, exit ${exitCode}, nothing left`, async () => {
      const run = start(`${signal}-${moment}`)
      const { phase, atMs } = await strike(run, signal === 'SIGTERM' ? 2 : moment, signal)
      const struckMs = performance.now()
      const ended = await run.child
      const tookMs = performance.now() - struckMs
      const what = `${signal} ${atMs} ms into ${phase}: ${ended.stderr}`
      if (process.env['CASTPROOF_MOMENTS']) console.log(what, `gone after ${Math.round(tookMs)} ms`)
      assert.ok(tookMs < TEARDOWN_LIMIT_MS, `${what}: took ${tookMs} ms`)
      // Before its first line of ours has run, a process can only die of the signal: a shell calls that the same code.
      const before = phase === 'set-up' && ended.signal === signal
      assert.is(before ? exitCode : ended.exitCode, exitCode, what)
      if (!before) assert.match(ended.stderr, `castproof: stopped by ${signal}`)
      assert.not.match(ended.stderr, /\n {4}at /)
      if (!reportIsWhole(run) && existsSync(run.directory)) assert.match(ended.stderr, run.directory)
      assert.equal(await run.traces.remainingAfter(FREED_LIMIT_MS), [], what)
      assert.equal(ours(run.temporary), [], what)
      await foreignIsUntouched()
    })
  }
}

for (let moment = 0; moment < MOMENTS; moment++) {
  test(`SIGKILL, moment ${moment}: nothing left`, async () => {
    const run = start(`SIGKILL-${moment}`)
    const { phase, atMs } = await strike(run, moment, 'SIGKILL')
    await run.child
    const what = `SIGKILL ${atMs} ms into ${phase}`
    const remaining = await run.traces.remainingAfter(FREED_LIMIT_MS)
    if (process.env['CASTPROOF_MOMENTS']) console.log(what, `held ${run.traces.held.programs.size} programs`)
    assert.equal(remaining, [], what)
    assert.equal(ours(run.temporary), [], what)
    reportIsWhole(run)
    await foreignIsUntouched()
  })
}

test('a run after all that is as good as the first', async () => {
  const run = start('after')
  const ended = await run.child
  assert.is(ended.exitCode, 0, `${ended.stdout}\n${ended.stderr}`)
  assert.ok(reportIsWhole(run))
  assert.equal(await run.traces.remainingAfter(FREED_LIMIT_MS), [])
  await foreignIsUntouched()
})

test.run()
