import type { CaseResult, RunResult, Status } from './result.ts'
import { durationText } from './style.ts'

/** GitHub refuses a step's summary above 1 MiB; this many cases of 200 characters are far below. */
const CASES_SHOWN = 100
const BUG = 70
const PHRASES: Readonly<Record<Status, string>> = {
  fail: 'failed',
  inconclusive: 'not judged',
  pass: 'passed',
  waived: 'waived',
  skip: 'skipped',
}

/** A page for those who look at a pipeline: GitHub's step summary, GitLab's and Gitea's comments. */
export function summaryMarkdown(result: RunResult): string {
  const parts = [
    `## castproof: ${headline(result)}`,
    countsTable(result),
    contextLine(result),
    ...casesTable(result, 'fail', 'Failed'),
    ...casesTable(result, 'inconclusive', 'Not judged'),
    ...reasonsTable(result, 'waived', 'Waived'),
    ...reasonsTable(result, 'skip', 'Skipped'),
    ...warningsList(result),
  ]
  return `${parts.join('\n\n')}\n`
}

/** The order of exit codes: what failed comes before what could not be judged. */
function headline({ totals, exitCode }: RunResult): string {
  if (totals.fail > 0) return `${totals.fail} failed`
  if (totals.inconclusive > 0) return `${totals.inconclusive} could not be judged`
  const ran = totals.pass + totals.waived > 0 ? 'all passed' : 'nothing ran'
  return exitCode === BUG ? `${ran}, but castproof has a bug` : ran
}

function countsTable({ totals, durationMs }: RunResult): string {
  const statuses = Object.keys(PHRASES) as Status[]
  return table(
    [...statuses.map(status => PHRASES[status]), 'time'],
    [[...statuses.map(status => String(totals[status])), durationText(durationMs)]],
  )
}

function contextLine(result: RunResult): string {
  const targets = result.targets.map(({ name, description }) => `${cell(name)}: ${cell(description)}`)
  const faults = result.faults.length > 0 ? [`faults ${result.faults.map(cell).join(' ')}`] : []
  const rest = [`kernel ${cell(result.host.kernel)}`, `seed ${result.seed}`, `castproof ${result.version}`, ...faults]
  return [...targets, rest.join(', ')].join('  \n')
}

function casesTable(result: RunResult, status: Status, heading: string): string[] {
  const cases = result.cases.filter(one => one.status === status)
  if (cases.length === 0) return []
  const rows = cases.slice(0, CASES_SHOWN).map(one => [nameOf(one, result), requirementsOf(one), cell(one.message)])
  return [`### ${heading}`, table(['case', 'requirement', 'what was seen'], rows), ...more(cases.length)]
}

/** A hundred cases with one reason are one row. */
function reasonsTable(result: RunResult, status: Status, heading: string): string[] {
  const byReason = new Map<string, string[]>()
  for (const one of result.cases.filter(each => each.status === status))
    byReason.set(one.message, [...(byReason.get(one.message) ?? []), nameOf(one, result)])
  if (byReason.size === 0) return []
  const rows = [...byReason].slice(0, CASES_SHOWN).map(([reason, names]) => [cell(reason), namesText(names)])
  return [`### ${heading}`, table(['why', 'cases'], rows), ...more(byReason.size)]
}

const NAMES_SHOWN = 5

function namesText(names: readonly string[]): string {
  const rest = names.length - NAMES_SHOWN
  return [...names.slice(0, NAMES_SHOWN), ...(rest > 0 ? [`and ${rest} more`] : [])].join(', ')
}

function more(all: number): string[] {
  return all > CASES_SHOWN ? [`and ${all - CASES_SHOWN} more in \`result.json\``] : []
}

function warningsList({ warnings, altered }: RunResult): string[] {
  const lines = [...altered.map(file => `altered since the run: ${file}`), ...new Set(warnings)]
  if (lines.length === 0) return []
  return [
    '### Warnings',
    lines
      .slice(0, CASES_SHOWN)
      .map(line => `- ${cell(line)}`)
      .join('\n'),
    ...more(lines.length),
  ]
}

function requirementsOf(one: CaseResult): string {
  return one.covers.map(({ id, rfc }) => cell(rfc === '' ? id : `${id} (${rfc})`)).join(', ')
}

function nameOf(one: CaseResult, result: RunResult): string {
  const name = result.targets.length > 1 ? `${one.id} (${one.target})` : one.id
  return `\`${name.replaceAll('`', "'").replaceAll('|', '\\|')}\``
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

/** Text of ours and of a SUT, on one line and without a meaning in Markdown or HTML. */
function cell(text: string): string {
  return text
    .replace(/\s+/g, ' ')
    .replace(/[\\`*_[\]|~#]/g, '\\$&')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
}
