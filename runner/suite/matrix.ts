import { UserError } from './errors.ts'
import { found, isMapping } from './leaf.ts'
import type { Path, Source } from './source.ts'
import { didYouMean } from './suggest.ts'

/** One case of a suite: the parameters of its row. */
export interface Row {
  /** `[version=2,ttl=4]`; empty when there is no matrix. */
  suffix: string
  params: Readonly<Record<string, unknown>>
}

const MAX_ROWS = 256
const PARAM = /^[a-z][a-zA-Z0-9]{0,30}$/

/**
 * Rows of `params` and `matrix`. A mapping of lists is their product without the rows of `exclude`; a list of mappings
 * is the rows themselves.
 */
export function rowsOf(source: Source): { rows: Row[]; errors: UserError[] } {
  const errors: UserError[] = []
  const fail = (code: string, message: string, hint: string, path: Path, key = false) => {
    errors.push(new UserError(code, message, { position: key ? source.atKey(path) : source.at(path), hint }))
  }
  const { params = {}, matrix } = source.value as { params?: unknown; matrix?: unknown }
  if (!isMapping(params))
    fail('wrong-type', `expected a mapping of parameters, ${found(params)}`, 'params: { ttl: 4 }', ['params'])
  const fixed = isMapping(params) ? params : {}
  checkNames(fixed, ['params'], fail)
  let varying: Record<string, unknown>[] = [{}]
  if (Array.isArray(matrix)) varying = listedRows(matrix, fail)
  else if (isMapping(matrix)) varying = productRows(matrix, fail)
  else if (matrix !== undefined)
    fail(
      'wrong-type',
      `expected lists of values or a list of rows, ${found(matrix)}`,
      'matrix: { version: [1, 2, 3] }',
      ['matrix'],
    )
  if (varying.length === 0) fail('no-rows', 'the matrix has no row', 'exclude fewer', ['matrix'], true)
  if (varying.length > MAX_ROWS) {
    fail(
      'too-many-rows',
      `the matrix has ${varying.length} rows, more than ${MAX_ROWS}`,
      'split the suite',
      ['matrix'],
      true,
    )
    varying = varying.slice(0, 1)
  }
  const rows = varying.map(row => ({ suffix: suffixOf(row), params: { ...fixed, ...row } }))
  const twice = rows.find((row, i) => rows.findIndex(other => other.suffix === row.suffix) !== i)
  if (twice) fail('twice', `two rows are both ${twice.suffix}`, 'give each row a `name` of its own', ['matrix'], true)
  return { rows, errors }
}

type Fail = (code: string, message: string, hint: string, path: Path, key?: boolean) => void

function checkNames(params: object, path: Path, fail: Fail): void {
  for (const name of Object.keys(params)) {
    if (name === 'port' || name === 'exclude')
      fail('reserved', `\`${name}\` cannot name a parameter`, 'it has a meaning of its own', [...path, name], true)
    else if (!PARAM.test(name))
      fail(
        'bad-name',
        `\`${name}\` cannot name a parameter`,
        'a lower-case letter, then letters and digits',
        [...path, name],
        true,
      )
  }
}

function listedRows(matrix: unknown[], fail: Fail): Record<string, unknown>[] {
  const rows: Record<string, unknown>[] = []
  const names = new Set(matrix.flatMap(row => (isMapping(row) ? Object.keys(row) : [])))
  for (const [i, row] of matrix.entries()) {
    if (!isMapping(row)) {
      fail('wrong-type', `expected a row, ${found(row)}`, '- { name: short, ttl: 1 }', ['matrix', i])
      continue
    }
    checkNames(row, ['matrix', i], fail)
    const missing = [...names].filter(name => !(name in row))
    if (missing.length > 0) {
      fail('missing-key', `this row has no ${missing.join(', ')}`, 'every row has the same parameters', ['matrix', i])
    }
    rows.push(row)
  }
  return rows
}

function productRows(matrix: Record<string, unknown>, fail: Fail): Record<string, unknown>[] {
  const { exclude = [], ...lists } = matrix
  checkNames(lists, ['matrix'], fail)
  let rows: Record<string, unknown>[] = [{}]
  for (const [name, values] of Object.entries(lists)) {
    if (!Array.isArray(values) || values.length === 0) {
      fail('wrong-type', `expected a list of values, ${found(values)}`, `${name}: [1, 2]`, ['matrix', name])
      continue
    }
    if (rows.length * values.length > MAX_ROWS * 16)
      return rows.concat(Array.from({ length: MAX_ROWS + 1 }, () => ({})))
    rows = rows.flatMap(row => values.map(value => ({ ...row, [name]: value })))
  }
  if (!Array.isArray(exclude)) {
    fail('wrong-type', `expected a list of rows to leave out, ${found(exclude)}`, 'exclude: [{ version: 1, ttl: 4 }]', [
      'matrix',
      'exclude',
    ])
    return rows
  }
  for (const [i, pattern] of exclude.entries())
    rows = without(rows, pattern, Object.keys(lists), ['matrix', 'exclude', i], fail)
  return rows
}

/** The rows that a pattern of `exclude` does not fit; one that fits none is a mistake. */
function without(rows: Record<string, unknown>[], pattern: unknown, names: readonly string[], path: Path, fail: Fail) {
  if (!isMapping(pattern)) {
    fail('wrong-type', `expected a row, ${found(pattern)}`, '{ version: 1 }', path)
    return rows
  }
  const strange = Object.keys(pattern).find(name => !names.includes(name))
  if (strange !== undefined) {
    fail('unknown-key', `the matrix has no \`${strange}\``, didYouMean(strange, names), [...path, strange], true)
    return rows
  }
  const left = rows.filter(row => !Object.entries(pattern).every(([name, value]) => same(row[name], value)))
  if (left.length === rows.length) fail('no-effect', 'this leaves no row out', 'remove it', path)
  return left
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** A row's name, or its parameters. */
function suffixOf(row: Record<string, unknown>): string {
  const names = Object.keys(row)
  if (names.length === 0) return ''
  const shown = 'name' in row ? ['name'] : names
  return `[${shown.map(name => `${name}=${short(row[name])}`).join(',')}]`
}

function short(value: unknown): string {
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}

const WHOLE = /^\$(?:\{([a-z]\w*)\}|([a-z]\w*))$/
const INSIDE = /\$\{([a-z]\w*)\}/g

/** Puts values where `$name` or `${name}` stands alone (typed) or `${name}` stands inside text; others stay. */
export function substitute(value: unknown, params: Readonly<Record<string, unknown>>, used?: Set<string>): unknown {
  if (typeof value === 'string') return substituteText(value, params, used)
  if (Array.isArray(value)) return value.map(item => substitute(item, params, used))
  if (!isMapping(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, substitute(inner, params, used)]))
}

function substituteText(text: string, params: Readonly<Record<string, unknown>>, used?: Set<string>): unknown {
  const whole = WHOLE.exec(text)
  const name = whole?.[1] ?? whole?.[2]
  if (name !== undefined && Object.hasOwn(params, name)) {
    used?.add(name)
    return params[name]
  }
  return text.replace(INSIDE, (all, inner: string) => {
    if (!Object.hasOwn(params, inner)) return all
    used?.add(inner)
    return String(params[inner])
  })
}
