import { join } from 'node:path'
import type { Fault } from '../bpf/faults.ts'
import { progressOf } from '../reports/progress.ts'
import type { CaseResult, RunResult, Status } from '../reports/result.ts'
import { writeResult } from '../reports/write.ts'
import { EXIT } from './exit.ts'
import { type FaultRow, idleCases, rowOf } from './fault-row.ts'
import type { Patience } from './patience.ts'
import { run } from './run.ts'
import type { Sandbox } from './sandbox/sandbox.ts'
import type { Plan, Stage } from './suite/plan-types.ts'
import type { Target } from './target/target.ts'
import type { Waiver } from './waivers.ts'

export interface FaultMatrix {
  rows: FaultRow[]
  /** Faults no case noticed: holes in the suites. */
  survivors: string[]
  /** Cases that no fault turns red while at least half of the others stay green: they prove nothing. */
  idle: string[]
  /** Cases that do not pass without any fault: nothing can be said about them. */
  unsound: { id: string; status: Status; message: string }[]
}

export interface MatrixWanted {
  plan: Plan
  target: Target
  faults: readonly Fault[]
  /** Not all faults there are: only cases that these are for are judged. */
  partial: boolean
  /** A run directory for each fault is kept below it. */
  directory: string
  jobs: number
  skipped: Record<string, string>
  waivers: Waiver[]
  /** Those whose sites stay up from run to run: a fault changes nothing but the SUT's programs. */
  sandboxOf: (stage: Stage) => Sandbox
  onRow: (row: FaultRow, position: number) => void
}

/**
 * Half the wait of an ordinary run, for most of what a fault stops never comes. The run without a fault waits as long, so
 * a case that needs more does not pass there, and is reported.
 */
const HASTY: Patience = { primeMs: 600, arrivalMs: 400, waitMs: 2000, slowness: 1 }

/** Runs all suites once without a fault, then what bears on it with each; the topology stays up, only the SUT's programs change. */
export async function faultMatrix(wanted: MatrixWanted, stop: AbortSignal): Promise<FaultMatrix> {
  const planned = wanted.partial ? planFor(wanted.plan, wanted.faults) : wanted.plan
  const sound = await oneRun(wanted, planned, undefined, stop)
  const rows: FaultRow[] = []
  for (const fault of wanted.faults) {
    const startMs = performance.now()
    const result = await oneRun(wanted, planFor(wanted.plan, [fault]), fault, stop)
    const row = rowOf(fault, result, performance.now() - startMs)
    rows.push(row)
    wanted.onRow(row, rows.length)
  }
  return verdict(wanted, sound, rows)
}

function verdict({ faults, partial }: MatrixWanted, sound: RunResult, rows: FaultRow[]): FaultMatrix {
  const unsound = sound.cases.filter(item => !['pass', 'skip', 'waived'].includes(item.status))
  const judged = sound.cases.filter(item => item.status === 'pass' && (!partial || bears(item, faults)))
  return {
    rows,
    survivors: rows.filter(row => row.killedBy.length === 0).map(row => row.fault),
    idle: idleCases(
      judged.map(item => item.id),
      rows,
    ),
    unsound: unsound.map(({ id, status, message }) => ({ id, status, message })),
  }
}

export function bears({ covers }: Pick<CaseResult, 'covers'>, faults: readonly Fault[]): boolean {
  return covers.some(({ id }) => faults.some(fault => fault.requirements.includes(id)))
}

/**
 * Cases that cover a requirement of the faults, and in their company others that run side by side in the largest stage,
 * of which half must stay green: one of each suite, for a suite's rows are much alike, or all, lest a few be outnumbered
 * by the cases the faults are for. Cases that would hold everybody else up and that the faults are not for are left out.
 */
function planFor(plan: Plan, faults: readonly Fault[]): Plan {
  const largest = plan.stages.reduce((most, stage) => (stage.cases.length > most.cases.length ? stage : most))
  const others = largest.cases.filter(item => !item.exclusive && !bears(item, faults))
  const oneEach = [...new Map(others.map(item => [suiteOf(item.id), item])).values()]
  const bearing = plan.stages.flatMap(stage => stage.cases).filter(item => bears(item, faults))
  const company = new Set(bearing.length * 2 > oneEach.length ? others : oneEach)
  const stages = plan.stages.map(stage => ({
    ...stage,
    cases: stage.cases.filter(item => bears(item, faults) || company.has(item)),
  }))
  return { ...plan, stages: stages.filter(stage => stage.cases.length > 0) }
}

function suiteOf(id: string): string {
  return id.replace(/\[.*/, '')
}

async function oneRun(
  wanted: MatrixWanted,
  plan: Plan,
  fault: Fault | undefined,
  stop: AbortSignal,
): Promise<RunResult> {
  const faults = fault ? [fault.name] : []
  const { target, jobs, skipped, waivers, sandboxOf } = wanted
  const directory = join(wanted.directory, fault?.name ?? 'none')
  const targets = new Map([[target.name, target]])
  const retry = fault === undefined
  const evidence = false
  const how = {
    plan,
    directory,
    targets,
    faults,
    waivers,
    skipped,
    jobs,
    retry,
    evidence,
    patience: HASTY,
    sandboxOf,
  }
  const result = await run(how, progressOf({}), stop)
  writeResult(result)
  if (result.exitCode === EXIT.bug) throw new Error(`${directory}: ${result.warnings.join('; ')}`)
  return result
}
