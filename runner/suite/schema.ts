import { z } from 'zod'
import { expectationList } from './expectation-schema.ts'
import { headerShape } from './header-schema.ts'
import { leaf, mapping } from './leaf.ts'
import { type Names, references } from './names.ts'
import { stepList } from './step-schema.ts'

/** Nothing to refer to: editors cannot know the names of a case, so the exported schema leaves them open. */
const NO_NAMES: Names = {
  roles: new Map(),
  nodes: [],
  nodeOf: pod => pod,
  groups: new Map(),
  steps: new Map(),
  port: 0,
}

/** The whole language as one schema. Reading a file goes part by part instead (`draft.ts`, `plan.ts`). */
function suiteSchema() {
  const refs = references(NO_NAMES)
  const facts = {
    senders: () => [],
    members: () => ({ pods: [] }),
    settings: { policy: {}, timing: { enforced: false }, allowWeakerFence: true },
  }
  const anything = (json: Parameters<typeof leaf>[0]) => leaf<unknown>(json, value => value ?? null)
  return mapping({
    ...headerShape,
    params: anything({ type: 'object' }).exactOptional(),
    matrix: anything({ anyOf: [{ type: 'object' }, { type: 'array', items: { type: 'object' } }] }).exactOptional(),
    steps: stepList(NO_NAMES, refs),
    expect: expectationList(NO_NAMES, refs, facts),
  })
}

/** JSON Schema for editors, kept as `suites/schema.json`. A number, a choice or a flag may be a `$parameter` too. */
export function suiteJsonSchema(): object {
  const schema = z.toJSONSchema(suiteSchema(), {
    io: 'input',
    reused: 'ref',
    override: ({ jsonSchema }) => {
      const { type, enum: choices } = jsonSchema
      if (type !== 'integer' && type !== 'number' && type !== 'boolean' && choices === undefined) return
      const own = { ...jsonSchema }
      for (const key of Object.keys(jsonSchema)) delete (jsonSchema as Record<string, unknown>)[key]
      jsonSchema.anyOf = [own, { type: 'string', pattern: '^\\$' }]
    },
  })
  return {
    ...schema,
    $id: 'castproof-suite/1',
    title: 'castproof suite',
    description: 'One case, or one case a row of its matrix.',
  }
}
