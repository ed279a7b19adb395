import { existsSync, readdirSync } from 'node:fs'
import { cpus } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { consoleProgress } from '../../reports/console.ts'
import type { RunResult } from '../../reports/result.ts'
import { writeJunit, writeResult } from '../../reports/write.ts'
import { strongestExit } from '../exit.ts'
import { faultNames } from '../faults.ts'
import { makeFolder } from '../folder.ts'
import { EndedEarly, type Io, printLine } from '../io.ts'
import type { KeptSite } from '../lab/kept-site.ts'
import { removeLeftovers } from '../lab/registry.ts'
import { keepSenderOnOneCpu, run } from '../run.ts'
import { UserError, UserErrors } from '../suite/errors.ts'
import { loadSuites } from '../suite/load.ts'
import type { Plan, Stage } from '../suite/plan-types.ts'
import { targetNamed } from '../target/registry.ts'
import { requireTarget, skipsOf } from '../target/requirements.ts'
import type { Target } from '../target/target.ts'
import { Unsupported } from '../unsupported.ts'
import { readWaivers } from '../waivers.ts'
import type { RunOptions } from './options.ts'

/** The suites that come with castproof, beside runner/ in a checkout and in the package. */
export const DEFAULT_SUITES = fileURLToPath(new URL('../../suites', import.meta.url))

/** Cases side by side: they wait for packets far more than they compute. */
export const DEFAULT_JOBS = Math.max(4, 4 * cpus().length)

export async function runCommand(options: RunOptions, io: Io): Promise<number> {
  if (!options.keep) return runWithSite(options, io)
  const { runKept } = await import('../lab/kept-run.ts')
  return runKept(options, io)
}

/** Runs; with `kept`, the very last stage runs on its site and leaves that up. */
export async function runWithSite(options: RunOptions, io: Io, kept?: KeptSite): Promise<number> {
  refuseWhatIsNotHere(options)
  const targets = new Map((options.target.length > 0 ? options.target : ['reference']).map(named))
  const faults = faultNames(options.fault)
  const waivers = options.waivers === undefined ? [] : readWaivers(resolve(io.cwd, options.waivers))
  const plan = await planOf(options, [...targets.keys()], io)
  for (const target of targets.values()) await requireTarget(target)
  for (const id of await removeLeftovers()) printLine(io, `removed what lab ${id} left behind`)
  keepSenderOnOneCpu()
  const jobs = options.jobs ?? DEFAULT_JOBS
  const skipped = await skipsOf(plan)
  const exitCodes: number[] = []
  for (let turn = 1; turn <= options.repeat; turn++) {
    const directory = runDirectory(options, turn, io)
    if (options.repeat > 1) printLine(io, `repeat ${turn} of ${options.repeat}`)
    const progress = consoleProgress(io.stdout, { env: io.env, quiet: options.quiet })
    makeFolder(directory)
    if (options.junit !== undefined) makeFolder(resolve(io.cwd, options.junit))
    const last = turn === options.repeat ? plan.stages.at(-1) : undefined
    const siteOf = kept && { siteOf: (stage: Stage) => kept.lend(stage, stage.name === last?.name) }
    const wanted = { plan, directory, targets, faults, waivers, skipped, jobs, retry: true, ...siteOf }
    const result = await run(wanted, progress, io.signal).catch((error: unknown) => {
      throw new AggregateError([error, new EndedEarly(directory)])
    })
    await writeReports(result, options.junit, io)
    exitCodes.push(result.exitCode)
  }
  return strongestExit(...exitCodes)
}

function named(text: string): [string, Target] {
  const target = targetNamed(text)
  return [target.name, target]
}

function refuseWhatIsNotHere(options: RunOptions): void {
  if (options.sandbox === 'vm') {
    throw new Unsupported({
      feature: '--sandbox vm',
      needs: 'the VM sandbox',
      found: 'a castproof that runs on this kernel only',
      remedy: 'leave --sandbox out',
    })
  }
}

/** Every mistake of every suite at once; nothing is sent before all of it is valid. */
export async function planOf(
  options: Pick<RunOptions, 'suites' | 'profile' | 'filter' | 'seed'>,
  targets: readonly string[],
  io: Io,
): Promise<Plan> {
  const paths = options.suites.length > 0 ? options.suites.map(path => resolve(io.cwd, path)) : [DEFAULT_SUITES]
  const { profile: profiles, filter, seed } = options
  const { plan, errors } = await loadSuites(paths, { profiles, filter, seed, targets, cwd: io.cwd })
  if (errors.length > 0) throw new UserErrors(errors)
  return plan
}

function runDirectory(options: RunOptions, turn: number, io: Io): string {
  if (options.repeat === 1) return unusedDirectory(options.out, '', io)
  return unusedDirectory(options.out === undefined ? undefined : join(options.out, String(turn)), '', io)
}

/** `--out`, or a new folder named after the time below castproof-runs/. */
export function unusedDirectory(out: string | undefined, prefix: string, io: Io): string {
  const stamp = new Date().toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-')
  const directory = resolve(io.cwd, out ?? join('castproof-runs', `${prefix}${stamp}`))
  if (out === undefined) return unused(directory)
  if (existsSync(directory) && readdirSync(directory).length > 0) {
    throw new UserError('out-not-empty', `${directory} is not empty`, {
      hint: 'a run directory is written once: give --out a new name',
    })
  }
  return directory
}

function unused(directory: string): string {
  for (let n = 2, name = directory; ; n++, name = `${directory}-${n}`) if (!existsSync(name)) return name
}

async function writeReports(result: RunResult, junit: string | undefined, io: Io): Promise<void> {
  writeResult(result)
  if (junit !== undefined) await writeJunit(result, junit, io.env, io.cwd)
}
