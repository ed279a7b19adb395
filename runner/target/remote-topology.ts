import { UNDERLAY } from '../suite/header-schema.ts'
import type { Topology } from '../suite/plan-types.ts'

export interface Places {
  /** `name` as suites say it, `place` as the target does. */
  nodes: { name: string; place: string }[]
  pods: { name: string; node: string; place: string }[]
}

/** Which of the nodes and pods that are there stand for those that suites speak of: in order. */
export function placesFor(topology: Topology, podsByNode: ReadonlyMap<string, readonly string[]>): Places {
  const order = nodeOrder(topology, podsByNode)
  const nodes = topology.nodes.map((name, i) => ({ name, place: order[i] ?? '' }))
  const used = new Map<string, number>()
  const pods = topology.pods.map(({ name, node }) => {
    const place = nodes.find(item => item.name === node)?.place ?? ''
    const k = used.get(place) ?? 0
    used.set(place, k + 1)
    return { name, node, place: podsByNode.get(place)?.[k] ?? '' }
  })
  return { nodes, pods }
}

/** Why there are too few of them, or what nobody but a bed of ours has. */
export function refusalOf(
  topology: Topology,
  podsByNode: ReadonlyMap<string, readonly string[]>,
  what: string,
): string | undefined {
  if (topology.encryption) return `needs encryption that is switched from here, ${what} has its own`
  if (topology.querier) return `needs a querier whose timers are set, ${what} has none`
  if (topology.pods.some(pod => pod.node === UNDERLAY)) return `needs a stranger on the underlay, ${what} has none`
  if (topology.nodes.length > podsByNode.size)
    return `needs ${topology.nodes.length} nodes, ${what} has ${podsByNode.size}`
  const order = nodeOrder(topology, podsByNode)
  const short = topology.nodes.find((node, i) => podsOn(topology, node) > (podsByNode.get(order[i] ?? '')?.length ?? 0))
  return short === undefined
    ? undefined
    : `needs ${podsOn(topology, short)} pods on one node, ${what} has fewer on ${order[topology.nodes.indexOf(short)]}`
}

/** Nodes with the most pods serve where the most are wanted; equals stay in order. */
function nodeOrder(topology: Topology, podsByNode: ReadonlyMap<string, readonly string[]>): string[] {
  const wishes = topology.nodes.map((node, i) => ({ i, pods: podsOn(topology, node) })).sort((a, b) => b.pods - a.pods)
  const richest = [...podsByNode].map(([name, pods]) => ({ name, pods: pods.length })).sort((a, b) => b.pods - a.pods)
  const order: string[] = []
  for (const [rank, { i }] of wishes.entries()) order[i] = richest[rank]?.name ?? ''
  return order
}

function podsOn(topology: Topology, node: string): number {
  return topology.pods.filter(pod => pod.node === node).length
}
