import { type TopologyGiven, UNDERLAY } from './header-schema.ts'
import { kernelNeedsOf } from './kernel-needs.ts'
import type { QuerierTimers, RouterSetup, Topology } from './plan-types.ts'

/** What one case on one target asks for. */
export interface PoolWish {
  id: string
  target: string
  topology: TopologyGiven
  needs: readonly string[]
}

/** Where a case runs. */
export interface Place {
  stage: string
  target: string
  topology: Topology
  /** Role → pods. */
  roles: Map<string, string[]>
}

/** More pods than this on one node make a stage of its own, shared by cases of the same shape. */
const SHARED_PODS_PER_NODE = 16

/**
 * Cases of a target that differ only in their roles share one stage: the union of their nodes, as many pods on each as
 * any of them needs, `<node>-<k>`. Querier, encryption, metrics, `private`, large pod counts and what a kernel must have keep
 * stages apart.
 */
export function planPools(
  wishes: readonly PoolWish[],
  { timers, router }: { timers: QuerierTimers; router: RouterSetup },
): Map<string, Place> {
  const pools = new Map<string, PoolWish[]>()
  for (const wish of [...wishes].sort(byTargetAndId)) {
    const key = JSON.stringify([
      wish.target,
      querierOf(wish.topology, timers),
      wish.topology.private && wish.id,
      shapeOf(wish.topology),
      wish.topology.encryption,
      wish.topology.metrics,
      kernelNeedsOf(wish.needs),
    ])
    pools.set(key, [...(pools.get(key) ?? []), wish])
  }
  const places = new Map<string, Place>()
  const numbers = new Map<string, number>()
  for (const members of pools.values()) {
    const target = members[0]!.target
    const number = (numbers.get(target) ?? 0) + 1
    numbers.set(target, number)
    const topology = { ...poolTopology(members, timers), ...(target === 'router' ? { router } : {}) }
    for (const wish of members)
      places.set(placeKey(wish), { stage: `${target}-${number}`, target, topology, roles: rolesOf(wish.topology) })
  }
  return places
}

export function placeKey(wish: { id: string; target: string }): string {
  return `${wish.target} ${wish.id}`
}

function byTargetAndId(a: PoolWish, b: PoolWish): number {
  if (a.target !== b.target) return a.target < b.target ? -1 : 1
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0
}

function querierOf(topology: TopologyGiven, timers: QuerierTimers): QuerierTimers | undefined {
  if (topology.querier === false) return undefined
  return { ...timers, ...(topology.querier === true ? {} : (topology.querier as Partial<QuerierTimers>)) }
}

function podsPerNode(topology: TopologyGiven): Map<string, number> {
  const pods = new Map(topology.nodes.map(node => [node, 0]))
  for (const { node, count } of Object.values(topology.endpoints)) pods.set(node, (pods.get(node) ?? 0) + count)
  return pods
}

/** Empty for what fits the shared stage. */
function shapeOf(topology: TopologyGiven): string {
  const pods = podsPerNode(topology)
  return Math.max(...pods.values()) > SHARED_PODS_PER_NODE ? JSON.stringify([...pods]) : ''
}

function poolTopology(members: readonly PoolWish[], timers: QuerierTimers): Topology {
  const most = new Map<string, number>()
  for (const { topology } of members)
    for (const [node, count] of podsPerNode(topology)) most.set(node, Math.max(most.get(node) ?? 0, count))
  const places = [...most.keys()].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
  const nodes = places.filter(place => place !== UNDERLAY)
  const pods = places.flatMap(node =>
    Array.from({ length: most.get(node) ?? 0 }, (_, k) => ({ name: `${node}-${k + 1}`, node })),
  )
  const first = members[0]!
  const querier = querierOf(first.topology, timers)
  const { encryption } = first.topology
  return {
    nodes,
    pods,
    ...(querier ? { querier } : {}),
    ...(encryption ? { encryption } : {}),
    ...(first.topology.metrics ? { metrics: true as const } : {}),
    ...(first.topology.private ? { private: first.id } : {}),
  }
}

/** Pods of each role: on each node, in the order in which the roles are written. */
export function rolesOf(topology: TopologyGiven): Map<string, string[]> {
  const used = new Map<string, number>()
  const roles = new Map<string, string[]>()
  for (const [role, { node, count }] of Object.entries(topology.endpoints)) {
    const first = used.get(node) ?? 0
    used.set(node, first + count)
    roles.set(
      role,
      Array.from({ length: count }, (_, k) => `${node}-${first + k + 1}`),
    )
  }
  return roles
}
