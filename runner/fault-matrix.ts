import { join } from 'node:path'
import type { Fault } from '../bpf/faults.ts'
import { progressOf } from '../reports/progress.ts'
import type { CaseResult, RunResult, Status } from '../reports/result.ts'
import { run } from './run.ts'
import type { Plan, Stage } from './suite/plan-types.ts'
import type { Site, Target } from './target/target.ts'

/** What one fault did to the suites. */
export interface FaultRow {
  fault: string
  requirements: string[]
  /** Cases that failed and cover a requirement of the fault: they noticed it. */
  killedBy: string[]
  /** Cases that failed without covering one of its requirements. */
  alsoFailed: string[]
  inconclusive: string[]
  passed: number
  cases: number
}

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
  /** A run directory for each fault is kept below it. */
  directory: string
  jobs: number
  skipped: Record<string, string>
  onRow: (row: FaultRow, position: number) => void
}

/** Runs all suites once without a fault and once with each; the topology stays up, only the SUT's programs change. */
export async function faultMatrix(wanted: MatrixWanted, stop: AbortSignal): Promise<FaultMatrix> {
  const sites = new Map<string, Site>()
  try {
    const sound = await oneRun(wanted, undefined, sites, stop)
    const unsound = sound.cases.filter(item => item.status !== 'pass' && item.status !== 'skip')
    const rows: FaultRow[] = []
    for (const fault of wanted.faults) {
      const row = rowOf(fault, await oneRun(wanted, fault, sites, stop))
      rows.push(row)
      wanted.onRow(row, rows.length)
    }
    const judged = sound.cases.filter(item => item.status === 'pass').map(item => item.id)
    return {
      rows,
      survivors: rows.filter(row => row.killedBy.length === 0).map(row => row.fault),
      idle: judged.filter(id => !rows.some(row => row.killedBy.includes(id) && leavesHalfGreen(row))),
      unsound: unsound.map(({ id, status, message }) => ({ id, status, message })),
    }
  } finally {
    for (const site of sites.values()) await site.close()
  }
}

async function oneRun(
  wanted: MatrixWanted,
  fault: Fault | undefined,
  sites: Map<string, Site>,
  stop: AbortSignal,
): Promise<RunResult> {
  const faults = fault ? [fault.name] : []
  const { plan, target, jobs, skipped } = wanted
  const siteOf = async (stage: Stage) => {
    let site = sites.get(stage.name)
    if (site) await site.setFaults(faults)
    else {
      site = await target.bringUp(stage.topology, { faults }, stop)
      sites.set(stage.name, site)
    }
    return { site, done: async () => {} }
  }
  const directory = join(wanted.directory, fault?.name ?? 'none')
  const targets = new Map([[target.name, target]])
  return run(
    { plan, directory, targets, faults, waivers: [], skipped, jobs, retry: fault === undefined, siteOf },
    progressOf({}),
    stop,
  )
}

function rowOf(fault: Fault, result: RunResult): FaultRow {
  const failed = result.cases.filter(item => item.status === 'fail')
  const notices = (item: CaseResult): boolean => item.covers.some(covered => fault.requirements.includes(covered.id))
  return {
    fault: fault.name,
    requirements: [...fault.requirements],
    killedBy: failed.filter(notices).map(item => item.id),
    alsoFailed: failed.filter(item => !notices(item)).map(item => item.id),
    inconclusive: result.cases.filter(item => item.status === 'inconclusive').map(item => item.id),
    passed: result.totals.pass,
    cases: result.totals.pass + result.totals.fail + result.totals.inconclusive,
  }
}

/** A fault that breaks everything shows of no case that it can tell one thing from another. */
function leavesHalfGreen(row: FaultRow): boolean {
  return row.passed * 2 >= row.cases - 1
}
