import type { CaseResult, RunResult, Status } from './result.ts'
import { bold, clip, dim, durationText, paint, printable, type Style } from './style.ts'

const IDS_SHOWN = 20
const SLOWEST_SHOWN = 3
const REASONS_SHOWN = 5
const WARNINGS_SHOWN = 8
const BACKGROUND_SHOWN = 3

const PHRASES: readonly [Status, string][] = [
  ['pass', 'passed'],
  ['fail', 'failed'],
  ['inconclusive', 'not judged'],
  ['skip', 'skipped'],
  ['waived', 'waived'],
]

/** The end of every run, to be read in five seconds; the run directory's path is the last line. */
export function summaryText(result: RunResult, style: Style): string {
  return [
    '',
    countsLine(result, style),
    dim(style, clip(style, contextLine(result))),
    ...slowestLine(result, style),
    ...failingLines(result, 'fail', 'failed:', style),
    ...failingLines(result, 'inconclusive', 'not judged:', style),
    ...reasonLines(result, 'skip', 'skipped', style),
    ...reasonLines(result, 'waived', 'waived', style),
    ...backgroundLine(result, style),
    ...result.altered.map(file => `altered since the run: ${file}`),
    ...warningLines(result),
    result.directory,
  ].join('\n')
}

function countsLine(result: RunResult, style: Style): string {
  const parts = PHRASES.filter(([status]) => status === 'pass' || status === 'fail' || result.totals[status] > 0).map(
    ([status, phrase]) => {
      const text = `${result.totals[status]} ${phrase}`
      return result.totals[status] > 0 ? paint(style, status, text) : text
    },
  )
  return bold(style, `${parts.join(', ')} in ${durationText(result.durationMs)}`)
}

function contextLine(result: RunResult): string {
  const targets = result.targets.map(targetText).join(', ') || 'none'
  const faults = result.faults.length > 0 ? `, faults ${result.faults.join(' ')}` : ''
  const profiles = result.profiles.length > 0 ? `, profiles ${result.profiles.join(' ')}` : ''
  return `target ${targets}, seed ${result.seed}, kernel ${result.host.kernel}${profiles}${faults}`
}

function targetText({ name, sandbox }: RunResult['targets'][number]): string {
  return sandbox === 'host' ? name : `${name} in ${sandbox}`
}

function slowestLine(result: RunResult, style: Style): string[] {
  const ran = result.cases.filter(one => one.status !== 'skip')
  if (ran.length <= 1) return []
  const slowest = ran.toSorted((a, b) => b.durationMs - a.durationMs).slice(0, SLOWEST_SHOWN)
  const text = slowest.map(one => `${one.id} ${durationText(one.durationMs)}`).join(', ')
  return [dim(style, clip(style, `slowest: ${text}`))]
}

function failingLines(result: RunResult, status: Status, heading: string, style: Style): string[] {
  const cases = result.cases.filter(one => one.status === status)
  if (cases.length === 0) return []
  const shown = cases.slice(0, IDS_SHOWN).map(one => clip(style, `  ${nameOf(one, result)}  ${printable(one.message)}`))
  const rest = cases.length - IDS_SHOWN
  return [paint(style, status, heading), ...shown, ...(rest > 0 ? [`  and ${rest} more`] : [])]
}

/** Skips and waivers by their reason: a hundred cases that lack one thing are one line. */
function reasonLines(result: RunResult, status: Status, word: string, style: Style): string[] {
  const counts = new Map<string, number>()
  for (const one of result.cases) {
    if (one.status === status) counts.set(one.message, (counts.get(one.message) ?? 0) + 1)
  }
  const sorted = [...counts].sort((a, b) => b[1] - a[1])
  const shown = sorted.slice(0, REASONS_SHOWN).map(([reason, n]) => clip(style, `${word} ${n}: ${printable(reason)}`))
  const rest = sorted.slice(REASONS_SHOWN).reduce((sum, [, n]) => sum + n, 0)
  return rest > 0 ? [...shown, `${word} ${rest} for other reasons`] : shown
}

function backgroundLine(result: RunResult, style: Style): string[] {
  const entries = Object.entries(result.background).sort((a, b) => b[1] - a[1])
  if (entries.length === 0) return []
  const shown = entries.slice(0, BACKGROUND_SHOWN).map(([name, count]) => `${name} ${count}`)
  const rest = entries.length - shown.length
  const text = [...shown, ...(rest > 0 ? [`and ${rest} more kinds`] : [])].join(', ')
  return [dim(style, clip(style, `frames of no case: ${text}`))]
}

/** One that came again and again is one line. */
function warningLines(result: RunResult): string[] {
  const counts = new Map<string, number>()
  for (const text of result.warnings) counts.set(text, (counts.get(text) ?? 0) + 1)
  const lines = [...counts].map(([text, n]) => `warning: ${printable(text)}${n > 1 ? ` (${n} times)` : ''}`)
  const rest = lines.length - WARNINGS_SHOWN
  return [...lines.slice(0, WARNINGS_SHOWN), ...(rest > 0 ? [`and ${rest} more warnings in result.json`] : [])]
}

function nameOf(one: CaseResult, result: RunResult): string {
  return result.targets.length > 1 ? `${one.id} (${one.target})` : one.id
}
