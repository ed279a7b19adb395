import { existsSync, readdirSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { consoleProgress } from '../../reports/console.ts'
import { both, type Progress, progressOf } from '../../reports/progress.ts'
import type { RunResult } from '../../reports/result.ts'
import { appendSummary, writeJunit, writeResult } from '../../reports/write.ts'
import { caseKey } from '../case-key.ts'
import { strongestExit } from '../exit.ts'
import { faultNames } from '../faults.ts'
import { makeFolder } from '../folder.ts'
import { EndedEarly, type Io, printLine } from '../io.ts'
import { readKeysFile } from '../ipsec/keys-file.ts'
import type { KeptSite } from '../lab/kept-site.ts'
import { removeLeftovers } from '../lab/registry.ts'
import { type RunWanted, run } from '../run.ts'
import { freshSites, type SiteOf } from '../sandbox/host.ts'
import { requireKernelName } from '../sandbox/kernel.ts'
import { type Place, placeStages } from '../sandbox/placement.ts'
import { Sandboxes, withoutBounds } from '../sandbox/sandboxes.ts'
import { SonobuoyPlugin } from '../sonobuoy.ts'
import { keepSenderOnOneCpu } from '../stage-record.ts'
import { UserError, UserErrors } from '../suite/errors.ts'
import { bundledSuites } from '../suite/files.ts'
import { loadSuites } from '../suite/load.ts'
import type { Plan } from '../suite/plan-types.ts'
import { targetNamed } from '../target/registry.ts'
import { requireTarget, skipsOf } from '../target/requirements.ts'
import type { Target } from '../target/target.ts'
import { Unsupported } from '../unsupported.ts'
import { isAbout, readWaivers, type Waiver } from '../waivers.ts'
import type { RunOptions } from './options.ts'

/** Cases side by side: they wait for packets far more than they compute. */
export const DEFAULT_JOBS = Math.max(4, 4 * cpus().length)

export async function runCommand(options: RunOptions, io: Io): Promise<number> {
  if (options.sonobuoy) return runAsPlugin(options, io)
  if (!options.keep) return runWithSite(options, io)
  const { runKept } = await import('../lab/kept-run.ts')
  return runKept(options, io)
}

/** Whatever happens, Sonobuoy is told: it would wait for hours. */
async function runAsPlugin(options: RunOptions, io: Io): Promise<number> {
  const plugin = new SonobuoyPlugin(io)
  try {
    const exitCode = await runWithSite(options, io, undefined, plugin.progress())
    await plugin.finish()
    return exitCode
  } catch (error) {
    await plugin.finish(error)
    throw error
  }
}

/** Runs; with `kept`, the very last stage runs on its site and leaves that up. */
export async function runWithSite(
  options: RunOptions,
  io: Io,
  kept?: KeptSite,
  watching: Progress = progressOf({}),
): Promise<number> {
  requireKernelName(options)
  const faults = faultNames(options.fault)
  const asked = options.target.length > 0
  refuseImage(options)
  const wanted = new Map((asked ? options.target : DEFAULT_TARGETS).map(text => named(text, options, io)))
  const plan = await planOf(options, [...wanted.keys()], io)
  refuseFolders(options, io)
  const targets = asked ? wanted : usedBy(plan, wanted)
  // Before anything is brought up: mistakes in the user's file.
  const given = waiversFor(plan, [...targets.keys(), ...options.profile], options, io)
  for (const target of targets.values()) refuseElsewhere(target, options)
  const say = (line: string): void => printLine(io, line)
  const places = await placeStages(plan, targets, { ...kernelOf(options), sandbox: options.sandbox, say })
  refuseKeep(options, places)
  const lacking = await lackingTargets(onHost(plan, targets, places), asked)
  for (const id of await removeLeftovers()) printLine(io, `removed what lab ${id} left behind`)
  // Children are kept there too: a target elsewhere has nothing but these here.
  if ([...targets.values()].some(target => !target.close)) keepSenderOnOneCpu()
  try {
    const keys = options.keys === undefined ? undefined : readKeysFile(resolve(io.cwd, options.keys), options.keys)
    const skipped = { ...(await skipsOf(plan, targets, places, io.signal)), ...casesOf(plan, lacking) }
    const products = [...targets.values()].flatMap(({ product }) => product ?? [])
    const waivers =
      products.length === 0
        ? given
        : waiversFor(plan, [...targets.keys(), ...options.profile, ...products], options, io)
    const exitCodes: number[] = []
    for (let turn = 1; turn <= options.repeat; turn++)
      exitCodes.push(
        await runOnce(
          { plan: withoutBounds(plan, places), targets, faults, waivers, skipped, ...(keys && { keys }) },
          options,
          turn,
          io,
          {
            kept,
            watching,
            places,
          },
        ),
      )
    return strongestExit(...exitCodes)
  } finally {
    for (const target of targets.values()) await target.close?.()
  }
}

function refuseImage({ image, target }: RunOptions): void {
  if (image !== undefined && !target.some(text => text.split(':')[0] === 'kubernetes'))
    throw new UserError('image-without-pods', '--image is for target kubernetes', { hint: 'add --target kubernetes' })
}

/** What is asked of a target that this machine does not bring up itself. */
function refuseElsewhere(target: Target, { keep, fault, sandbox }: RunOptions): void {
  if (!target.close) return
  const given = [keep && '--keep', fault.length > 0 && '--fault', sandbox === 'vm' && '--sandbox vm'].find(Boolean)
  if (given)
    throw new UserError('not-elsewhere', `${given} is for targets that castproof brings up, not for ${target.name}`)
}

async function runOnce(
  wanted: Pick<RunWanted, 'plan' | 'targets' | 'faults' | 'waivers' | 'skipped' | 'keys'>,
  options: RunOptions,
  turn: number,
  io: Io,
  { kept, watching, places }: { kept: KeptSite | undefined; watching: Progress; places: ReadonlyMap<string, Place> },
): Promise<number> {
  const directory = runDirectory(options, turn, io)
  if (options.repeat > 1) printLine(io, `repeat ${turn} of ${options.repeat}`)
  const progress = both(consoleProgress(io.stdout, { env: io.env, quiet: options.quiet }), watching)
  makeFolder(directory)
  const last = turn === options.repeat ? wanted.plan.stages.at(-1) : undefined
  const siteOf: SiteOf = kept
    ? stage => kept.lend(stage, stage.name === last?.name)
    : freshSites(name => wanted.targets.get(name) ?? targetNamed(name))
  const say = (line: string): void => printLine(io, line)
  const sandboxes = await Sandboxes.open(places, siteOf, { ...kernelOf(options), directory, stderr: io.stderr, say })
  const parts = { ...wanted, directory, jobs: options.jobs ?? DEFAULT_JOBS, retry: true, sandboxOf: sandboxes.of }
  try {
    const result = await run(parts, progress, io.signal).catch((error: unknown) => {
      throw new AggregateError([error, new EndedEarly(directory)])
    })
    await writeReports(result, options, io)
    return result.exitCode
  } finally {
    await sandboxes.close()
  }
}

/** What comes with this machine's own programs; the others are for those who name them. */
const DEFAULT_TARGETS: readonly string[] = ['reference', 'router']

function usedBy(plan: Plan, targets: ReadonlyMap<string, Target>): Map<string, Target> {
  return new Map([...targets].filter(([name]) => plan.stages.some(stage => stage.target === name)))
}

/** Targets that nobody asked for by name and that this machine cannot bring up, with the reason: their cases are skipped. */
async function lackingTargets(targets: ReadonlyMap<string, Target>, asked: boolean): Promise<Map<string, string>> {
  const lacking = new Map<string, string>()
  for (const [name, target] of targets) {
    try {
      await requireTarget(target)
    } catch (error) {
      if (asked || targets.size === 1 || !(error instanceof Unsupported)) throw error
      lacking.set(name, `${error.message}${error.remedy ? ` (${error.remedy})` : ''}`)
    }
  }
  return lacking
}

function casesOf(plan: Plan, lacking: ReadonlyMap<string, string>): Record<string, string> {
  return Object.fromEntries(
    plan.stages.flatMap(({ target, cases }) => {
      const reason = lacking.get(target)
      return reason === undefined ? [] : cases.map(item => [caseKey(target, item.id), reason])
    }),
  )
}

/**
 * What a target or a profile's product is known to do wrong, in `suites/waivers/<name>.yaml`, as far as it concerns this plan; and what
 * the user waives, all of it: one that concerns nothing is told, as most often misspelt.
 */
export function waiversFor(plan: Plan, names: readonly string[], given: { waivers?: string }, io: Io): Waiver[] {
  const files = names.map(name => join(bundledSuites(), 'waivers', `${name}.yaml`))
  const known = [...new Set(files)].filter(path => existsSync(path)).flatMap(readWaivers)
  const cases = plan.stages.flatMap(stage => stage.cases.map(item => ({ ...item, target: stage.target })))
  const users = given.waivers === undefined ? [] : readWaivers(resolve(io.cwd, given.waivers))
  return [...known.filter(waiver => cases.some(item => isAbout(waiver, item))), ...users]
}

function refuseKeep({ keep }: RunOptions, places: ReadonlyMap<string, Place>): void {
  if (!keep || [...places.values()].every(({ kind }) => kind === 'host')) return
  const hint = 'use --sandbox host, or choose suites that need no virtual machine'
  throw new UserError('keep-in-vm', '--keep cannot keep what is inside a virtual machine', { hint })
}

function kernelOf({ kernel }: Pick<RunOptions, 'kernel'>): { kernel?: string } {
  return kernel === undefined ? {} : { kernel }
}

/** Targets of which a stage runs on this kernel. */
function onHost(
  { stages }: Plan,
  targets: ReadonlyMap<string, Target>,
  places: ReadonlyMap<string, Place>,
): Map<string, Target> {
  const isHere = (target: string): boolean =>
    stages.every(stage => stage.target !== target) ||
    stages.some(stage => stage.target === target && places.get(stage.name)?.kind !== 'vm')
  return new Map([...targets].filter(([name]) => isHere(name)))
}

/** Before anything is brought up: what the run leaves must have its place. */
function refuseFolders({ out, junit, summary }: RunOptions, io: Io): void {
  if (out !== undefined) unusedDirectory(out, '', io)
  if (junit !== undefined) makeFolder(resolve(io.cwd, junit))
  if (summary !== undefined) makeFolder(dirname(resolve(io.cwd, summary)))
}

function named(text: string, { image }: RunOptions, io: Io): [string, Target] {
  const tell = (line: string): void => void io.stderr.write(`${line}\n`)
  const target = targetNamed(text, { cwd: io.cwd, tell, ...(image === undefined ? {} : { image }) })
  return [target.name, target]
}

/** Every mistake of every suite at once; nothing is sent before all of it is valid. */
export async function planOf(
  options: Pick<RunOptions, 'suites' | 'profile' | 'filter' | 'seed'>,
  targets: readonly string[],
  io: Io,
): Promise<Plan> {
  const paths = options.suites.length > 0 ? options.suites.map(path => resolve(io.cwd, path)) : [bundledSuites()]
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
  if (existsSync(directory)) makeFolder(directory)
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

async function writeReports(result: RunResult, { junit, summary }: RunOptions, io: Io): Promise<void> {
  writeResult(result)
  if (junit !== undefined) await writeJunit(result, junit, io.env, io.cwd)
  if (summary !== undefined) await appendSummary(result, resolve(io.cwd, summary))
}
