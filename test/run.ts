import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Capability, probe, probeAll } from '../runner/probe.ts'
import { KINDS, type Kind, testFiles } from './kinds.ts'
import { type FileResult, killRunning, runCheck, runTestFile } from './run-file.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const BIN = 'node_modules/.bin'

/** A check or a file, ready to run. */
interface Job {
  path: string
  run(): Promise<FileResult>
}

interface Totals {
  passed: number
  failed: number
  skipped: number
}

async function main(): Promise<number> {
  const { kinds, filter } = readArguments()
  const jobs = new Map(kinds.map(kind => [kind, jobsOf(kind, filter)]))
  const capabilities = await (kinds.includes('vm') ? probeAll() : probe())
  const totals: Totals = { passed: 0, failed: 0, skipped: 0 }
  const notes: string[] = []
  for (const kind of kinds) {
    const own = jobs.get(kind) ?? []
    const lacking = capabilities.find(one => !one.ok && KINDS[kind].needs.includes(one.name))
    if (lacking === undefined) await runJobs(kind, own, result => count(result, capabilities, totals))
    else if (own.length > 0) {
      totals.skipped += own.length
      notes.push(`not run: ${kind} tests (${own.length} files): ${lacking.name}: ${lacking.found}; ${lacking.remedy}`)
    }
  }
  return close(totals, notes)
}

function close(totals: Totals, notes: string[]): number {
  const nothingRan = totals.passed + totals.failed === 0
  if (nothingRan) totals.failed++
  for (const note of nothingRan ? [...notes, 'nothing ran'] : notes) console.log(note)
  const skipped = totals.skipped > 0 ? `, ${totals.skipped} skipped` : ''
  console.log(`${totals.passed} passed, ${totals.failed} failed${skipped}`)
  return totals.failed > 0 ? 1 : 0
}

function readArguments(): { kinds: Kind[]; filter: RegExp } {
  const { values } = parseArgs({ options: { kind: { type: 'string', multiple: true }, filter: { type: 'string' } } })
  const known = Object.keys(KINDS) as Kind[]
  const wanted = values.kind?.flatMap(text => text.split(',')) ?? known
  const unknown = wanted.filter(kind => !known.includes(kind as Kind))
  if (unknown.length > 0) {
    console.error(`no kind ${unknown.join(', ')}; there are ${known.join(', ')}`)
    process.exit(2)
  }
  const filtered = values.filter !== undefined && values.kind === undefined
  const kinds = known.filter(kind => wanted.includes(kind) && !(filtered && kind === 'lint'))
  return { kinds, filter: new RegExp(values.filter ?? '') }
}

function jobsOf(kind: Kind, filter: RegExp): Job[] {
  const { limitMs } = KINDS[kind]
  if (kind === 'lint') {
    const checks = {
      biome: [`${BIN}/biome`, 'check', '.'],
      tsc: [`${BIN}/tsc`, '--noEmit'],
      suites: ['./castproof', 'check', 'suites'],
    }
    return Object.entries(checks).map(([path, words]) => ({ path, run: () => runCheck(ROOT, path, words, limitMs) }))
  }
  const paths = (testFiles(ROOT).get(kind) ?? []).filter(path => filter.test(path))
  return paths.map(path => ({ path, run: () => runTestFile(ROOT, path, limitMs) }))
}

/** As many at once as the kind allows; privileged ones run alone, so that none disturbs another's timing. */
async function runJobs(kind: Kind, jobs: Job[], done: (result: FileResult) => void): Promise<void> {
  const waiting = [...jobs]
  const worker = async (): Promise<void> => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) done(await job.run())
  }
  await Promise.all(Array.from({ length: KINDS[kind].atOnce }, worker))
}

function count(result: FileResult, capabilities: readonly Capability[], totals: Totals): void {
  const unearned = result.skips.filter(({ capability }) => isThere(capability, capabilities))
  const failed = result.failed + unearned.length
  totals.passed += result.passed
  totals.failed += failed
  totals.skipped += result.skips.length - unearned.length
  console.log(`${failed > 0 ? 'FAIL' : 'ok  '}  ${result.path}  ${figures(result)}`)
  if (failed > 0) console.log(indented(result.output))
  if (result.problem !== '') console.log(`      ${result.path}: ${result.problem}`)
  for (const { capability, why } of unearned) {
    console.log(`      ${result.path}: skipped for want of ${capability}, which this machine has: ${why}`)
  }
  for (const skip of result.skips.filter(one => !unearned.includes(one))) {
    console.log(`      skipped for want of ${skip.capability}: ${skip.why}`)
  }
}

/** A capability that no probe knows cannot excuse a skip. */
function isThere(name: string, capabilities: readonly Capability[]): boolean {
  return capabilities.find(one => one.name === name)?.ok ?? true
}

function figures({ passed, failed, skips, durationMs }: FileResult): string {
  const parts = [
    `${passed} passed`,
    ...(failed ? [`${failed} failed`] : []),
    ...(skips.length ? [`${skips.length} skipped`] : []),
  ]
  return `${parts.join(', ')}, ${(durationMs / 1000).toFixed(1)} s`
}

function indented(text: string): string {
  return text.trimEnd().replace(/^/gm, '      ')
}

// Also when an error ends it, such as a pipe that nobody reads any more.
process.on('exit', killRunning)
process.on('SIGINT', () => process.exit(130))
process.on('SIGTERM', () => process.exit(143))
process.exitCode = await main()
