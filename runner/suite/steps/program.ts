import { z } from 'zod'
import { mapping } from '../leaf.ts'
import { choiceError } from '../mistakes.ts'
import type { References } from '../names.ts'
import { PROGRAM_NAMES, PROGRAMS } from '../programs.ts'
import { type ReadStep, readStep, stepId } from './read-step.ts'

export function runSchema(refs: References) {
  const options = PROGRAM_NAMES.map(name =>
    mapping({ id: stepId(), endpoint: refs.endpoint, program: z.literal(name), params: PROGRAMS[name].params(refs) }),
  )
  return z
    .discriminatedUnion('program', options as unknown as [(typeof options)[0]], {
      error: issue => choiceError('program', PROGRAM_NAMES, issue.input),
    })
    .transform(
      (run): ReadStep =>
        readStep('run', run.id, { action: 'run', pod: run.endpoint, program: run.program, params: run.params }),
    )
}

export function stopSchema(refs: References) {
  return mapping({ id: stepId().exactOptional(), program: refs.step(['run']) }).transform(
    ({ id, program }): ReadStep => readStep('stop', id, { action: 'stop', program }),
  )
}
