import { z } from 'zod'
import { didYouMean } from './suggest.ts'

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json }

/** Reports a mistake at the value being read, or below it. */
export type Problem = (code: string, message: string, hint?: string, path?: PropertyKey[]) => undefined

/** A schema of one kind, named by what it gives; what it takes is anything YAML can hold. */
export type Leaf<T> = z.ZodType<T>

/**
 * A value read by hand, so that its messages say what would be right; `json` is what editors see.
 * `read` returns undefined after it has reported a problem.
 */
export function leaf<T>(
  json: Record<string, Json>,
  read: (value: unknown, problem: Problem) => T | undefined,
): Leaf<T> {
  return z
    .unknown()
    .transform((value, context): T => {
      const before = context.issues.length
      const problem: Problem = (code, message, hint, path = []) => {
        context.issues.push({ code: 'custom', message, input: value, path, params: { code, hint } })
        return undefined
      }
      const result = read(value, problem)
      if (result === undefined && context.issues.length === before)
        throw new Error('a leaf gave neither value nor problem')
      return result as T
    })
    .meta(json) as unknown as Leaf<T>
}

/** A mapping with exactly these keys; unknown ones are reported each with the nearest known key. */
export function mapping<Shape extends z.core.$ZodLooseShape>(shape: Shape, what = 'a mapping') {
  const known = Object.keys(shape)
  return z.strictObject(shape, {
    error: issue => {
      if (issue.code === 'unrecognized_keys') return issue.keys.map(key => didYouMean(key, known)).join('\n')
      return `expected ${what}, ${found(issue.input)}`
    },
  })
}

/** `list` of values, or one of them alone. */
export function list<T>(item: Leaf<T>, what: string, options: { min?: number } = {}): Leaf<T[]> {
  return z.array(item, { error: issue => `expected a list of ${what}, ${found(issue.input)}` }).min(options.min ?? 0, {
    error: `the list of ${what} is empty`,
  }) as unknown as Leaf<T[]>
}

const ints = new Map<string, Leaf<number>>()

/** One schema for each range: the language needs a hundred of them. */
export function int(min: number, max: number, what = 'a whole number'): Leaf<number> {
  const key = `${min} ${max} ${what}`
  const made = ints.get(key) ?? makeInt(min, max, what)
  ints.set(key, made)
  return made
}

function makeInt(min: number, max: number, what: string): Leaf<number> {
  return leaf({ type: 'integer', minimum: min, maximum: max }, (value, problem) => {
    if (typeof value !== 'number' || !Number.isInteger(value))
      return problem('wrong-type', `expected ${what} from ${min} to ${max}, ${found(value)}`, typeHint(value, 'number'))
    if (value < min || value > max)
      return problem('out-of-range', `${value} is out of range`, `${what} from ${min} to ${max}`)
    return value
  })
}

export function bool(): Leaf<boolean> {
  return BOOL
}

const BOOL: Leaf<boolean> = leaf({ type: 'boolean' }, (value, problem) =>
  typeof value === 'boolean'
    ? value
    : problem('wrong-type', `expected true or false, ${found(value)}`, typeHint(value, 'boolean')),
)

export function text(what = 'text', limit = 4096): Leaf<string> {
  return leaf({ type: 'string' }, (value, problem) => {
    if (typeof value !== 'string')
      return problem('wrong-type', `expected ${what}, ${found(value)}`, typeHint(value, 'text'))
    if (value.length > limit) return problem('too-long', `${value.length} characters, more than ${limit}`)
    return value
  })
}

export function oneOf<const T extends string | number | boolean>(values: readonly T[]): Leaf<T> {
  return leaf({ enum: [...values] }, (value, problem) => {
    const hit = values.find(each => each === value)
    if (hit !== undefined) return hit
    return problem('not-one-of', `expected one of ${values.join(', ')}, ${found(value)}`, hintFor(value, values))
  })
}

function hintFor(value: unknown, values: readonly (string | number | boolean)[]): string | undefined {
  return typeof value === 'string' ? didYouMean(value, values.map(String)) : undefined
}

export function hexText(options: { minBytes?: number; maxBytes: number }): Leaf<string> {
  return leaf({ type: 'string', pattern: '^([0-9a-fA-F]{2})*$' }, (value, problem) => {
    if (typeof value === 'number') return problem('wrong-type', 'hex digits read as a number', "quote it: '0012'")
    if (typeof value !== 'string') return problem('wrong-type', `expected hex digits, ${found(value)}`)
    const digits = value.replaceAll(/[\s:]/g, '').toLowerCase()
    if (!/^([0-9a-f]{2})*$/.test(digits))
      return problem('bad-hex', 'not an even number of hex digits', 'two digits an octet')
    const bytes = digits.length / 2
    if (bytes > options.maxBytes) return problem('too-long', `${bytes} octets, more than ${options.maxBytes}`)
    if (bytes < (options.minBytes ?? 0)) return problem('too-short', `${bytes} octets, fewer than ${options.minBytes}`)
    return digits
  })
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** "found text `x`", for the end of a message. */
export function found(value: unknown): string {
  if (value === undefined) return 'which is missing'
  if (value === null) return 'found nothing'
  if (Array.isArray(value)) return 'found a list'
  if (typeof value === 'object') return 'found a mapping'
  if (typeof value === 'string') return `found text \`${value.length > 60 ? `${value.slice(0, 60)}…` : value}\``
  return `found ${typeof value} ${String(value)}`
}

function typeHint(value: unknown, wanted: 'number' | 'boolean' | 'text'): string | undefined {
  if (typeof value === 'string' && wanted === 'number' && /^[\d_.]+$/.test(value)) return 'write it without quotes'
  if (typeof value === 'string' && wanted === 'number' && value.startsWith('$'))
    return `no parameter has the name ${value}`
  if (typeof value === 'string' && wanted === 'boolean' && /^(yes|no|on|off)$/i.test(value))
    return 'write true or false'
  if (wanted === 'text' && (typeof value === 'number' || typeof value === 'boolean'))
    return `quote it: '${String(value)}'`
  return undefined
}
