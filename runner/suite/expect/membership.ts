import type { SubscriberWant } from '../expectations.ts'
import { leaf, list, mapping, oneOf } from '../leaf.ts'
import { parsed } from '../mistakes.ts'
import type { Names, References } from '../names.ts'
import { didYouMean } from '../suggest.ts'
import type { Draft } from './read-expectation.ts'

export function membershipSchema(names: Names, refs: References) {
  const detailed = mapping({
    pod: refs.endpoints.exactOptional(),
    node: refs.node.exactOptional(),
    mode: oneOf(['include', 'exclude']).exactOptional(),
    sources: refs.addresses.exactOptional(),
  })
  const subscriber = leaf<SubscriberWant[]>(
    { anyOf: [{ type: 'string' }, { type: 'object', properties: { pod: {}, node: {}, mode: {}, sources: {} } }] },
    (value, problem) => {
      if (typeof value === 'string') {
        if (names.nodes.includes(value) && !names.roles.has(value)) return [{ node: value }]
        const pods = refs.endpoints.safeParse(value)
        if (pods.success) return pods.data.map(pod => ({ pod }))
        return problem(
          'unknown-subscriber',
          `\`${value}\` is neither a role nor a node`,
          didYouMean(value, [...names.roles.keys(), ...names.nodes]),
        )
      }
      const given = parsed(detailed, value, problem)
      if (!given) return undefined
      const { pod, node, ...filter } = given
      if ((pod === undefined) === (node === undefined))
        return problem('bad-subscriber', 'a subscriber is a pod or a node', '{ pod: rx } or { node: n2 }')
      return node === undefined ? pod!.map(each => ({ pod: each, ...filter })) : [{ node, ...filter }]
    },
  )
  return mapping({
    step: refs.step(['snapshot']),
    node: refs.node,
    group: refs.group,
    subscribers: list(subscriber, 'subscribers'),
  }).transform(({ subscribers, ...want }): Draft<'membership'> => ({ ...want, subscribers: subscribers.flat() }))
}
