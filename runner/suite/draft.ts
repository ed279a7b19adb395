import type { z } from 'zod'
import { caseGroups } from './case-groups.ts'
import { UserError } from './errors.ts'
import { idOfFile } from './files.ts'
import type { GroupWish } from './groups.ts'
import {
  DEFAULT_NODES,
  type GroupGiven,
  type Header,
  headerOf,
  headerSchema,
  headerShape,
  type TopologyGiven,
  UNDERLAY,
} from './header-schema.ts'
import { userErrors } from './issues.ts'
import { type Row, rowsOf, substitute } from './matrix.ts'
import type { Path, Source } from './source.ts'
import { didYouMean } from './suggest.ts'

/** A case before leases and pods are known: one row of one file. */
export interface Draft {
  id: string
  source: Source
  row: Row
  header: Header
  /** The file's value with the row's parameters put in. */
  value: Record<string, unknown>
  groups: Map<string, GroupGiven>
  literals: number[]
  /** Groups named once only: mistakes unless another mistake explains them. */
  doubts: UserError[]
}

const BODY_KEYS = ['params', 'matrix', 'steps', 'expect'] as const

/** The cases of one file, and the mistakes outside `steps` and `expect`. */
export function readDrafts(
  source: Source,
  knownRequirements: ReadonlySet<string>,
): { drafts: Draft[]; errors: UserError[] } {
  const { rows, errors } = rowsOf(source)
  const used = new Set<string>()
  const ofRows = rows.map(row => readDraft(source, row, used, knownRequirements))
  errors.push(...mergeRows(ofRows.map(({ errors }, i) => ({ suffix: rows[i]!.suffix, errors }))))
  errors.push(...unusedParams(source, rows, used))
  return { drafts: ofRows.map(({ draft }) => draft), errors }
}

/** A mistake of every row is one mistake; one of some rows says of which. */
export function mergeRows(rows: readonly { suffix: string; errors: readonly UserError[] }[]): UserError[] {
  const seen = new Map<string, { error: UserError; suffixes: string[] }>()
  for (const { suffix, errors } of rows) {
    for (const error of errors) {
      const key = [error.code, error.message, error.file, error.line, error.col].join('\0')
      const entry = seen.get(key) ?? { error, suffixes: [] }
      if (!entry.suffixes.includes(suffix)) entry.suffixes.push(suffix)
      seen.set(key, entry)
    }
  }
  const all = new Set(rows.map(({ suffix }) => suffix)).size
  return [...seen.values()].map(({ error, suffixes }) => {
    if (suffixes.length === all) return error
    const { position, hint } = error
    return new UserError(error.code, `${error.message} (row ${suffixes[0]})`, {
      ...(position ? { position } : {}),
      ...(hint === undefined ? {} : { hint }),
    })
  })
}

function readDraft(
  source: Source,
  row: Row,
  used: Set<string>,
  known: ReadonlySet<string>,
): { draft: Draft; errors: UserError[] } {
  const raw = source.value as Record<string, unknown>
  const { params: _, matrix: __, ...text } = raw
  const value = substitute(text, row.params, used) as Record<string, unknown>
  const { given, errors } = readHeader(value, source)
  const file = idOfFile(source.file)
  const header = headerOf(given, { suite: file.id })
  errors.push(...checkId(header.suite, file, source), ...checkCovers(header, known, source))
  const { groups, literals, doubts, errors: groupErrors } = caseGroups(header.groups, value, row, source)
  return {
    draft: { id: header.suite + row.suffix, source, row, header, value, groups, literals, doubts },
    errors: [...errors, ...groupErrors],
  }
}

/** Every readable key of the header, also when another one is wrong: so that all mistakes show at once. */
function readHeader(value: Record<string, unknown>, source: Source) {
  const own = Object.fromEntries(Object.entries(value).filter(([key]) => !BODY_KEYS.some(each => each === key)))
  const whole = headerSchema.safeParse(own)
  if (whole.success) return { given: whole.data, errors: [] as UserError[] }
  const given: Record<string, unknown> = {}
  for (const [key, schema] of Object.entries(headerShape)) {
    if (!(key in own)) continue
    const one = (schema as z.ZodType).safeParse(own[key])
    if (one.success) given[key] = one.data
    else if (key === 'topology') given[key] = guessedTopology(own[key])
  }
  const all = [...Object.keys(headerShape), ...BODY_KEYS]
  const errors = userErrors(whole.error, source).map(error => {
    const key = error.code === 'unknown-key' ? /`(.+)`/.exec(error.message)?.[1] : undefined
    if (key === undefined || !(key in own) || !error.position) return error
    return new UserError(error.code, error.message, { position: error.position, hint: didYouMean(key, all) })
  })
  return { given: given as Partial<z.output<typeof headerSchema>>, errors }
}

/** Roles and nodes of a topology with mistakes, so that what refers to them is not wrong too. */
function guessedTopology(raw: unknown): TopologyGiven {
  const { nodes, endpoints } = (typeof raw === 'object' ? raw : {}) as { nodes?: unknown; endpoints?: unknown }
  const listed = Array.isArray(nodes) ? nodes.filter(node => typeof node === 'string') : []
  const known = listed.length > 0 ? [...new Set(listed)] : DEFAULT_NODES
  const roles = typeof endpoints === 'object' && endpoints !== null ? Object.entries(endpoints) : []
  const guess = (node: unknown) => (node === UNDERLAY ? UNDERLAY : known.find(each => each === node)) ?? known[0]!
  return {
    nodes: known,
    endpoints: Object.fromEntries(roles.map(([role, node]) => [role, { node: guess(node), count: 1 }])),
    querier: false,
    metrics: false,
    private: false,
  }
}

function checkId(suite: string, file: ReturnType<typeof idOfFile>, source: Source): UserError[] {
  const right = file.whole ? suite === file.id : suite.split('/').at(-1) === file.id
  if (right) return []
  const hint = file.whole ? `suite: ${file.id}` : `an id that ends in ${file.id}, or rename the file`
  return [
    new UserError('suite-id', `the suite's id \`${suite}\` is not its path below suites/`, {
      position: source.at(['suite']),
      hint,
    }),
  ]
}

function checkCovers(header: Header, known: ReadonlySet<string>, source: Source): UserError[] {
  return header.covers.flatMap((id, i) => {
    if (known.has(id)) return []
    return [
      new UserError('unknown-requirement', `no requirement has the id ${id}`, {
        position: source.at(['covers', i]),
        hint: didYouMean(id, known),
      }),
    ]
  })
}

function unusedParams(source: Source, rows: readonly Row[], used: ReadonlySet<string>): UserError[] {
  const names = new Set(rows.flatMap(row => Object.keys(row.params)))
  const { params } = source.value as { params?: Record<string, unknown> }
  return [...names].flatMap(name => {
    if (used.has(name) || name === 'name') return []
    const path: Path = params && Object.hasOwn(params, name) ? ['params', name] : ['matrix', name]
    return [
      new UserError('unused-parameter', `the parameter \`${name}\` is never used`, {
        position: source.atKey(path),
        hint: `write $${name} where it belongs`,
      }),
    ]
  })
}

export function wishOf({ id, groups, literals }: Draft): GroupWish {
  return { id, groups, literals }
}
