import { formatIpv4 } from '../generators/wire/address.ts'
import type { SiteMap } from './check/check.ts'
import type { Binding, PlannedCase, PlannedStep } from './suite/plan-types.ts'

/** The case with every address that only the site knows filled in. A copy: the plan stays as it was. */
export function bindCase(planned: PlannedCase, site: SiteMap): PlannedCase {
  const bound = structuredClone(planned)
  for (const step of bound.steps) bindStep(step, site)
  for (const expectation of bound.expect) {
    for (const binding of expectation.bind ?? []) put(expectation.want, binding, site)
  }
  return bound
}

function bindStep(step: PlannedStep, site: SiteMap): void {
  for (const binding of step.bind ?? []) put(step, binding, site)
  if (step.action === 'send') for (const inner of step.meanwhile) bindStep(inner, site)
}

function put(root: object, binding: Binding, site: SiteMap): void {
  let holder = root as Record<string | number, unknown>
  for (const key of binding.path.slice(0, -1)) holder = holder[key] as Record<string | number, unknown>
  const last = binding.path.at(-1)
  if (last === undefined) throw new RangeError('a binding needs a path')
  holder[last] = addressFor(binding, site)
}

function addressFor({ of, what }: Binding, site: SiteMap): number | string {
  const place =
    'pod' in of ? site.pods.find(pod => pod.name === of.pod) : site.nodes.find(node => node.name === of.node)
  if (!place) throw new RangeError(`the site has no ${'pod' in of ? of.pod : of.node}`)
  if (what === 'ip') return place.address
  if (what === 'text') return formatIpv4(place.address)
  if (place.mac === undefined) throw new RangeError(`the site gives no MAC address for ${place.name}`)
  return place.mac
}
