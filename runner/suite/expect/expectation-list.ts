import type { z } from 'zod'
import type { CheckName } from '../expectations.ts'
import { type Leaf, list } from '../leaf.ts'
import type { Names, References } from '../names.ts'
import { oneKey } from '../one-key.ts'
import { delaySchemas } from './delay.ts'
import { deliverySchemas } from './delivery.ts'
import { dropsSchema } from './drops.ts'
import { encapsulatedSchema } from './encapsulated.ts'
import { encryptionSchemas } from './encryption.ts'
import { flowSchemas } from './flow.ts'
import { igmpSchema } from './igmp.ts'
import { membershipSchema } from './membership.ts'
import { metricsSchemas } from './metrics.ts'
import { outputSchema } from './output.ts'
import { pimSchema } from './pim.ts'
import type { ReadExpectation, StepFacts } from './read-expectation.ts'
import { replicationSchema } from './replication.ts'
import { shapesOf } from './stream.ts'

/** One item of `expect`. */
export function expectationList(
  names: Names,
  refs: References,
  facts: StepFacts,
): Leaf<(ReadExpectation | undefined)[]> {
  const schemas = expectationSchemas(names, refs, facts)
  const tagged = Object.fromEntries(
    Object.entries<() => z.ZodType>(schemas).map(([check, schema]) => [
      check,
      () => schema().transform((want: unknown) => ({ check, want })),
    ]),
  ) as unknown as Record<string, () => z.ZodType<ReadExpectation>>
  return list(oneKey(tagged, 'expectation'), 'expectations', { min: 1 })
}

/** The YAML form of each check, one schema for each key, bound to the names of a case. */
function expectationSchemas(names: Names, refs: References, facts: StepFacts) {
  const shapes = shapesOf(refs)
  return {
    ...deliverySchemas(refs, shapes, facts),
    replication: () => replicationSchema(names, refs, shapes, facts),
    encapsulated: () => encapsulatedSchema(names, refs, shapes, facts),
    membership: () => membershipSchema(names, refs),
    igmp: () => igmpSchema(refs, shapes),
    ...delaySchemas(refs, shapes, facts),
    drops: () => dropsSchema(refs),
    output: () => outputSchema(refs),
    pim: () => pimSchema(refs, shapes),
    ...flowSchemas(refs),
    ...metricsSchemas(refs),
    ...encryptionSchemas(names, refs, shapes, facts),
  } satisfies Record<CheckName, () => z.ZodType>
}
