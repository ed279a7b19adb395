import { amountsOf } from '../amount-schema.ts'
import type { Amount, Sanity, StreamWant, Window } from '../expectations.ts'
import { found, int, type Leaf, leaf, mapping, oneOf, type Problem } from '../leaf.ts'
import { mistakes, parsed } from '../mistakes.ts'
import type { Names, References } from '../names.ts'
import type { Draft, StepFacts } from './read-expectation.ts'
import { checkFrom, memberNodes, SENDS, type Shapes } from './stream.ts'

export function encryptionSchemas(names: Names, refs: References, { window, stream }: Shapes, facts: StepFacts) {
  const optionalStream = { ...stream, stream: refs.step(SENDS).exactOptional() }
  const sends = refs.step(SENDS)
  const between = mapping(window)
  const sanity = leaf<Sanity>({ anyOf: [{ type: 'string' }, { type: 'object' }] }, (value, problem) => {
    if (value === undefined)
      return problem(
        'missing-key',
        'expected when encryption was off',
        'sanity: the send step that ran before `encryption: on`',
      )
    if (typeof value !== 'string') return parsed(between, value, problem)
    const stream = parsed(sends, value, problem)
    return stream === undefined ? undefined : { stream }
  })
  const toNodes = leaf<string[]>({ anyOf: [{ type: 'string' }, { type: 'array' }] }, (value, problem) =>
    value === 'none' ? [] : parsed(refs.nodes, value, problem),
  )
  const spi = leaf<number[]>({ anyOf: [{ type: 'integer' }, { type: 'array' }] }, (value, problem) => {
    const all: unknown[] = Array.isArray(value) ? value : [value]
    const good = (one: unknown): one is number => Number.isInteger(one) && Number(one) > 0 && Number(one) <= 0xffff_ffff
    if (all.length > 0 && all.every(good)) return all
    return problem(
      'bad-spi',
      `expected an SPI or a list of some, ${found(value)}`,
      'spi: 3, or spi: [3, 4] around a rotation',
    )
  })
  const senderNodes = (want: { stream?: string; from?: string[] }) => {
    const senders = want.from ?? (want.stream === undefined ? undefined : facts.senders(want.stream)) ?? []
    return [...new Set(senders.map(pod => names.nodeOf(pod)))]
  }
  const check = (want: Partial<StreamWant> & Window, mistake: Problem) => {
    if (want.stream !== undefined) checkFrom({ ...want, stream: want.stream }, facts, mistake)
    else if (want.from)
      mistake('no-stream', '`from` says which senders of a stream, and there is no `stream`', undefined, ['from'])
  }
  return {
    encrypted: () =>
      mapping({ ...optionalStream, nodes: refs.nodes.exactOptional(), sanity }).transform(
        (given, context): Draft<'encrypted'> => {
          const mistake = mistakes(context, given)
          check(given, mistake)
          const nodes = given.nodes ?? senderNodes(given)
          if (nodes.length === 0 && given.stream === undefined)
            mistake('no-nodes', 'which nodes? there is no stream that says so', 'nodes: [n1]')
          return { ...given, nodes }
        },
      ),
    esp: () =>
      mapping({
        ...optionalStream,
        fromNodes: refs.nodes.exactOptional(),
        toNodes: toNodes.exactOptional(),
        spi,
        keys: oneOf(['pair', 'any']).exactOptional(),
        layer: oneOf(['overlay', 'pod']).exactOptional(),
        atLeast: int(1, 1_000_000_000, 'packets').exactOptional(),
      }).transform((given, context): Draft<'esp'> => {
        const mistake = mistakes(context, given)
        check(given, mistake)
        const { keys = 'pair', layer = 'overlay' } = given
        const fromNodes = given.fromNodes ?? senderNodes(given)
        if (given.stream === undefined && (fromNodes.length === 0 || !given.toNodes))
          mistake(
            'no-nodes',
            'from which nodes to which? there is no stream that says so',
            'fromNodes: [n1], toNodes: [n2]',
          )
        if (given.stream !== undefined && given.atLeast !== undefined)
          mistake('bad-esp', 'a stream says how many packets there are', 'without `atLeast`', ['atLeast'])
        return {
          ...given,
          keys,
          layer,
          fromNodes,
          toNodes: given.toNodes ?? memberNodes(names, given.stream, facts, mistake),
        }
      }),
    xfrm: () => {
      const snapshot = refs.step(['snapshot'])
      return mapping({
        nodes: refs.nodes.exactOptional(),
        after: snapshot.exactOptional(),
        before: snapshot.exactOptional(),
        errors: counters.exactOptional(),
      }).transform(
        (given): Draft<'xfrm'> => ({ ...given, nodes: given.nodes ?? [...names.nodes], errors: given.errors ?? {} }),
      )
    },
  }
}

/** Names as /proc/net/xfrm_stat has them. */
const counters: Leaf<Record<string, Amount>> = leaf({ type: 'object' }, (value, problem) =>
  amountsOf(value, problem, {
    what: 'counters and amounts',
    hint: 'errors: { XfrmInStateSeqError: 1 }',
    key: (name, problem) =>
      /^Xfrm\w+$/.test(name)
        ? name
        : problem(
            'bad-counter',
            `\`${name}\` is no counter of XFRM`,
            'as /proc/net/xfrm_stat names them: XfrmInStateSeqError',
          ),
  }),
)
