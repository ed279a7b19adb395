import { createHash } from 'node:crypto'
import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { SiteMap } from './check/check.ts'
import type { Observation } from './observation.ts'
import { UserError } from './suite/errors.ts'
import type { Plan } from './suite/plan-types.ts'
import type { Waiver } from './waivers.ts'

/** Names inside a run directory (`castproof-run/1`, ARCHITECTURE section 2.3). */
export const LAYOUT = {
  run: 'run.json',
  plan: 'plan.json',
  sent: 'sent.bin',
  observations: 'observations.jsonl',
  taps: 'taps',
  result: 'result.json',
  evidence: 'evidence',
  keys: 'keys',
} as const

/** `run.json`: all that a verdict needs beside plan, packets and observations. Written once, when the run has ended. */
export interface RunRecord {
  schema: 'castproof-run/1'
  /** Goes into every stamp (u24). */
  runId: number
  version: string
  startedAt: string
  /** CLOCK_REALTIME nanoseconds, decimal: what the stamps' times count from. */
  startedAtNs: string
  /** Absent: the run did not come to its end, and what is here is judged. */
  durationMs?: number
  seed: number
  host: { hostname: string; kernel: string; node: string; os: string }
  targets: { name: string; description: string; sandbox: string }[]
  faults: string[]
  profiles: string[]
  stages: StageRecord[]
  /** Whether bounds on times may fail a case; plan and run agree, this one is for people. */
  timingBounds: boolean
  /** Version of a target's SUT, for waivers that hold for a range. */
  targetVersions?: Record<string, string>
  /** Cases that no stage could run on this machine, by caseKey, with the reason: skipped although planned. */
  skipped?: Record<string, string>
  /** What the run was told to waive (`readWaivers` of `--waivers FILE`): part of the record, so that judge needs no other file. */
  waivers?: Waiver[]
  warnings?: string[]
  /** Errors that nobody expected and that ended a case early, with their stacks: a run with one ends with 70. */
  bugs?: { case: string; attempt: number; stack: string }[]
}

/** One line of it: the stack is in the record. */
export function bugText(id: string, stack: string): string {
  return `${id}: ended early by a bug in castproof, please report it with ${LAYOUT.run}: ${stack.split('\n')[0] ?? ''}`
}

/** One bring-up of a stage's topology; a repeated attempt is another record with the same name. */
export interface StageRecord {
  name: string
  target: string
  /** From 1. */
  attempt: number
  /** Absent in run directories of castproof 0.1: on the host, whose kernel `host` names. */
  sandbox?: { kind: 'host' | 'vm'; kernel: string }
  site: SiteMap
  taps: TapRecord[]
  /** Clocks of this bring-up other than the runner's. */
  clocks?: ClockRecord[]
  /** Of unicast, between every two places of a target that is somewhere else. */
  health?: RoundTrip[]
  /** Relative to the run directory: `keys/reference-1.yaml`, the throw-away keys of a bundled target (docs/encryption.md). */
  keys?: string
}

/**
 * A clock of another kernel: how much more it showed than the runner's at two of its moments, between which it is taken to go evenly,
 * and how far off that may be. Hosts on one kernel have one clock.
 */
export interface ClockRecord {
  name: string
  /** CLOCK_REALTIME nanoseconds, decimal. */
  first: { tNs: string; aheadNs: string }
  last: { tNs: string; aheadNs: string }
  uncertaintyNs: number
}

/** `ms` is null where nothing came back. */
export interface RoundTrip {
  from: string
  to: string
  ms: number | null
}

export interface TapRecord {
  /** Relative to the run directory: `taps/reference-1-n1.pcapng`. */
  file: string
  sha256: string
  /** Tap names by interface id: `n1/eth0`. */
  interfaces: string[]
  /** The clock that its times are of, by name; left out: the runner's. */
  clock?: string
}

export interface RunFiles {
  directory: string
  run: RunRecord
  plan: Plan
  observations: Observation[]
  /** Tap files whose SHA-256 is not what the run recorded. */
  altered: string[]
  /** Tap files that are not there. */
  missing: string[]
  warnings: string[]
}

