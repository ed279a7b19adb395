import type { AgentConnection } from '../../agent/connection.ts'
import type { RoundTrip } from '../../run-directory.ts'

/** A place that unicast goes to and comes from. */
export interface Place {
  name: string
  address: string
  agent: AgentConnection
}

/** UDP round trips between every two places, all at once: whether there is a network at all that multicast could fail on. */
export async function healthOf(places: readonly Place[]): Promise<RoundTrip[]> {
  const ports = await Promise.all(places.map(({ agent }) => agent.ask('echo', {}).answer))
  const to = places.map(({ address }, i) => ({ address, port: ports[i]?.port ?? 0 }))
  const rows = await Promise.all(places.map(({ agent }) => agent.ask('round-trips', { to }).answer))
  return rows.flatMap(({ ms }, i) =>
    ms.flatMap((trip, k) => (i === k ? [] : [{ from: places[i]?.name ?? '', to: places[k]?.name ?? '', ms: trip }])),
  )
}

/** One line, as `cilium-health status` would sum up. */
export function healthText(health: readonly RoundTrip[]): string {
  const answered = health.flatMap(({ ms }) => (ms === null ? [] : [ms])).sort((a, b) => a - b)
  const silent = health.filter(({ ms }) => ms === null)
  const middle = answered[Math.floor(answered.length / 2)]
  const trips = middle === undefined ? '' : `, half within ${middle.toFixed(1)} ms`
  const missing = silent.slice(0, 4).map(({ from, to }) => `${from} to ${to}`)
  return `unicast: ${answered.length} of ${health.length} ways answer${trips}${silent.length > 0 ? `; not ${missing.join(', ')}${silent.length > 4 ? ', …' : ''}` : ''}`
}
