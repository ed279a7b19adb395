import type { z } from 'zod'
import { UserError } from './errors.ts'
import { idOfFile } from './files.ts'
import type { GroupWish } from './groups.ts'
import { type GroupGiven, type Header, headerMapping, headerOf, headerShape } from './header-schema.ts'
import { userErrors } from './issues.ts'
import { type Row, rowsOf, substitute } from './matrix.ts'
import { groupUses, literalGroups } from './scan.ts'
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
  return [...seen.values()].map(({ error, suffixes }) => {
    if (suffixes.length === rows.length) return error
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
  const { groups, literals, errors: groupErrors } = groupsOf(header, value, row, source)
  return {
    draft: { id: header.suite + row.suffix, source, row, header, value, groups, literals },
    errors: [...errors, ...groupErrors],
  }
}

/** Every readable key of the header, also when another one is wrong: so that all mistakes show at once. */
function readHeader(value: Record<string, unknown>, source: Source) {
  const own = Object.fromEntries(Object.entries(value).filter(([key]) => !BODY_KEYS.some(each => each === key)))
  const whole = headerMapping().safeParse(own)
  if (whole.success) return { given: whole.data, errors: [] as UserError[] }
  const given: Record<string, unknown> = {}
  for (const [key, schema] of Object.entries(headerShape)) {
    if (!(key in own)) continue
    const one = (schema as z.ZodType).safeParse(own[key])
    if (one.success) given[key] = one.data
  }
  const all = [...Object.keys(headerShape), ...BODY_KEYS]
  const errors = userErrors(whole.error, source).map(error => {
    const key = error.code === 'unknown-key' ? /`(.+)`/.exec(error.message)?.[1] : undefined
    if (key === undefined || !(key in own) || !error.position) return error
    return new UserError(error.code, error.message, { position: error.position, hint: didYouMean(key, all) })
  })
  return { given: given as Partial<z.output<ReturnType<typeof headerMapping>>>, errors }
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

function groupsOf(header: Header, value: Record<string, unknown>, row: Row, source: Source) {
  const errors: UserError[] = []
  const fail = (code: string, message: string, hint: string, path: Path) =>
    errors.push(new UserError(code, message, { position: source.at(path), hint }))
  const body = { steps: value['steps'], expect: value['expect'] }
  const uses = groupUses(body)
  const groups = new Map<string, GroupGiven>(Object.entries(header.groups))
  for (const [name, given] of groups) {
    if (name in row.params || name === 'port')
      fail('ambiguous', `\`${name}\` names a group and a parameter`, 'rename one of them', ['groups', name])
    if ('aliasOf' in given && (!groups.has(given.aliasOf) ? !uses.has(given.aliasOf) : given.aliasOf === name))
      fail(
        'unknown-group',
        `aliasOf names no other group: \`${given.aliasOf}\``,
        didYouMean(
          given.aliasOf,
          [...uses.keys()].filter(each => each !== name),
        ),
        ['groups', name, 'aliasOf'],
      )
    const isOriginal = [...groups.values()].some(other => 'aliasOf' in other && other.aliasOf === name)
    if (!uses.has(name) && !isOriginal)
      fail('unused-group', `the group \`${name}\` is never used`, `write $${name} where it belongs`, ['groups', name])
  }
  for (const [name, paths] of uses) {
    if (groups.has(name) || name === 'port') continue
    const isOriginal = [...groups.values()].some(given => 'aliasOf' in given && given.aliasOf === name)
    if (paths.length === 1 && !isOriginal)
      fail(
        'unknown-group',
        `\`$${name}\` is used only here: it is neither a parameter nor a group that something joins and something sends to`,
        didYouMean(
          `$${name}`,
          [...uses.keys(), ...Object.keys(row.params), ...groups.keys()]
            .filter(each => each !== name)
            .map(each => `$${each}`),
        ) + `; or declare it: groups: { ${name}: {} }`,
        paths[0]!,
      )
    groups.set(name, { enabled: true, count: 1 })
  }
  const ordered = new Map([...groups].sort(([a], [b]) => (a < b ? -1 : 1)))
  return { groups: ordered, literals: literalGroups(body), errors }
}

export function wishOf({ id, groups, literals }: Draft): GroupWish {
  return { id, groups, literals }
}
