import { amount } from '../amount-schema.ts'
import type { MetricsWant, NodeMetricsWant } from '../expectations.ts'
import { bool, int, list, mapping, text } from '../leaf.ts'
import { mistakes } from '../mistakes.ts'
import type { References } from '../names.ts'
import { pairOf } from './snapshots.ts'

/** Checks of what agents serve to Prometheus. */
export function metricsSchemas(refs: References) {
  const between = list(refs.step(['snapshot']), 'two snapshots')
  return {
    metrics: () =>
      mapping({
        between,
        receiver: refs.endpoint.exactOptional(),
        sender: refs.endpoint.exactOptional(),
        from: refs.endpoint.exactOptional(),
        to: refs.endpoint.exactOptional(),
        group: refs.group.exactOptional(),
        port: int(1, 65_535, 'a UDP port').exactOptional(),
        sockets: int(1, 100, 'sockets').exactOptional(),
        drops: amount.exactOptional(),
        bursts: amount.exactOptional(),
        binary: text('a path', 256).exactOptional(),
        program: refs.step(['run']).exactOptional(),
        latency: bool().exactOptional(),
      }).transform((given, context): MetricsWant => {
        const { receiver, sender, from, to, sockets, drops, between, latency, ...want } = given
        const mistake = wrongSide(given)
        if (mistake !== undefined)
          context.issues.push({
            code: 'custom',
            message: mistake,
            input: given,
            params: {
              code: 'bad-metrics',
              hint: 'receiver and from; or sender and either group or to; program beside latency',
            },
          })
        const peer = from ?? to
        return {
          ...want,
          between: pairOf(between, mistakes(context, between)),
          pod: receiver ?? sender ?? '',
          direction: receiver === undefined ? 'out' : 'in',
          ...(peer === undefined ? {} : { peer }),
          sockets: sockets ?? 1,
          drops: drops ?? 0,
          ...(latency ? { latency } : {}),
        }
      }),
    'node-metrics': () =>
      mapping({
        between,
        node: refs.node,
        group: refs.group,
        local: int(0, 100_000, 'subscribers'),
        remote: int(0, 100_000, 'subscribers'),
      }).transform(
        ({ between, ...want }, context): NodeMetricsWant => ({
          ...want,
          between: pairOf(between, mistakes(context, between)),
        }),
      ),
  }
}

type Given = Partial<Record<string, unknown>>

function wrongSide({ receiver, sender, from, to, group, program, latency }: Given): string | undefined {
  if (latency && program === undefined) return 'only a program tells what has been read'
  if ((receiver === undefined) === (sender === undefined)) return 'either a receiver or a sender is looked at'
  if (receiver !== undefined) return from === undefined || to !== undefined ? 'a receiver has `from`' : undefined
  return from !== undefined || (group === undefined) === (to === undefined) ? 'a sender has `group` or `to`' : undefined
}
