import { FLOW_FIELD, type FlowFieldName } from '../../../generators/wire/flow-fields.ts'
import { amount, amountsOf } from '../amount-schema.ts'
import type { AnalyserWant, FlowAccountingWant, FlowMessagesWant } from '../expectations.ts'
import { int, type Leaf, leaf, list, mapping, oneOf } from '../leaf.ts'
import type { LateAddress, References } from '../names.ts'
import { interfaceName } from '../pim-schema.ts'
import { didYouMean } from '../suggest.ts'

/** Checks of flow export. */
export function flowSchemas(refs: References) {
  const exporter = refs.step(['exporter'])
  return {
    'flow-accounting': () =>
      mapping({
        exporter,
        node: refs.node,
        situation: oneOf(['ingress', 'egress', 'both']),
        groups: destinations(refs),
        input: interfaceName,
        inputs: list(interfaceName, 'interfaces').exactOptional(),
        outputs: list(interfaceName, 'interfaces').exactOptional(),
        replication: oneOf(['supported', 'unsupported']).exactOptional(),
        sampling: int(1, 65_535).exactOptional(),
        records: amount.exactOptional(),
      }).transform(
        ({ inputs, outputs, replication, sampling, ...want }): FlowAccountingWant => ({
          ...want,
          inputs: inputs ?? [want.input],
          outputs: outputs ?? [],
          replication: replication ?? 'supported',
          sampling: sampling ?? 1,
        }),
      ),
    analyser: () =>
      mapping({
        exporter,
        analyser: oneOf(['nfdump', 'nfacctd']),
        node: refs.node,
        input: interfaceName,
        records: oneOf(['all', 'ingress']).exactOptional(),
      }).transform((want): AnalyserWant => ({ ...want, records: want.records ?? 'all' })),
    'flow-messages': () =>
      mapping({
        exporter,
        messages: amount.exactOptional(),
        records: amount.exactOptional(),
        unicastRecords: amount.exactOptional(),
        templates: amount.exactOptional(),
        templateEveryMs: int(1, 3_600_000, 'milliseconds').exactOptional(),
        options: optionValues.exactOptional(),
      }).transform((want): FlowMessagesWant => want),
  }
}

/** Groups and `@rx`: the flows to a pod are judged by its address. */
function destinations(refs: References): Leaf<number[]> {
  const one = leaf<(number | LateAddress)[]>({ type: 'string' }, (value, problem) => {
    const found =
      typeof value === 'string' && value.startsWith('@') ? refs.address.safeParse(value) : refs.groups.safeParse(value)
    if (found.success) return [found.data].flat()
    return problem('bad-address', `neither a group nor an endpoint: ${String(value)}`, "groups: [$g, '@rx']")
  })
  return list(one, 'destinations', { min: 1 }).transform(all => all.flat()) as unknown as Leaf<number[]>
}

const NAMES = Object.keys(FLOW_FIELD) as FlowFieldName[]

const optionValues = leaf<NonNullable<FlowMessagesWant['options']>>({ type: 'object' }, (value, problem) =>
  amountsOf<FlowFieldName>(value, problem, {
    what: 'fields and amounts',
    key: (name, problem) =>
      NAMES.find(known => known === name) ??
      problem('unknown-field', `no field is called ${name}`, didYouMean(name, NAMES)),
  }),
)
