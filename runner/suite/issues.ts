import type { z } from 'zod'
import { UserError } from './errors.ts'
import type { Path, Source } from './source.ts'

/** zod's issues as mistakes with places; `under` is where in the file the parsed value stands. */
export function userErrors(error: z.ZodError, source: Source, under: Path = []): UserError[] {
  const meant = new Set(error.issues.flatMap(issue => keysMeant(issue, under)))
  return error.issues.flatMap(issue => {
    const path = [...under, ...issue.path]
    const { code = issue.code, hint } = (issue as { params?: { code?: string; hint?: string } }).params ?? {}
    if (issue.code === 'unrecognized_keys') return unknownKeys(issue, path, source)
    if (missing(source.value, path)) {
      if (meant.has(path.join('/'))) return []
      return [
        new UserError('missing-key', `\`${String(path.at(-1))}\` is missing`, {
          position: source.atKey(path.slice(0, -1)),
          hint: hint ?? issue.message.replace(/, which is missing$/, ''),
        }),
      ]
    }
    return [
      new UserError(code === 'invalid_union' ? 'not-one-of' : code, issue.message, {
        position: code === 'unknown-key' ? source.atKey(path) : source.at(path),
        ...(hint === undefined ? {} : { hint }),
      }),
    ]
  })
}

function unknownKeys(issue: { keys: string[]; message: string }, path: Path, source: Source): UserError[] {
  const hints = issue.message.split('\n')
  return issue.keys.map((key, i) => {
    const hint = hints[i]
    return new UserError('unknown-key', `unknown key \`${key}\``, {
      position: source.atKey([...path, key]),
      ...(hint === undefined ? {} : { hint }),
    })
  })
}

/** Whether the path ends in a key of a mapping that is there but lacks it. */
function missing(value: unknown, path: Path): boolean {
  let at = value
  for (const [i, part] of path.entries()) {
    if (typeof at !== 'object' || at === null) return false
    if (i === path.length - 1 && typeof part === 'string' && !Array.isArray(at)) return !(part in at)
    at = (at as Record<PropertyKey, unknown>)[part]
  }
  return false
}

/** Keys that unknown keys were most likely meant to be: their absence is no second mistake. */
function keysMeant(issue: z.core.$ZodIssue, under: Path): string[] {
  if (issue.code !== 'unrecognized_keys') return []
  return issue.message.split('\n').flatMap(hint => {
    const key = /^did you mean `(.+)`/.exec(hint)?.[1]
    return key === undefined ? [] : [[...under, ...issue.path, key].join('/')]
  })
}
