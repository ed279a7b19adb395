import type { z } from 'zod'
import type { Problem } from './leaf.ts'
import { didYouMean } from './suggest.ts'

/** Problems found only when several keys of one mapping are looked at together. */
export function mistakes(context: { issues: { push(issue: object): void } }, input: unknown): Problem {
  return (code, message, hint, path = []) => {
    context.issues.push({ code: 'custom', message, input, path, params: { code, hint } })
    return undefined
  }
}

/** At most one of these keys may be given. */
export function exclusiveKeys(value: object, keys: string[], code: string, mistake: Problem): void {
  const given = keys.filter(key => key in value)
  if (given.length > 1)
    mistake(code, `${given.join(' and ')} exclude each other`, `keep one of ${keys.join(', ')}`, [given[1]!])
}

/** Exactly one of these keys must be given. */
export function oneOfKeys(value: object, keys: string[], code: string, mistake: Problem): void {
  exclusiveKeys(value, keys, code, mistake)
  if (!keys.some(key => key in value)) mistake(code, `\`${keys[0]}\` is missing`, `one of ${keys.join(', ')}`)
}

/** Problems of a part that was parsed inside a leaf become problems of the leaf. */
export function report(error: z.ZodError, problem: Problem, path: PropertyKey[]): void {
  for (const issue of error.issues) {
    const params = (issue as { params?: { code?: string; hint?: string } }).params
    const message =
      issue.code === 'unrecognized_keys'
        ? `unknown key ${issue.keys.map(key => `\`${key}\``).join(', ')}`
        : issue.message
    const hint = issue.code === 'unrecognized_keys' ? issue.message.split('\n')[0] : params?.hint
    problem(params?.code ?? 'unknown-key', message, hint, [...path, ...issue.path])
  }
}

/** Message for a mapping whose deciding key is missing or unknown. */
export function choiceError(key: string, known: readonly string[], input: unknown): string {
  const value = typeof input === 'object' && input !== null ? (input as Record<string, unknown>)[key] : undefined
  return value === undefined
    ? `\`${key}\` is missing; known: ${known.join(', ')}`
    : `unknown \`${key}: ${String(value)}\`; ${didYouMean(String(value), known)}`
}

/** Parses a part inside a leaf; its problems become problems of the leaf. */
export function parsed<S extends z.ZodType>(
  schema: S,
  value: unknown,
  problem: Problem,
  path: PropertyKey[],
): z.output<S> | undefined {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  for (const issue of result.error.issues) {
    const params = (issue as { params?: { code?: string; hint?: string } }).params
    problem(params?.code ?? issue.code, issue.message, params?.hint, [...path, ...issue.path])
  }
  return undefined
}
