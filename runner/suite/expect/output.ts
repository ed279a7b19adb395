import { amount } from '../amount-schema.ts'
import { int, list, mapping, oneOf, text } from '../leaf.ts'
import { mistakes } from '../mistakes.ts'
import type { References } from '../names.ts'
import type { Draft } from './read-expectation.ts'

export function outputSchema(refs: References) {
  return mapping({
    program: refs.step(['run']),
    source: oneOf(['stdout', 'stderr']).exactOptional(),
    contains: text().exactOptional(),
    equals: list(text('a line'), 'lines').exactOptional(),
    count: amount.exactOptional(),
    exitCode: int(0, 255).exactOptional(),
  }).transform((given, context): Draft<'output'> => {
    const { program, source, ...want } = given
    const wanted = ['contains', 'equals', 'count', 'exitCode'].some(key => key in given)
    if (!wanted)
      mistakes(context, given)('empty-output', 'says nothing about the output', 'contains, equals, count or exitCode')
    return { step: program, source: source ?? 'stdout', ...want }
  })
}
