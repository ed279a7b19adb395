import type { z } from 'zod'
import type { Moment, StreamWant } from '../expectations.ts'
import { int, isMapping, type Json, type Leaf, leaf, mapping, type Problem } from '../leaf.ts'
import { parsed } from '../mistakes.ts'
import type { Names, References } from '../names.ts'
import type { StepFacts } from './read-expectation.ts'

export const SENDS = ['send'] as const

export interface Shapes {
  window: { after: z.ZodExactOptional<Leaf<Moment>>; before: z.ZodExactOptional<Leaf<Moment>> }
  stream: Shapes['window'] & { stream: Leaf<string>; from: z.ZodExactOptional<Leaf<string[]>> }
}

/** Keys that most expectations share: a part of the case's time, and a stream with its senders. */
export function shapesOf(refs: References): Shapes {
  const window = { after: momentOf(refs).exactOptional(), before: momentOf(refs).exactOptional() }
  return { window, stream: { stream: refs.step(SENDS), from: refs.endpoints.exactOptional(), ...window } }
}

/** `report`, or `{ step: report, laterMs: 4100 }`. */
function momentOf(refs: References): Leaf<Moment> {
  const later = mapping({ step: refs.anyStep, laterMs: int(1, 3_600_000) })
  return leaf<Moment>(MOMENT_JSON, (value, problem) => {
    const read: Problem = (code, message, hint = 'a step, or { step: ID, laterMs: N }', path) =>
      problem(code, message, hint, path)
    return isMapping(value) ? parsed(later, value, read) : parsed(refs.anyStep, value, read)
  })
}

const MOMENT_JSON: Record<string, Json> = {
  anyOf: [
    { type: 'string' },
    {
      type: 'object',
      properties: { step: { type: 'string' }, laterMs: { type: 'integer', minimum: 1 } },
      required: ['step', 'laterMs'],
      additionalProperties: false,
    },
  ],
}

/** `from` must be senders of the stream, else an expectation about nobody would hold for ever. */
export function checkFrom(want: StreamWant, facts: StepFacts, mistake: Problem): void {
  const senders = facts.senders(want.stream)
  if (!senders || !want.from) return
  const strangers = want.from.filter(pod => !senders.includes(pod))
  if (strangers.length > 0)
    mistake(
      'not-a-sender',
      `${strangers.join(', ')} does not send \`${want.stream}\``,
      `it is sent by ${senders.join(', ')}`,
      ['from'],
    )
}

/** Nodes with members of the stream. */
export function memberNodes(names: Names, stream: string | undefined, facts: StepFacts, mistake: Problem): string[] {
  if (stream === undefined) return []
  const members = facts.members(stream)
  if ('pods' in members) return [...new Set(members.pods.map(pod => names.nodeOf(pod)))]
  mistake('unclear-members', `to which nodes? ${members.unclear}`, 'toNodes: [n2, n3], or toNodes: none', ['stream'])
  return []
}
