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

/** Message for a mapping whose deciding key is missing or unknown. */
export function choiceError(key: string, known: readonly string[], input: unknown): string {
  const value = typeof input === 'object' && input !== null ? (input as Record<string, unknown>)[key] : undefined
  return value === undefined
    ? `\`${key}\` is missing; known: ${known.join(', ')}`
    : `unknown \`${key}: ${String(value)}\`; ${didYouMean(String(value), known)}`
}

/** Reads a part inside a leaf; undefined when it has problems, which become problems of the leaf. */
export function parsed<T>(
  schema: z.ZodType<T>,
  value: unknown,
  problem: Problem,
  path: PropertyKey[] = [],
): T | undefined {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  for (const issue of result.error.issues) {
    const at = [...path, ...issue.path]
    const params = (issue as { params?: { code?: string; hint?: string } }).params
    if (issue.code === 'unrecognized_keys') {
      const hints = issue.message.split('\n')
      for (const [i, key] of issue.keys.entries())
        problem('unknown-key', `unknown key \`${key}\``, hints[i], [...at, key])
    } else problem(params?.code ?? 'wrong-type', issue.message, params?.hint, at)
  }
  return undefined
}
