import { z } from 'zod'
import { headerShape } from './header-schema.ts'
import { Language } from './language.ts'
import { leaf, mapping } from './leaf.ts'

/** The whole language as one schema. Reading a file goes part by part instead (`draft.ts`, `plan.ts`). */
function suiteSchema() {
  const anything = (json: Parameters<typeof leaf>[0]) => leaf<unknown>(json, value => value ?? null)
  return mapping({
    ...headerShape,
    params: anything({ type: 'object' }).exactOptional(),
    matrix: anything({ anyOf: [{ type: 'object' }, { type: 'array', items: { type: 'object' } }] }).exactOptional(),
    ...new Language().schemas(),
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
