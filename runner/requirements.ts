import { join } from 'node:path'
import type { RequirementRef } from '../reports/result.ts'
import { UserError } from './suite/errors.ts'
import { bundledSuites, readSource, yamlBelow } from './suite/files.ts'
import { userErrors } from './suite/issues.ts'
import { leaf, list, mapping, oneOf, text } from './suite/leaf.ts'

/** A statement of `suites/requirements/`: something packets can show to hold or not. */
export interface Requirement {
  /** For ever the same. */
  id: string
  level: 'MUST' | 'SHOULD' | 'MAY'
  /** `RFC 3376 §4.2.2`; empty where only our own design decides. */
  rfc: string[]
  /** Who must do it. */
  role: string
  text: string
  send: string
  observe: string
}

const id = leaf<string>({ type: 'string', pattern: '^[A-Z][0-9]{2}$' }, (value, problem) =>
  typeof value === 'string' && /^[A-Z]\d{2}$/.test(value)
    ? value
    : problem('bad-id', 'expected a letter and two digits', 'D01'),
)

const section = leaf<string>({ type: 'string' }, (value, problem) =>
  typeof value === 'string' && /^RFC \d{3,5} §[\d.()A-Za-z]+$/.test(value)
    ? value
    : problem('bad-rfc', 'expected an RFC section', 'RFC 3376 §4.2.2'),
)

const requirement = mapping({
  id,
  level: oneOf(['MUST', 'SHOULD', 'MAY']),
  rfc: list(section, 'RFC sections'),
  role: oneOf([
    'host',
    'datapath',
    'querier',
    'datapath or querier',
    'datapath or host',
    'router',
    'exporter',
    'collector',
    'agent',
  ]),
  text: text(),
  send: text(),
  observe: text(),
})

const file = mapping({
  castproof: oneOf([1]),
  requirements: list(
    leaf<unknown>({}, value => value ?? {}),
    'requirements',
    { min: 1 },
  ),
})

/** All requirements by id, in the order of ids; `suites` is the folder that holds `requirements/`. */
export function loadRequirements(suites: string = bundledSuites()): {
  requirements: Map<string, Requirement>
  errors: UserError[]
} {
  const all = new Map<string, Requirement>()
  const errors: UserError[] = []
  for (const path of yamlBelow(join(suites, 'requirements')).sort()) {
    const { source, errors: unread } = readSource(path)
    errors.push(...unread)
    if (!source) continue
    const outer = file.safeParse(source.value)
    if (!outer.success) {
      errors.push(...userErrors(outer.error, source))
      continue
    }
    outer.data.requirements.forEach((item, i) => {
      const one = requirement.safeParse(item)
      if (!one.success) errors.push(...userErrors(one.error, source, ['requirements', i]))
      else if (all.has(one.data.id))
        errors.push(
          new UserError('twice', `requirement ${one.data.id} is there twice`, {
            position: source.at(['requirements', i, 'id']),
            hint: 'ids are for ever: take a new one',
          }),
        )
      else all.set(one.data.id, one.data)
    })
  }
  return { requirements: new Map([...all].sort(([a], [b]) => (a < b ? -1 : 1))), errors }
}

/** As reports show it. */
export function requirementRef({ id, level, rfc, text }: Requirement): RequirementRef {
  return { id, level, rfc: rfc.length > 0 ? rfc.join(', ') : 'no RFC: the replication ledger decides', text }
}
