import type { z } from 'zod'
import type { CopyCount } from '../expectations.ts'
import { UNDERLAY } from '../header-schema.ts'
import { int, type Leaf, leaf, mapping } from '../leaf.ts'
import { mistakes, parsed } from '../mistakes.ts'
import type { Names, References } from '../names.ts'
import { pairsIn } from '../pairs.ts'
import { interfaceName } from '../pim-schema.ts'
import type { Draft, StepFacts } from './read-expectation.ts'
import { checkFrom, type Shapes } from './stream.ts'

const copies = () => int(0, 100_000, 'copies of each datagram')

export function replicationSchema(names: Names, refs: References, { stream }: Shapes, facts: StepFacts) {
  const interfaces = keyed('an interface', interfaceName, copies())
  const node = mapping({
    in: interfaces.exactOptional(),
    out: interfaces.exactOptional(),
    uplinkOut: copies().exactOptional(),
    uplinkIn: copies().exactOptional(),
    overlayOut: copies().exactOptional(),
    overlayIn: copies().exactOptional(),
  })
  const pods = keyed('a role', refs.endpoints, copies())
  const nodes = keyed('a node', refs.node, node)
  return mapping({
    ...stream,
    members: refs.endpoints
      .or(
        leaf<string[]>({ const: 'none' }, (value, problem) =>
          value === 'none' ? [] : problem('bad-members', 'expected endpoints, or none'),
        ),
      )
      .exactOptional(),
    pods: pods.exactOptional(),
    nodes: nodes.exactOptional(),
  }).transform((given, context): Draft<'replication'> => {
    const mistake = mistakes(context, given)
    checkFrom(given, facts, mistake)
    const { members, pods, nodes, ...want } = given
    const senders = want.from ?? facts.senders(want.stream) ?? []
    const listed = explicitCounts(pods, nodes)
    if (listed.length > 0 && members)
      mistake('bad-replication', 'members and counts exclude each other', 'members derives all counts', ['members'])
    if (listed.length > 0) return { ...want, senders: senders.map(pod => ({ pod, counts: listed })) }
    const derived = members ? { pods: members } : facts.members(want.stream)
    if ('unclear' in derived) {
      mistake(
        'unclear-members',
        `who are the members? ${derived.unclear}`,
        'members: [rx, …], or pods: and nodes: with exact counts',
        ['stream'],
      )
      return { ...want, senders: [] }
    }
    return { ...want, senders: senders.map(pod => ({ pod, counts: derivedCounts(names, pod, derived.pods) })) }
  })
}

type Keyed<V> = [keys: readonly string[], value: V]

/** A mapping whose keys are references; each key stands for the pods or the node that it names. */
function keyed<V>(what: string, reference: z.ZodType<string[] | string>, item: z.ZodType<V>): Leaf<Keyed<V>[]> {
  return leaf<Keyed<V>[]>({ type: 'object' }, (value, problem) =>
    pairsIn(value, problem, {
      what: `a mapping from ${what}`,
      key: (name, problem) => {
        const keys = parsed(reference, name, problem)
        return keys === undefined ? undefined : [keys].flat()
      },
      item,
    }),
  )
}

interface NodeCounts {
  in?: Keyed<number>[]
  out?: Keyed<number>[]
  uplinkOut?: number
  uplinkIn?: number
  overlayOut?: number
  overlayIn?: number
}

function explicitCounts(pods: Keyed<number>[] = [], nodes: Keyed<NodeCounts>[] = []): CopyCount[] {
  const ofPods = pods.flatMap(([keys, value]) => keys.map((pod): CopyCount => ({ place: 'pod', pod, copies: value })))
  const ofNodes = nodes.flatMap(([keys, value]) => keys.flatMap(node => nodeCounts(node, value)))
  return [...ofPods, ...ofNodes]
}

function nodeCounts(node: string, counts: NodeCounts): CopyCount[] {
  const all: [CopyCount & { place: 'uplink' | 'overlay' }, number | undefined][] = [
    [{ place: 'uplink', node, direction: 'out', copies: 0 }, counts.uplinkOut],
    [{ place: 'uplink', node, direction: 'in', copies: 0 }, counts.uplinkIn],
    [{ place: 'overlay', node, direction: 'out', copies: 0 }, counts.overlayOut],
    [{ place: 'overlay', node, direction: 'in', copies: 0 }, counts.overlayIn],
  ]
  const ofInterfaces = (['in', 'out'] as const).flatMap(direction =>
    (counts[direction] ?? []).flatMap(([keys, value]) =>
      keys.map((name): CopyCount => ({ place: 'interface', node, interface: name, direction, copies: value })),
    ),
  )
  return [...all.flatMap(([count, copies]) => (copies === undefined ? [] : [{ ...count, copies }])), ...ofInterfaces]
}

/**
 * One copy per member pod, none to any other pod of the case, none back to the sender; one tunnel packet to each remote
 * node with members, none sent on by it (ARCHITECTURE section 4; RFC 4541 §2.1.2).
 */
function derivedCounts(names: Names, sender: string, members: readonly string[]): CopyCount[] {
  const home = names.nodeOf(sender)
  const receivers = new Set(members.filter(pod => pod !== sender))
  const remote = new Set([...receivers].map(pod => names.nodeOf(pod)).filter(node => node !== home))
  const pods = [...new Set([...names.roles.values()].flat())].filter(pod => names.nodeOf(pod) !== UNDERLAY)
  const counts: CopyCount[] = pods.map(pod => ({ place: 'pod', pod, copies: receivers.has(pod) ? 1 : 0 }))
  for (const node of names.nodes) {
    const outgoing = node === home ? remote.size : 0
    const incoming = remote.has(node) ? 1 : 0
    counts.push(
      ...nodeCounts(node, { uplinkOut: outgoing, uplinkIn: incoming, overlayOut: outgoing, overlayIn: incoming }),
    )
  }
  return counts
}
