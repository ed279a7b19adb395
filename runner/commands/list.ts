import { EXIT } from '../exit.ts'
import { type Io, printLine } from '../io.ts'
import { loadRequirements, type Requirement } from '../requirements.ts'
import { UserErrors } from '../suite/errors.ts'
import { bundledSuites } from '../suite/files.ts'
import { loadSuites } from '../suite/load.ts'
import type { PlannedCase } from '../suite/plan-types.ts'
import type { ListOptions } from './options.ts'

/** Suites by area, or requirements and the cases that cover them. */
export async function listCommand(options: ListOptions, io: Io): Promise<number> {
  const paths = options.suites.length > 0 ? options.suites : [bundledSuites()]
  const { plan, errors } = loadSuites(paths, { cwd: io.cwd })
  if (errors.length > 0) throw new UserErrors(errors)
  const cases = [...plan.stages.flatMap(stage => stage.cases), ...plan.skipped].sort((a, b) => (a.id < b.id ? -1 : 1))
  if (options.requirements) listRequirements([...loadRequirements().requirements.values()], cases, options.json, io)
  else if (options.json) printLine(io, JSON.stringify(cases.map(caseJson), null, 2))
  else listCases(cases, io)
  return EXIT.passed
}

function caseJson({ id, title, file, line, level, needs, covers, params }: PlannedCase): object {
  return { id, title, file, line, level, needs, covers: covers.map(each => each.id), params }
}

/** First part of the id: the folder below suites/. */
function areaOf(id: string): string {
  return /^([^/[]+)\//.exec(id)?.[1] ?? '.'
}

function listCases(cases: readonly PlannedCase[], io: Io): void {
  const areas = [...new Set(cases.map(({ id }) => areaOf(id)))]
  const width = Math.min(60, Math.max(0, ...cases.map(({ id }) => id.length)))
  for (const area of areas) {
    const mine = cases.filter(({ id }) => areaOf(id) === area)
    const suites = new Set(mine.map(({ id }) => suiteOf(id))).size
    printLine(io, `${area}: ${count(suites, 'suite')}, ${count(mine.length, 'case')}`)
    for (const each of mine) {
      const title = each.title === suiteOf(each.id) ? '' : `  ${each.title}`
      printLine(io, `  ${each.id.padEnd(width)}  ${each.covers.map(({ id }) => id).join(' ')}${title}`)
    }
    printLine(io)
  }
  const suites = new Set(cases.map(({ id }) => suiteOf(id))).size
  printLine(io, `${count(suites, 'suite')}, ${count(cases.length, 'case')}, ${count(areas.length, 'area')}`)
}

function suiteOf(id: string): string {
  return id.replace(/\[.*$/, '')
}

function listRequirements(
  requirements: readonly Requirement[],
  cases: readonly PlannedCase[],
  json: boolean,
  io: Io,
): void {
  const rows = requirements.map(requirement => ({
    ...requirement,
    cases: cases.filter(({ covers }) => covers.some(({ id }) => id === requirement.id)).map(({ id }) => id),
  }))
  if (json) printLine(io, JSON.stringify(rows, null, 2))
  else printRequirements(rows, io)
}

function printRequirements(rows: readonly (Requirement & { cases: string[] })[], io: Io): void {
  for (const row of rows) {
    const rfc = row.rfc.length > 0 ? row.rfc.join(', ') : 'no RFC'
    const suites = [...new Set(row.cases.map(suiteOf))]
    printLine(io, `${row.id}  ${row.level.padEnd(6)}  ${rfc}`)
    printLine(io, `     ${row.text}`)
    printLine(io, `     ${suites.length > 0 ? suites.join(', ') : '(no case covers it)'}`)
  }
  const uncovered = rows.filter(row => row.cases.length === 0).map(({ id }) => id)
  printLine(io)
  printLine(io, `${count(rows.length, 'requirement')}, ${rows.length - uncovered.length} covered`)
  if (uncovered.length > 0) printLine(io, `not covered: ${uncovered.join(' ')}`)
}

function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`
}
