import { join } from 'node:path'
import type { Fault } from '../../bpf/faults.ts'
import { EXIT } from '../exit.ts'
import { faultsFor, leftOutLines } from '../fault-choice.ts'
import { type FaultMatrix, faultMatrix } from '../fault-matrix.ts'
import type { FaultRow } from '../fault-row.ts'
import { ALL_FAULTS, faultNames, targetOfFault } from '../faults.ts'
import { makeFolder } from '../folder.ts'
import { type Io, printLine } from '../io.ts'
import { KeptSites } from '../sandbox/host.ts'
import { requireKernelName } from '../sandbox/kernel.ts'
import { placeStages } from '../sandbox/placement.ts'
import { Sandboxes } from '../sandbox/sandboxes.ts'
import { keepSenderOnOneCpu } from '../stage-record.ts'
import { UserError } from '../suite/errors.ts'
import type { Plan } from '../suite/plan-types.ts'
import { reference } from '../target/reference.ts'
import { requireTarget, skipsOf } from '../target/requirements.ts'
import { router } from '../target/router.ts'
import type { Target } from '../target/target.ts'
import type { FaultsOptions } from './options.ts'
import { DEFAULT_JOBS, planOf, unusedDirectory, waiversFor } from './run.ts'

/** What --self comes to, said rather than passed over. */
const NO_SELF = '--self: no faults of the generators are built in; datapath and control plane are below'

/** The measure of the suites: every fault must be noticed, every case must be able to notice one; target by target. */
export async function faultsCommand(options: FaultsOptions, io: Io): Promise<number> {
  requireKernelName(options)
  keepSenderOnOneCpu()
  const directory = unusedDirectory(options.out, 'faults-', io)
  const faults = chosen(options)
  const matrices = new Map<string, FaultMatrix>()
  if (options.self && !options.json) printLine(io, NO_SELF)
  const startMs = performance.now()
  for (const target of [reference, router]) {
    const plan = await planOf({ suites: options.suites, profile: [] }, [target.name], io)
    const own = faults.filter(fault => targetOfFault(fault) === target.name)
    if (plan.stages.length === 0 || own.length === 0) continue
    matrices.set(
      target.name,
      await matrixOf(target, plan, own, target === reference ? directory : join(directory, target.name), options, io),
    )
  }
  report(matrices, options, io)
  if (!options.json) printLine(io, `${Math.round((performance.now() - startMs) / 1000)} s, runs in ${directory}`)
  const holes = [...matrices.values()].flatMap(({ survivors, idle, unsound }) => [...survivors, ...idle, ...unsound])
  if (matrices.size === 0) throw new UserError('no-fault', 'no fault is of a target that these suites are for')
  if ([...matrices.values()].every(({ rows }) => rows.length === 0)) return EXIT.cannot
  return holes.length > 0 ? EXIT.failed : EXIT.passed
}

async function matrixOf(
  target: Target,
  plan: Plan,
  asked: readonly Fault[],
  directory: string,
  options: FaultsOptions,
  io: Io,
): Promise<FaultMatrix> {
  const say = (line: string): void => {
    if (!options.json) printLine(io, line)
  }
  const vm = { ...(options.kernel === undefined ? {} : { kernel: options.kernel }), say }
  const targets = new Map([[target.name, target]])
  const places = await placeStages(plan, targets, { ...vm, sandbox: options.sandbox })
  if ([...places.values()].some(({ kind }) => kind === 'host')) await requireTarget(target)
  if ([...places.values()].some(({ kind }) => kind === 'vm')) makeFolder(directory)
  const partial = options.fault.length > 0
  const skipped = await skipsOf(plan, targets, places, io.signal)
  const { faults, leftOut } = partial
    ? { faults: asked, leftOut: [] }
    : faultsFor(plan, asked, skipped, options.suites.length > 0)
  const onRow = (row: FaultRow, position: number): void => {
    if (!options.json) printLine(io, rowLine(row, position, faults.length))
  }
  const kept = new KeptSites()
  const sandboxes = await Sandboxes.open(places, kept.siteOf, { ...vm, directory, stderr: io.stderr, keepSites: true })
  const wanted = {
    plan,
    target,
    faults,
    partial,
    directory,
    jobs: DEFAULT_JOBS,
    skipped,
    sandboxOf: sandboxes.of,
    waivers: waiversFor(plan, [target.name], {}, io),
    onRow,
  }
  try {
    return await faultMatrix(wanted, io.signal)
  } finally {
    await sandboxes.close()
    await kept.close()
    if (!options.json) for (const line of leftOutLines(leftOut)) printLine(io, line)
  }
}

/** One target's matrix is printed as it is, several by name. */
function report(matrices: ReadonlyMap<string, FaultMatrix>, { json }: FaultsOptions, io: Io): void {
  const [only] = matrices.values()
  if (json) printLine(io, JSON.stringify(matrices.size === 1 ? only : Object.fromEntries(matrices), null, 2))
  else for (const matrix of matrices.values()) printSummary(matrix, io)
}

function chosen({ fault }: FaultsOptions): readonly Fault[] {
  const names = faultNames(fault)
  return names.length === 0 ? ALL_FAULTS : ALL_FAULTS.filter(({ name }) => names.includes(name))
}

function rowLine(row: FaultRow, position: number, total: number): string {
  const count = `${String(position).padStart(String(total).length)}/${total}`
  const verdict = row.killedBy.length > 0 ? 'killed  ' : 'SURVIVED'
  const by = row.killedBy.length > 0 ? `by ${row.killedBy.slice(0, 3).join(', ')}` : ''
  const more = row.killedBy.length > 3 ? ` and ${row.killedBy.length - 3} more` : ''
  const took = `${(row.tookMs / 1000).toFixed(1)} s`
  return `${count}  ${verdict}  ${row.fault.padEnd(30)} ${took.padStart(6)}  ${String(row.passed).padStart(3)}/${row.cases} green  ${by}${more}`
}

function printSummary(matrix: FaultMatrix, io: Io): void {
  printLine(io)
  for (const { id, status, message } of matrix.unsound)
    printLine(io, `not passing without a fault: ${id} (${status}: ${message})`)
  for (const fault of matrix.survivors) printLine(io, `survivor: ${fault}: no case that covers its requirement fails`)
  for (const id of matrix.idle) printLine(io, `idle: ${id}: no fault that leaves half of the others green turns it red`)
  const killed = matrix.rows.length - matrix.survivors.length
  printLine(io, `${killed} of ${matrix.rows.length} faults killed, ${matrix.idle.length} idle cases`)
}
