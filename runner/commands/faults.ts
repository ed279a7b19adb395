import { join, resolve } from 'node:path'
import { EXIT } from '../exit.ts'
import { type FaultMatrix, type FaultRow, faultMatrix } from '../fault-matrix.ts'
import { ALL_FAULTS } from '../faults.ts'
import { type Io, printLine } from '../io.ts'
import { keepSenderOnOneCpu } from '../run.ts'
import { reference } from '../target/reference.ts'
import { requireTarget, skipsOf } from '../target/requirements.ts'
import type { FaultsOptions } from './options.ts'
import { DEFAULT_JOBS, planOf } from './run.ts'

/** The measure of the suites: every fault must be noticed, every case must be able to notice one. */
export async function faultsCommand(options: FaultsOptions, io: Io): Promise<number> {
  const plan = await planOf({ suites: options.suites, profile: [] }, ['reference'], io)
  await requireTarget(reference)
  keepSenderOnOneCpu()
  const stamp = new Date().toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-')
  const directory = resolve(io.cwd, join('castproof-runs', `faults-${stamp}`))
  const onRow = (row: FaultRow, position: number): void => {
    if (!options.json) printLine(io, rowLine(row, position, ALL_FAULTS.length))
  }
  const skipped = await skipsOf(plan)
  const wanted = { plan, target: reference, faults: ALL_FAULTS, directory, jobs: DEFAULT_JOBS, skipped, onRow }
  const matrix = await faultMatrix(wanted, io.signal)
  if (options.json) printLine(io, JSON.stringify(matrix, null, 2))
  else printSummary(matrix, directory, io)
  const holes = matrix.survivors.length + matrix.idle.length + matrix.unsound.length
  return holes > 0 ? EXIT.failed : EXIT.passed
}

function rowLine(row: FaultRow, position: number, total: number): string {
  const count = `${String(position).padStart(String(total).length)}/${total}`
  const verdict = row.killedBy.length > 0 ? 'killed  ' : 'SURVIVED'
  const by = row.killedBy.length > 0 ? `by ${row.killedBy.slice(0, 3).join(', ')}` : ''
  const more = row.killedBy.length > 3 ? ` and ${row.killedBy.length - 3} more` : ''
  return `${count}  ${verdict}  ${row.fault.padEnd(28)} ${String(row.passed).padStart(3)}/${row.cases} green  ${by}${more}`
}

function printSummary(matrix: FaultMatrix, directory: string, io: Io): void {
  printLine(io)
  for (const { id, status, message } of matrix.unsound)
    printLine(io, `not passing without a fault: ${id} (${status}: ${message})`)
  for (const fault of matrix.survivors) printLine(io, `survivor: ${fault}: no case that covers its requirement fails`)
  for (const id of matrix.idle) printLine(io, `idle: ${id}: no fault that leaves half of the others green turns it red`)
  const killed = matrix.rows.length - matrix.survivors.length
  printLine(io, `${killed} of ${matrix.rows.length} faults killed, ${matrix.idle.length} idle cases`)
  printLine(io, directory)
}
