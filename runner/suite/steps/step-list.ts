import type { z } from 'zod'
import { type Leaf, list } from '../leaf.ts'
import type { Names, References } from '../names.ts'
import { oneKey } from '../one-key.ts'
import { agentSchema, groupSchema, snapshotSchema } from './agent.ts'
import { encryptionSchema, replaySchema, xfrmSchema } from './encryption.ts'
import { lifeSchema, linkSchema, sysctlSchema } from './endpoint.ts'
import { exporterSchema, flushSchema } from './exporter.ts'
import { igmpSchema } from './igmp.ts'
import { joinSchema, leaveSchema } from './membership.ts'
import { runSchema, stopSchema } from './program.ts'
import type { ReadStep, StepKind } from './read-step.ts'
import { sendSchema } from './send.ts'
import { waitSchema } from './wait.ts'

/** One schema for each kind of step, bound to the names of a case and made when first needed. */
function stepSchemas(names: Names, refs: References) {
  return {
    join: () => joinSchema(refs),
    leave: () => leaveSchema(refs),
    send: () => sendSchema(names, refs, () => stepList(names, refs)),
    igmp: () => igmpSchema(refs),
    wait: () => waitSchema(names, refs),
    link: () => linkSchema(refs),
    kill: () => lifeSchema('kill', refs),
    revive: () => lifeSchema('revive', refs),
    group: () => groupSchema(names, refs),
    run: () => runSchema(refs),
    stop: () => stopSchema(refs),
    snapshot: () => snapshotSchema(),
    exporter: () => exporterSchema(refs),
    flush: () => flushSchema(refs),
    agent: () => agentSchema(refs),
    encryption: () => encryptionSchema(names, refs),
    xfrm: () => xfrmSchema(refs),
    sysctl: () => sysctlSchema(refs),
    replay: () => replaySchema(refs),
  } satisfies Record<StepKind, () => z.ZodType>
}

const lists = new WeakMap<References, Leaf<(ReadStep | undefined)[]>>()

/** One item of `steps`: a mapping with one key that is a kind of step, and perhaps `when`. Made once, for `while` holds it. */
export function stepList(names: Names, refs: References): Leaf<(ReadStep | undefined)[]> {
  const made = lists.get(refs) ?? list(oneKey<ReadStep>(stepSchemas(names, refs), 'step'), 'steps')
  lists.set(refs, made)
  return made
}
