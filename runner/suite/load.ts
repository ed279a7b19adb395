import { relative, resolve } from 'node:path'
import { loadRequirements, requirementRef } from '../requirements.ts'
import { type Draft, mergeRows, readDrafts, wishOf } from './draft.ts'
import { sortErrors, UserError } from './errors.ts'
import { bundledSuites, readSource, suiteFiles } from './files.ts'
import { type Filter, parseFilter } from './filter.ts'
import { type Lease, leaseGroups, literalsOf } from './groups.ts'
import { Language } from './language.ts'
import { planCase } from './plan.ts'
import type { Plan, PlannedCase, Settings, Stage } from './plan-types.ts'
import { type Place, placeKey, planPools } from './pools.ts'
import { loadProfile, type Profile } from './profile.ts'

export interface LoadOptions {
  /** Names or files, the later winning. */
  profiles?: readonly string[]
  /** See `filter.ts`. */
  filter?: string | undefined
  /** Names of targets; left out: reference. */
  targets?: readonly string[]
  seed?: number | undefined
  /** Paths are relative to it, and so are file names in messages. */
  cwd?: string
  /** The folder with `requirements/` and `profiles/`; left out: what comes with castproof. */
  suites?: string
}

export interface Loaded {
  plan: Plan
  errors: UserError[]
  /** Files read, for the summary of `check`. */
  files: number
}

/** Files to Plan, and every mistake in them at once. Same files in, same Plan out, in whatever order they are named. */
export function loadSuites(paths: readonly string[], options: LoadOptions = {}): Loaded {
  const cwd = options.cwd ?? process.cwd()
  const home = options.suites ?? bundledSuites()
  const { requirements, errors } = loadRequirements(home)
  const refs = new Map([...requirements].map(([id, requirement]) => [id, requirementRef(requirement)]))
  const { files, errors: missing } = suiteFiles(paths.map(path => resolve(cwd, path)))
  errors.push(...missing)
  const drafts = files.flatMap(file => {
    const read = readDraftsOf(file, cwd, new Set(requirements.keys()))
    errors.push(...read.errors)
    return read.drafts
  })
  errors.push(...twice(drafts))
  const { plan, errors: planErrors } = planDrafts(
    drafts,
    { ...options, targets: options.targets ?? ['reference'] },
    home,
    refs,
  )
  errors.push(...planErrors)
  return { plan, errors: sortErrors(errors), files: files.length }
}

function readDraftsOf(file: string, cwd: string, known: ReadonlySet<string>): { drafts: Draft[]; errors: UserError[] } {
  const shown = relative(cwd, file)
  const { source, errors } = readSource(file, shown.startsWith('..') ? file : shown)
  if (!source) return { drafts: [], errors }
  const read = readDrafts(source, known)
  return { drafts: read.drafts, errors: [...errors, ...read.errors] }
}

function twice(drafts: readonly Draft[]): UserError[] {
  const files = new Map<string, string>()
  return drafts.flatMap(({ id, source }) => {
    const first = files.get(id)
    files.set(id, first ?? source.file)
    if (first === undefined || first === source.file) return []
    return [
      new UserError('twice', `the suite \`${id}\` is also in ${first}`, {
        position: source.at(['suite']),
        hint: 'ids are unique: rename one',
      }),
    ]
  })
}

type Refs = Parameters<typeof planCase>[1]['requirements']
type Asked = LoadOptions & { targets: readonly string[] }

/** What every case of a run shares. */
interface Common {
  profiles: ReadonlyMap<string, Profile>
  leases: ReadonlyMap<string, Lease>
  requirements: Refs
  language: Language
}

/** A case on one of its targets; `skip` says why it will not run there. */
interface Run {
  draft: Draft
  target: string
  skip?: string
}