/** Everything of a run directory but the packets; `result.json` is never looked at. UserError when it cannot be used. */
export function readRunDirectory(directory: string): RunFiles {
  if (!existsSync(directory) || !statSync(directory).isDirectory()) throw unusable(directory, 'is not a directory')
  const run = readJson<RunRecord>(directory, LAYOUT.run, 'castproof-run/1')
  const plan = readJson<Plan>(directory, LAYOUT.plan, 'castproof-plan/1')
  requireShape(join(directory, LAYOUT.run), run.stages, isStageRecord)
  requireShape(join(directory, LAYOUT.plan), plan.stages, isStage)
  const warnings = [...(run.warnings ?? [])]
  const observations = readObservations(directory, warnings)
  const taps = run.stages.flatMap(stage => stage.taps)
  const missing = taps.map(tap => tap.file).filter(file => !existsSync(join(directory, file)))
  const altered = taps.filter(
    tap => !missing.includes(tap.file) && fileSha256(join(directory, tap.file)) !== tap.sha256,
  )
  warnings.push(...missing.map(file => `${file} is missing: its taps count as incomplete`))
  warnings.push(
    ...altered.map(tap => `${tap.file} is not the file that was recorded (SHA-256 differs): judged all the same`),
  )
  return { directory, run, plan, observations, altered: altered.map(tap => tap.file), missing, warnings }
}

/** What is read before any check has a say; a file altered by hand is bad input, not our bug. */
function requireShape(path: string, stages: unknown, isRight: (stage: Loose) => boolean): void {
  if (!Array.isArray(stages)) throw unusable(path, 'has no list of stages')
  for (const [i, stage] of stages.entries()) {
    if (!isObject(stage) || typeof stage['name'] !== 'string' || !isRight(stage))
      throw unusable(path, `has no whole stage ${i + 1}`)
  }
}

type Loose = Record<string, unknown>

function isObject(value: unknown): value is Loose {
  return typeof value === 'object' && value !== null
}

function isStageRecord({ site, taps, attempt, keys }: Loose): boolean {
  if (keys !== undefined && !(typeof keys === 'string' && KEYS_FILE.test(keys))) return false
  if (!isObject(site) || !Array.isArray(site['nodes']) || !Array.isArray(site['pods'])) return false
  const overlay = site['overlay']
  return (
    typeof attempt === 'number' &&
    (overlay === undefined || isObject(overlay)) &&
    Array.isArray(taps) &&
    taps.every(isTapRecord)
  )
}

function isTapRecord(tap: unknown): boolean {
  return isObject(tap) && typeof tap['file'] === 'string' && TAP_FILE.test(tap['file'])
}

/** Nothing outside of the run directory is read. */
const TAP_FILE = /^taps\/[^/]+$/
const KEYS_FILE = /^keys\/[^/]+$/

function isStage({ cases }: Loose): boolean {
  return Array.isArray(cases) && cases.every(item => isObject(item) && typeof item['id'] === 'string')
}

/** Hashes in pieces: a capture may be larger than memory. */
export function fileSha256(path: string): string {
  const hash = createHash('sha256')
  const piece = Buffer.allocUnsafe(1 << 20)
  const fd = openSync(path, 'r')
  try {
    for (let n = readSync(fd, piece); n > 0; n = readSync(fd, piece)) hash.update(piece.subarray(0, n))
  } finally {
    closeSync(fd)
  }
  return hash.digest('hex')
}

function readJson<T extends { schema: string }>(directory: string, name: string, schema: string): T {
  const path = join(directory, name)
  if (!existsSync(path))
    throw unusable(directory, `has no ${name}: not a run directory, or the run died before its first packet`)
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw unusable(path, `is not JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
  const found = (value as { schema?: unknown } | null)?.schema
  if (found !== schema) throw unusable(path, `has schema ${JSON.stringify(found)}, this castproof reads "${schema}"`)
  return value as T
}

/** A last line that is cut off (the run was killed) is left out with a warning; anything else is an error. */
function readObservations(directory: string, warnings: string[]): Observation[] {
  const path = join(directory, LAYOUT.observations)
  if (!existsSync(path)) throw unusable(directory, `has no ${LAYOUT.observations}`)
  const lines = readFileSync(path, 'utf8').split('\n')
  const observations: Observation[] = []
  for (const [i, line] of lines.entries()) {
    if (line === '') continue
    try {
      observations.push(observationOf(JSON.parse(line)))
    } catch {
      if (i !== lines.length - 1) throw unusable(`${path}:${i + 1}`, 'is not an observation')
      warnings.push(`${LAYOUT.observations} ends in the middle of line ${i + 1}: that line is left out`)
    }
  }
  return observations
}

function observationOf(value: unknown): Observation {
  const isOne = isObject(value) && ['tNs', 'stage', 'kind'].every(key => typeof value[key] === 'string')
  if (!isOne || !/^\d+$/.test(String(value['tNs']))) throw new TypeError('not an observation')
  return value as Observation
}

function unusable(path: string, why: string): UserError {
  return new UserError('run-directory', `${path} ${why}`)
}
