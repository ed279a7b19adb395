import type { OutputWant } from '../suite/expectations.ts'
import { amountText, within } from './amount.ts'
import type { Check } from './check.ts'
import { conclude, type Finding, inconclusive } from './findings.ts'
import { counted } from './ranges.ts'

/** What an ordinary program in a pod printed: the application's own view of delivery. */
export const output: Check<OutputWant> = {
  name: 'output',
  about: 'lines that a program wrote, and how it ended',
  judge(want, _sent, seen) {
    const events = seen.observations.flatMap(o => (o.kind === 'program' && o.step === want.step ? [o] : []))
    const lines = written(events.filter(({ event }) => event === want.source).map(({ text }) => text))
    const exit = events.find(({ event }) => event === 'exit')?.text
    const started = events.length > 0 || seen.stepTimeNs(want.step, 'start') !== undefined
    if (!started) return conclude([inconclusive(`program ${want.step} was not started`)], '')
    const broken = brokenDown(want, exit)
    if (broken) return conclude([inconclusive(broken, lastWords(events))], '')
    const findings = [...countFindings(want, lines), ...equalFindings(want, lines), ...exitFindings(want, exit)]
    if (findings.length === 0) return { status: 'pass', message: `${want.step} wrote what was expected` }
    return conclude(findings, '')
  },
}

/** How our own way of stopping ends programs: by signal, or with 128 and its number where they catch it. */
const STOPPED = new Set(['SIGTERM', 'SIGKILL', '143', '137'])
/** setpriv could not execute it; it was never there. */
const NEVER_RAN = new Set(['126', '127', 'not started'])

/** What a program that broke down did not print says nothing of the network; how it ends may be what is asked. */
function brokenDown({ step, exitCode }: OutputWant, exit: string | undefined): string | undefined {
  if (exit === undefined || exit === '0' || STOPPED.has(exit)) return undefined
  if (exitCode !== undefined && !NEVER_RAN.has(exit)) return undefined
  return `program ${step} ended by itself with ${exit}`
}

function lastWords(events: readonly { event: string; text: string }[]): string[] {
  return events
    .filter(({ event }) => event === 'stderr')
    .slice(-SHOWN_LINES)
    .map(({ text }) => text)
}

/** Without empty lines at the end: tcpdump writes one when it is stopped. */
function written(lines: readonly string[]): readonly string[] {
  return lines.slice(0, lines.findLastIndex(line => line !== '') + 1)
}

const SHOWN_LINES = 6

function countFindings(want: OutputWant, lines: readonly string[]): Finding[] {
  const { contains } = want
  const amount = want.count ?? (contains === undefined ? undefined : { atLeast: 1 })
  if (amount === undefined) return []
  const matching = contains === undefined ? lines : lines.filter(line => line.includes(contains))
  if (within(amount, matching.length)) return []
  const what = contains === undefined ? 'lines' : `lines with "${contains}"`
  const message = `expected ${amountText(amount)} ${what} on ${want.source} of ${want.step}, saw ${matching.length} of ${counted(lines.length, 'line')}`
  return [{ status: 'fail', message, details: lines.slice(0, SHOWN_LINES) }]
}

function equalFindings({ equals, source, step }: OutputWant, lines: readonly string[]): Finding[] {
  if (!equals) return []
  const at = Math.max(equals.length, lines.length)
  const first = Array.from({ length: at }, (_, i) => i).find(i => equals[i] !== lines[i])
  if (first === undefined) return []
  const expected = equals[first] ?? '(no more lines)'
  const actual = lines[first] ?? '(no more lines)'
  const message = `line ${first + 1} on ${source} of ${step}: expected "${expected}", saw "${actual}"`
  return [{ status: 'fail', message, differences: [{ field: `line ${first + 1}`, expected, seen: actual }] }]
}

function exitFindings({ exitCode, step }: OutputWant, exit: string | undefined): Finding[] {
  if (exitCode === undefined || exit === String(exitCode)) return []
  const message = exit === undefined ? `${step} has not ended` : `expected ${step} to end with ${exitCode}, saw ${exit}`
  return [{ status: 'fail', message }]
}
