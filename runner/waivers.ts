import { readFileSync } from 'node:fs'
import { z } from 'zod'
import type { CaseResult } from '../reports/result.ts'
import { UserError, UserErrors } from './suite/errors.ts'
import { parseSource } from './suite/source.ts'

const waiverSchema = z
  .strictObject({
    /** One of the two: a requirement id, which waives every case that covers it and nothing that is not waived, or a case id. */
    requirement: z.string().min(1).optional(),
    case: z.string().min(1).optional(),
    target: z.string().min(1),
    /** Of the SUT: `1.17.0`, or a range `>=1.16 <1.18`; left out: every version. */
    versions: z.string().optional(),
    reason: z.string().min(1),
    link: z.string().min(1),
    /** Last day on which it holds. */
    expires: z.iso.date(),
    /** Foretold from source or documents, and shown by no run yet: that it does not come true is no fault of the SUT. */
    predicted: z.literal(true).optional(),
  })
  .refine(
    waiver => (waiver.requirement === undefined) !== (waiver.case === undefined),
    'give either requirement or case',
  )
  .refine(waiver => waiver.versions === undefined || parseRange(waiver.versions) !== undefined, {
    message: 'expected versions like ">=1.16 <1.18"',
    path: ['versions'],
  })

const fileSchema = z.strictObject({ castproof: z.literal(1), waivers: z.array(waiverSchema) })

/** A known deviation that does not stop a release (ARCHITECTURE section 3). */
export type Waiver = z.infer<typeof waiverSchema>

/** Every mistake of the file at once, each with its place. */
export function readWaivers(file: string): Waiver[] {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(file)
  } catch (error) {
    throw new UserError('waivers', `cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`)
  }
  const { source, errors } = parseSource(file, bytes)
  if (!source) throw new UserErrors(errors)
  const parsed = fileSchema.safeParse(source.value)
  if (parsed.success) return parsed.data.waivers
  throw new UserErrors(
    parsed.error.issues.map(issue => new UserError('waivers', issue.message, { position: source.at(issue.path) })),
  )
}

export interface WaiverContext {
  waivers: readonly Waiver[]
  /** The day of the run, not of the judging: a verdict does not change because a file gets old. */
  day: string
  /** SUT version by target. */
  versions: Readonly<Record<string, string>>
}

/**
 * After judging: a failing case with a matching waiver is `waived`; a passing case with one is `fail`, since a waiver that
 * is no longer needed hides the next fault. Predicted ones that do not come true and expired ones do nothing but warn.
 */
export function applyWaivers(
  cases: readonly CaseResult[],
  context: WaiverContext,
): { cases: CaseResult[]; warnings: string[] } {
  const live = context.waivers.filter(waiver => waiver.expires >= context.day)
  const expired = context.waivers.filter(waiver => waiver.expires < context.day)
  const warnings = expired.map(
    waiver => `waiver of ${subject(waiver)} expired on ${waiver.expires}: it no longer holds`,
  )
  const idle = live.filter(waiver => !waiver.predicted && !cases.some(result => concerns(waiver, result, context)))
  warnings.push(...idle.map(waiver => `waiver of ${subject(waiver)} concerns no case of this run on ${waiver.target}`))
  warnings.push(...cases.flatMap(result => halfWaived(result, live, context)))
  const needless = live.filter(waiver => isStale(waiver, cases, context))
  const stale = new Set(needless.filter(waiver => !waiver.predicted))
  warnings.push(
    ...needless
      .filter(waiver => waiver.predicted)
      .map(waiver => `${subject(waiver)} was predicted to fail and passes: ${waiver.reason} (${waiver.link})`),
  )
  return { cases: cases.map(result => waive(result, live, stale, context)), warnings }
}

/** By case; or by requirement, if each that the case covers is waived: which of them it broke, a failing case does not say. */
function holding(result: CaseResult, own: readonly Waiver[]): Waiver | undefined {
  const waived = new Set(own.map(waiver => waiver.requirement))
  return own.find(waiver => waiver.case !== undefined || result.covers.every(({ id }) => waived.has(id)))
}

function halfWaived(result: CaseResult, live: readonly Waiver[], context: WaiverContext): string[] {
  const own = live.filter(waiver => concerns(waiver, result, context))
  const others = result.covers.filter(({ id }) => !own.some(waiver => waiver.requirement === id)).map(({ id }) => id)
  if (result.status !== 'fail' || own.length === 0 || holding(result, own)) return []
  const waived = [...new Set(own.map(subject))].join(', ')
  return [
    `${result.id} fails and is not waived: ${waived} is, but it covers ${others.join(', ')} too; waive it by case`,
  ]
}

function subject(waiver: Waiver): string {
  return waiver.case ?? waiver.requirement ?? ''
}

/** A requirement may be broken in one case and kept in another: only if nothing that it covers fails is it stale. */
function isStale(waiver: Waiver, cases: readonly CaseResult[], context: WaiverContext): boolean {
  const own = cases.filter(result => concerns(waiver, result, context))
  return own.some(({ status }) => status === 'pass') && !own.some(({ status }) => status !== 'pass')
}

function waive(
  result: CaseResult,
  live: readonly Waiver[],
  stale: ReadonlySet<Waiver>,
  context: WaiverContext,
): CaseResult {
  const own = live.filter(waiver => concerns(waiver, result, context))
  if (result.status === 'fail') {
    const waiver = holding(result, own)
    if (!waiver) return result
    const { reason, link, expires, predicted } = waiver
    const until = `${predicted ? 'predicted, ' : ''}${link}, until ${expires}`
    return { ...result, status: 'waived', message: `${reason} (${until}); ${result.message}` }
  }
  const needless = result.status === 'pass' ? own.find(waiver => stale.has(waiver)) : undefined
  if (!needless) return result
  const message = `stale waiver: the case passes, remove the waiver of ${subject(needless)} (${needless.link})`
  return { ...result, status: 'fail', message }
}

function concerns(waiver: Waiver, result: CaseResult, { versions }: WaiverContext): boolean {
  return isAbout(waiver, result) && inRange(waiver.versions, versions[result.target])
}

/** Whatever the version is. */
export function isAbout(
  waiver: Waiver,
  item: { target: string; id: string; covers: readonly { id: string }[] },
): boolean {
  if (waiver.target !== item.target) return false
  if (waiver.case !== undefined) return waiver.case === item.id || item.id.startsWith(`${waiver.case}[`)
  return item.covers.some(requirement => requirement.id === waiver.requirement)
}

type Comparison = { operator: string; version: number[] }

function parseRange(text: string): Comparison[] | undefined {
  const parts = text.trim().split(/\s+/)
  const comparisons = parts.map(part => /^(>=|<=|>|<|=)?v?(\d+(?:\.\d+)*)$/.exec(part))
  if (comparisons.some(match => match === null)) return undefined
  return comparisons.map(match => ({ operator: match?.[1] ?? '=', version: numbers(match?.[2] ?? '') }))
}

/** A SUT whose version is not known is inside no range. */
function inRange(range: string | undefined, version: string | undefined): boolean {
  if (range === undefined) return true
  const own = version === undefined ? null : /\d+(?:\.\d+)*/.exec(version)
  if (!own) return false
  return (parseRange(range) ?? []).every(({ operator, version: bound }) =>
    holds(operator, compare(numbers(own[0]), bound)),
  )
}

function numbers(version: string): number[] {
  return version.split('.').map(Number)
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

function holds(operator: string, order: number): boolean {
  if (operator === '>=') return order >= 0
  if (operator === '<=') return order <= 0
  if (operator === '>') return order > 0
  return operator === '<' ? order < 0 : order === 0
}
