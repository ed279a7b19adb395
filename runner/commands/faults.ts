import type { Fault } from '../../bpf/faults.ts'
import { EXIT } from '../exit.ts'
import { type FaultMatrix, faultMatrix } from '../fault-matrix.ts'
import type { FaultRow } from '../fault-row.ts'
import { ALL_FAULTS, faultNames } from '../faults.ts'
import { type Io, printLine } from '../io.ts'
import { HostSandbox, KeptSites } from '../sandbox/host.ts'
import type { Sandbox } from '../sandbox/sandbox.ts'
import { keepSenderOnOneCpu } from '../stage-record.ts'
import { reference } from '../target/reference.ts'
import { requireTarget, skipsOf } from '../target/requirements.ts'
import type { FaultsOptions } from './options.ts'
import { DEFAULT_JOBS, planOf, unusedDirectory, waiversFor } from './run.ts'

/** What --self comes to, said rather than passed over. */
const NO_SELF = '--self: no faults of the generators are built in; datapath and control plane are below'

/** The measure of the suites: every fault must be noticed, every case must be able to notice one. */
export async function faultsCommand(options: FaultsOptions, io: Io): Promise<number> {
  const plan = await planOf({ suites: options.suites, profile: [] }, ['reference'], io)
  await requireTarget(reference)
  keepSenderOnOneCpu()
  const directory = unusedDirectory(options.out, 'faults-', io)
  const faults = chosen(options)
  const onRow = (row: FaultRow, position: number): void => {
    if (!options.json) printLine(io, rowLine(row, position, faults.length))
  }
  const skipped = await skipsOf(plan)
  if (options.self && !options.json) printLine(io, NO_SELF)
  const partial = options.fault.length > 0
  const kept = new KeptSites()
  const sandbox = new HostSandbox(kept.siteOf)
  const sandboxOf = (): Sandbox => sandbox
  const wanted = {
    plan,
    target: reference,
    faults,
    partial,
    directory,
    jobs: DEFAULT_JOBS,
    skipped,
    sandboxOf,
    waivers: waiversFor(['reference'], {}, io),
    onRow,
  }
  const startMs = performance.now()
  const matrix = await faultMatrix(wanted, io.signal).finally(() => kept.close())
  if (options.json) printLine(io, JSON.stringify(matrix, null, 2))
  else {
    printSummary(matrix, io)
    printLine(io, `${Math.round((performance.now() - startMs) / 1000)} s, runs in ${directory}`)
  }
  const holes = matrix.survivors.length + matrix.idle.length + matrix.unsound.length
  return holes > 0 ? EXIT.failed : EXIT.passed
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