/** Leases are given over all cases, so that a filter changes no group; stages are made of the cases that will run. */
function planDrafts(
  all: readonly Draft[],
  options: Asked,
  home: string,
  requirements: Refs,
): { plan: Plan; errors: UserError[] } {
  const { profiles, errors } = loadProfiles(
    [...options.targets, ...all.flatMap(({ header }) => header.targets)],
    options,
    home,
  )
  const asked = loadProfile('', options.profiles ?? [], home).profile
  const filter = filterOf([...asked.cases, ...(options.filter === undefined ? [] : [options.filter])], errors)
  const drafts = [...new Map(all.map(draft => [draft.id, draft])).values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  const common = { profiles, leases: leaseGroups(drafts.map(wishOf)), requirements, language: new Language() }
  const chosen = drafts.filter(draft => filter({ ...draft.header, id: draft.id }))
  const rest = drafts.filter(draft => !chosen.includes(draft))
  const { stages, skipped, rows } = planRuns(runsOf(chosen, options.targets), common)
  // Nothing is sent before all of it is valid: what the filter leaves out is checked too.
  const others = planRuns(runsOf(rest, options.targets), common)
  errors.push(...rowErrors([...rows, ...others.rows]))
  const alone = sharedLiterals(chosen)
  for (const planned of stages.flatMap(stage => stage.cases)) planned.exclusive ||= alone.has(planned.id)
  const names = profiles.get(options.targets[0] ?? 'reference')?.names ?? asked.names
  return {
    plan: {
      schema: 'castproof-plan/1',
      seed: options.seed ?? 1,
      profiles: names,
      settings: asked.settings,
      stages,
      skipped,
    },
    errors,
  }
}

interface RowErrors {
  suite: string
  suffix: string
  errors: UserError[]
}

function planRuns(runs: readonly Run[], { profiles, leases, requirements, language }: Common) {
  const places = placesOf(runs, profiles)
  const stages = new Map<string, Stage>()
  const skipped: PlannedCase[] = []
  const rows: RowErrors[] = []
  for (const { draft, target, skip } of runs) {
    const place = places.get(placeKey({ id: draft.id, target }))!
    const { settings, lacks } = profiles.get(target)!
    const { planned, errors } = planCase(draft, {
      place,
      lease: leases.get(draft.id)!,
      settings,
      requirements,
      language,
    })
    rows.push({ suite: draft.header.suite, suffix: draft.row.suffix, errors })
    const reason = skip ?? lackOf(draft, lacks)
    if (reason === undefined) stageOf(stages, place, settings).cases.push(planned)
    else skipped.push({ ...planned, skipReason: reason })
  }
  return { stages: [...stages.values()], skipped, rows }
}

/** What a profile says that its target is without, if the case needs it. */
function lackOf({ header }: Draft, lacks: Profile['lacks']): string | undefined {
  const need = header.needs.find(one => typeof lacks[one] === 'string')
  return need === undefined ? undefined : `needs ${need}: ${lacks[need]}`
}

/** Suite by suite, what several rows have in common said once. */
function rowErrors(rows: readonly RowErrors[]): UserError[] {
  const suites = new Map<string, RowErrors[]>()
  for (const row of rows) suites.set(row.suite, [...(suites.get(row.suite) ?? []), row])
  return [...suites.values()].flatMap(mergeRows)
}

function loadProfiles(targets: readonly string[], options: Asked, home: string) {
  const profiles = new Map<string, Profile>()
  const errors: UserError[] = []
  for (const target of new Set(targets)) {
    const { profile, errors: wrong } = loadProfile(target, options.profiles ?? [], home)
    profiles.set(target, profile)
    errors.push(
      ...wrong.filter(error => !errors.some(other => other.message === error.message && other.file === error.file)),
    )
  }
  return { profiles, errors }
}

function runsOf(drafts: readonly Draft[], targets: readonly string[]): Run[] {
  return drafts.flatMap(draft => targetsOf(draft, targets).map(target => ({ draft, ...target })))
}

function filterOf(expressions: readonly string[], errors: UserError[]): Filter {
  const filters = expressions.flatMap(expression => {
    try {
      return [parseFilter(expression)]
    } catch (error) {
      if (!(error instanceof UserError)) throw error
      errors.push(error)
      return []
    }
  })
  return candidate => filters.every(filter => filter(candidate))
}

/** The targets of this run that the case is for; none: one of its own, to be skipped there. */
function targetsOf(draft: Draft, targets: readonly string[]): { target: string; skip?: string }[] {
  const fitting = [...new Set(targets)].filter(target => draft.header.targets.includes(target))
  if (fitting.length > 0) return fitting.map(target => ({ target }))
  const first = draft.header.targets[0] ?? 'reference'
  return [{ target: first, skip: `for target ${draft.header.targets.join(', ')}; this run has ${targets.join(', ')}` }]
}

/** Pools are made target by target, with the timers of that target. */
function placesOf(runs: readonly Run[], profiles: ReadonlyMap<string, Profile>): Map<string, Place> {
  const places = new Map<string, Place>()
  for (const [target, profile] of profiles) {
    const wishes = runs
      .filter(run => run.target === target)
      .map(({ draft }) => ({ id: draft.id, target, topology: draft.header.topology, needs: draft.header.needs }))
    for (const [key, place] of planPools(wishes, profile)) places.set(key, place)
  }
  return places
}

function stageOf(stages: Map<string, Stage>, place: Place, settings: Settings): Stage {
  const existing = stages.get(place.stage)
  if (existing) return existing
  const stage: Stage = { name: place.stage, target: place.target, settings, topology: place.topology, cases: [] }
  stages.set(place.stage, stage)
  return stage
}

/** Cases that name a literal group that another case names too: each has it for itself. */
function sharedLiterals(drafts: readonly Draft[]): Set<string> {
  const holders = new Map<number, Set<string>>()
  for (const draft of drafts)
    for (const group of literalsOf(wishOf(draft))) holders.set(group, (holders.get(group) ?? new Set()).add(draft.id))
  return new Set([...holders.values()].filter(ids => ids.size > 1).flatMap(ids => [...ids]))
}
