import { UserError } from './errors.ts'
import type { GroupGiven } from './header-schema.ts'
import type { Row } from './matrix.ts'
import { groupUses, literalGroups } from './scan.ts'
import type { Path, Source } from './source.ts'
import { didYouMean, nearest } from './suggest.ts'

/** Groups of one case: declared under `groups`, or named for the first time where they are used. */
export interface CaseGroups {
  groups: Map<string, GroupGiven>
  literals: number[]
  errors: UserError[]
  doubts: UserError[]
}

/** `value` has the row's parameters put in, so that what still begins with `$` is a group. */
export function caseGroups(
  declared: Record<string, GroupGiven>,
  value: Record<string, unknown>,
  row: Row,
  source: Source,
): CaseGroups {
  const body = { steps: value['steps'], expect: value['expect'] }
  const uses = groupUses(body)
  uses.delete('port')
  const groups = new Map(Object.entries(declared))
  const errors = declarationErrors(groups, uses, row, source)
  const aliased = new Set([...groups.values()].flatMap(given => ('aliasOf' in given ? [given.aliasOf] : [])))
  const doubts: UserError[] = []
  for (const [name, paths] of uses) {
    if (groups.has(name)) continue
    const others = [...uses.keys(), ...Object.keys(row.params), ...groups.keys()].filter(each => each !== name)
    const error = usedOnce(name, others, source, paths[0] ?? [])
    if (paths.length === 1 && !aliased.has(name)) (nearest(name, others) === undefined ? doubts : errors).push(error)
    groups.set(name, { enabled: true, count: 1 })
  }
  for (const name of aliased) if (!groups.has(name) && !errors.length) groups.set(name, { enabled: true, count: 1 })
  return {
    groups: new Map([...groups].sort(([a], [b]) => (a < b ? -1 : 1))),
    literals: literalGroups(body),
    errors,
    doubts,
  }
}

function usedOnce(name: string, others: readonly string[], source: Source, path: Path): UserError {
  const message = `\`$${name}\` is named only here: it is no parameter, and a group that nothing else joins or sends to`
  const near = nearest(name, others)
  const hint = `${near === undefined ? '' : `did you mean \`$${near}\`? or `}declare it if it is meant: groups: { ${name}: {} }`
  return new UserError('unknown-group', message, { position: source.at(path), hint })
}

function declarationErrors(
  groups: ReadonlyMap<string, GroupGiven>,
  uses: ReadonlyMap<string, Path[]>,
  row: Row,
  source: Source,
): UserError[] {
  const errors: UserError[] = []
  const fail = (code: string, message: string, hint: string, path: Path) =>
    errors.push(new UserError(code, message, { position: source.at(path), hint }))
  for (const [name, given] of groups) {
    if (name in row.params || name === 'port')
      fail('ambiguous', `\`${name}\` names a group and a parameter`, 'rename one of them', ['groups', name])
    if ('aliasOf' in given && aliasIsLost(name, given.aliasOf, groups, uses)) {
      const others = [...uses.keys(), ...groups.keys()].filter(each => each !== name)
      fail(
        'unknown-group',
        `aliasOf names no other group: \`${given.aliasOf}\``,
        didYouMean(given.aliasOf, new Set(others)),
        ['groups', name, 'aliasOf'],
      )
    }
    const isOriginal = [...groups.values()].some(other => 'aliasOf' in other && other.aliasOf === name)
    if (!uses.has(name) && !isOriginal)
      fail('unused-group', `the group \`${name}\` is never used`, `write $${name} where it belongs`, ['groups', name])
  }
  return errors
}

/** Following `aliasOf` must end at a group that is none: not at nothing, and not where it began. */
function aliasIsLost(
  name: string,
  original: string,
  groups: ReadonlyMap<string, GroupGiven>,
  uses: ReadonlyMap<string, Path[]>,
): boolean {
  const passed = new Set([name])
  for (let at = original; ; ) {
    if (passed.has(at)) return true
    passed.add(at)
    const given = groups.get(at)
    if (!given) return !uses.has(at)
    if (!('aliasOf' in given)) return false
    at = given.aliasOf
  }
}
