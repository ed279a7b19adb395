import { int, mapping, oneOf } from '../leaf.ts'
import { mistakes, oneOfKeys } from '../mistakes.ts'
import type { Names, References } from '../names.ts'
import { type ReadStep, readStep, stepId } from './read-step.ts'

export function groupSchema(names: Names, refs: References) {
  return mapping({
    id: stepId().exactOptional(),
    enable: refs.groups.exactOptional(),
    disable: refs.groups.exactOptional(),
    nodes: refs.nodes.exactOptional(),
    refused: int(0, 100_000).exactOptional(),
  }).transform((group, context): ReadStep => {
    oneOfKeys(group, ['enable', 'disable'], 'bad-group', mistakes(context, group))
    return readStep('group', group.id, {
      action: 'group',
      groups: group.enable ?? group.disable ?? [],
      enable: group.enable !== undefined,
      nodes: group.nodes ?? [...names.nodes],
      refused: group.refused ?? 0,
    })
  })
}

export function snapshotSchema() {
  return mapping({ id: stepId() }).transform(({ id }): ReadStep => readStep('snapshot', id, { action: 'snapshot' }))
}

export function agentSchema(refs: References) {
  return mapping({ id: stepId().exactOptional(), node: refs.node, do: oneOf(['restart']) }).transform(
    ({ id, node, do: what }): ReadStep => readStep('agent', id, { action: 'agent', node, do: what }),
  )
}
