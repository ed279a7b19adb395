import type { Difference, Status } from '../../reports/result.ts'
import type { Verdict } from './check.ts'

/** What one (stream, place) pair came to; a check is as bad as its worst finding. */
export type Finding = Omit<Verdict, 'measurements' | 'rows'>

const MESSAGE_LENGTH = 200
const SHOWN_DETAILS = 16
const SHOWN_DIFFERENCES = 12
const SHOWN_FRAMES = 12

const SEVERITY: Record<Status, number> = { pass: 0, waived: 1, skip: 2, inconclusive: 3, fail: 4 }

/** The graver of two; a fail beats inconclusive, which beats everything that is no trouble. */
export function worse(a: Status, b: Status): Status {
  return SEVERITY[b] > SEVERITY[a] ? b : a
}

/** One verdict from many findings, one screen long; `passMessage` speaks when nothing is wrong. */
export function conclude(findings: readonly Finding[], passMessage: string): Verdict {
  if (findings.length === 0) return { status: 'inconclusive', message: 'nothing to judge' }
  const status = findings.reduce<Status>((worst, f) => worse(worst, f.status), 'pass')
  const method = methods(findings)
  if (status === 'pass') return { status, message: oneLine(passMessage), ...(method && { method }) }
  const grave = findings.filter(f => f.status === status)
  const rest = findings.filter(f => f.status !== 'pass' && f.status !== status)
  return {
    status,
    message: firstMessage(grave),
    details: details([...grave, ...rest]),
    differences: distinct(grave.flatMap(f => f.differences ?? [])).slice(0, SHOWN_DIFFERENCES),
    frames: grave.flatMap(f => f.frames ?? []).slice(0, SHOWN_FRAMES),
    ...(method && { method }),
  }
}

/** ASCII, one line, at most 200 characters. */
export function oneLine(text: string): string {
  const ascii = text.replace(/\s+/g, ' ').replace(/[^\x20-\x7e]/g, '?')
  return ascii.length <= MESSAGE_LENGTH ? ascii : `${ascii.slice(0, MESSAGE_LENGTH - 3)}...`
}

export function pass(method?: string): Finding {
  return { status: 'pass', message: '', ...(method && { method }) }
}

export function inconclusive(message: string, details: string[] = []): Finding {
  return { status: 'inconclusive', message, details }
}

function firstMessage(grave: readonly Finding[]): string {
  const others = grave.length > 1 ? ` (and ${grave.length - 1} more)` : ''
  const first = grave[0]?.message ?? ''
  return oneLine(others === '' ? first : `${first.slice(0, MESSAGE_LENGTH - 20)}${others}`)
}

/** Every message but the first, which is the verdict's own, and what each finding adds. */
function details(findings: readonly Finding[]): string[] {
  const lines = findings.flatMap((f, i) => [...(i === 0 ? [] : [f.message]), ...(f.details ?? []).map(d => `  ${d}`)])
  if (lines.length <= SHOWN_DETAILS) return lines
  return [...lines.slice(0, SHOWN_DETAILS), `(${lines.length - SHOWN_DETAILS} lines omitted)`]
}

/** The same departure at many pods is shown once. */
function distinct(differences: readonly Difference[]): Difference[] {
  return [...new Map(differences.map(d => [`${d.field} ${d.expected} ${d.seen}`, d])).values()]
}

function methods(findings: readonly Finding[]): string {
  return [...new Set(findings.map(f => f.method).filter(m => m !== undefined))].join(', ')
}
