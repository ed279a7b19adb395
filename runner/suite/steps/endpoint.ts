import { bool, int, mapping, oneOf, type Problem } from '../leaf.ts'
import { mistakes, oneOfKeys } from '../mistakes.ts'
import type { References } from '../names.ts'
import { SYSCTLS } from '../plan-types.ts'
import { type ReadStep, readStep, stepId } from './read-step.ts'

/** Either one endpoint or one node. */
function placeShape(refs: References) {
  return { endpoint: refs.endpoint.exactOptional(), node: refs.node.exactOptional() }
}

function placeOf(given: { endpoint?: string; node?: string }, code: string, mistake: Problem) {
  oneOfKeys(given, ['endpoint', 'node'], code, mistake)
  return given.node === undefined ? { pod: given.endpoint! } : { node: given.node }
}

/** The death of pods and their return. */
export function lifeSchema(kind: 'kill' | 'revive', refs: References) {
  return mapping({ id: stepId().exactOptional(), endpoint: refs.endpoints }).transform(
    ({ id, endpoint }): ReadStep => readStep(kind, id, { action: kind, pods: endpoint }),
  )
}

export function linkSchema(refs: References) {
  return mapping({
    id: stepId().exactOptional(),
    ...placeShape(refs),
    up: bool(),
  }).transform((link, context): ReadStep => {
    const place = placeOf(link, 'bad-link', mistakes(context, link))
    return readStep('link', link.id, { action: 'link', ...place, up: link.up })
  })
}

export function sysctlSchema(refs: References) {
  return mapping({
    id: stepId().exactOptional(),
    ...placeShape(refs),
    name: oneOf(SYSCTLS),
    interface: oneOf(['all', 'default', 'eth0', 'cilium_vxlan']).exactOptional(),
    value: int(0, 2),
  }).transform((given, context): ReadStep => {
    const place = placeOf(given, 'bad-sysctl', mistakes(context, given))
    const { name, value } = given
    return readStep('sysctl', given.id, {
      action: 'sysctl',
      ...place,
      name,
      interface: given.interface ?? 'all',
      value,
    })
  })
}
