import type { CaseResult, CheckResult, Difference, LedgerRow } from './result.ts'
import { bold, dim, paint, printable, type Style, statusWord, wrap } from './style.ts'

const DETAIL_LINES = 8
const DIFFERENCES = 6
const FRAMES = 3
const LEDGER_ROWS = 11
const OTHER_CHECKS = 3

/**
 * A failed or unjudged case on one screen: requirement and RFC section, expected and seen, tap and frame number in the
 * evidence file. What does not fit is in the run directory, and the text says how much that is.
 */
export function failureText(result: CaseResult, style: Style): string {
  return [
    headline(result, style),
    ...wrap(result.title, style.columns, '  '),
    ...result.covers.flatMap(one => wrap(`${one.id} ${one.level}, ${one.rfc}: ${one.text}`, style.columns, '  ')),
    ...reasons(result, style),
    ...ledgerLines(result.ledger, style),
    ...earlierAttempts(result),
  ].join('\n')
}

function headline(result: CaseResult, style: Style): string {
  const word = paint(style, result.status, statusWord(result.status))
  return `${word}  ${bold(style, result.id)}  ${dim(style, `${result.target}, ${result.file}:${result.line}`)}`
}

/** The checks that decided; a case without any (its stage broke) has its own message. */
function reasons(result: CaseResult, style: Style): string[] {
  const decisive = result.checks.filter(check => check.status === result.status)
  if (decisive.length === 0) return wrap(printable(result.message), style.columns, '  ')
  const [first, ...others] = decisive
  return [
    ...(first === undefined ? [] : checkLines(first, style)),
    ...others.slice(0, OTHER_CHECKS).flatMap(check => messageLines(check, style)),
    ...more(others.length - OTHER_CHECKS, 'more checks say so in result.json', '  '),
  ]
}

function messageLines(check: CheckResult, style: Style): string[] {
  return wrap(`${bold(style, check.check)} (line ${check.line}): ${check.message}`, style.columns, '  ')
}

function checkLines(check: CheckResult, style: Style): string[] {
  const details = check.details.slice(0, DETAIL_LINES)
  return [
    ...messageLines(check, style),
    ...details.flatMap(line => printable(line).split('\n')).map(line => `    ${line}`),
    ...more(check.details.length - DETAIL_LINES, 'more lines in result.json', '    '),
    ...differenceLines(check, style),
    ...evidenceLines(check),
    ...(check.method === undefined ? [] : [`    absence shown by: ${check.method}`]),
  ]
}

function differenceLines(check: CheckResult, style: Style): string[] {
  const shown = check.differences.slice(0, DIFFERENCES)
  const rows = shown.map(({ field, expected, seen }) => [
    field,
    `expected ${printable(expected)}`,
    paint(style, check.status, `seen ${printable(seen)}`),
  ])
  return [
    ...columns(rows).map(line => `    ${line}`),
    ...more(check.differences.length - DIFFERENCES, 'more differences in result.json', '    '),
  ]
}

/** One frame of each tap first: the same mistake at the same place says nothing new. */
function evidenceLines(check: CheckResult): string[] {
  const firsts = check.evidence.filter((one, i, all) => all.findIndex(other => other.tap === one.tap) === i)
  const shown = [...firsts, ...check.evidence.filter(one => !firsts.includes(one))].slice(0, FRAMES)
  const told = new Set(check.differences.map(difference))
  return [
    ...shown.map(({ tap, file, frame, note }) => {
      const place = `    tap ${tap}, frame ${frame} of ${file}`
      return told.has(note) ? place : `${place}: ${printable(note)}`
    }),
    ...more(check.evidence.length - FRAMES, 'more frames there', '    '),
  ]
}

/** As notes on frames tell a difference, which the lines above have already told. */
function difference({ field, expected, seen }: Difference): string {
  return `${field}: expected ${expected}, saw ${seen}`
}

/** Rows of `other` taps (node ends of veths, mostly) are in no invariant and say what the pod's end says. */
function ledgerLines(rows: readonly LedgerRow[], style: Style): string[] {
  if (rows.length === 0) return []
  const head = ['stream', 'tap', 'layer', 'dir', 'sent', 'copies']
  const shown = rows.filter(row => row.layer !== 'other').slice(0, LEDGER_ROWS)
  const body = shown.map(row => [row.stream, row.tap, row.layer, row.direction, String(row.sent), String(row.copies)])
  const [title, ...lines] = columns([head, ...body])
  return [
    `  ${dim(style, title ?? '')}`,
    ...lines.map(line => `  ${line}`),
    ...more(rows.length - shown.length, 'more ledger rows in result.json', '  '),
  ]
}

function earlierAttempts(result: CaseResult): string[] {
  return result.attempts.map((one, i) => `  attempt ${i + 1}: ${statusWord(one.status)} ${one.message}`)
}

function more(count: number, what: string, indent: string): string[] {
  return count > 0 ? [`${indent}(${count} ${what})`] : []
}

/** Left-aligned columns; the last one is not padded, so colour codes there cost no width. */
function columns(rows: readonly string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map(row => row[i]?.length ?? 0)))
  return rows.map(row =>
    row
      .map((text, i) => (i === row.length - 1 ? text : text.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
}
