import { z } from 'zod'
import { int, mapping, oneOf } from '../leaf.ts'
import { choiceError, mistakes } from '../mistakes.ts'
import type { Names, References } from '../names.ts'
import { type Action, ALTERATIONS, ENCRYPTION_DOES } from '../plan-types.ts'
import { type ReadStep, readStep, stepId } from './read-step.ts'

export function encryptionSchema(names: Names, refs: References) {
  return mapping({
    id: stepId().exactOptional(),
    do: oneOf(ENCRYPTION_DOES),
    nodes: refs.nodes.exactOptional(),
  }).transform(({ id, do: what, nodes }, context): ReadStep => {
    if (nodes && what.startsWith('rotate'))
      mistakes(context, nodes)('bad-encryption', 'a rotation is of all nodes', 'leave nodes out', ['nodes'])
    return readStep('encryption', id, { action: 'encryption', do: what, nodes: nodes ?? [...names.nodes] })
  })
}

const MAX_SEQUENCE = 2 ** 33

export function xfrmSchema(refs: References) {
  const lost = { peer: refs.node.exactOptional(), direction: oneOf(['out', 'in']).exactOptional() }
  const kind = <const K extends string>(what: K) => z.literal(what)
  return z
    .discriminatedUnion(
      'do',
      [
        mapping({ do: kind('lose-states'), id: stepId().exactOptional(), node: refs.node, ...lost }),
        mapping({ do: kind('lose-policies'), id: stepId().exactOptional(), node: refs.node, ...lost }),
        mapping({
          do: kind('sequence'),
          id: stepId().exactOptional(),
          node: refs.node,
          peer: refs.node,
          sequence: int(0, MAX_SEQUENCE, 'the last number used'),
        }),
      ],
      { error: issue => choiceError('do', ['lose-states', 'lose-policies', 'sequence'], issue.input) },
    )
    .transform(({ id, ...xfrm }): ReadStep => readStep('xfrm', id, { action: 'xfrm', ...xfrm } as Action))
}

export function replaySchema(refs: References) {
  return mapping({
    id: stepId().exactOptional(),
    from: refs.endpoint,
    of: refs.step(['send']),
    node: refs.node,
    peer: refs.node,
    count: int(1, 100_000).exactOptional(),
    alter: oneOf(ALTERATIONS).exactOptional(),
  }).transform(({ id, from, of, node, peer, count, alter }): ReadStep => {
    const many = count === undefined ? {} : { count }
    return readStep('replay', id, { action: 'replay', pod: from, of, node, peer, ...many, alter: alter ?? 'none' })
  })
}
