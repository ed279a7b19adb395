import { MapsProcess, type Pass, passAll, passDatapath } from './maps-process.ts'
import type { MetricsAnswer, MetricsConfig, MetricsRequest } from './metrics-process.ts'
import type { MetricsHandle } from './node-metrics.ts'
import type { PodName } from './socket-families.ts'

/** Where the founding document's agents are scraped. */
export const METRICS_PORT = 2112

/** What serves `/metrics` on each node, in a process that is not the caller's. */
export interface MetricsServer {
  /** The pods of all nodes: what labels say. */
  name(pods: readonly PodName[]): Promise<void>
  /** A node's agent dies and starts anew from the node's maps. */
  restart(node: string): Promise<void>
  /** Before the maps are closed: its process uses their file descriptors. */
  close(): Promise<void>
}

export async function startMetrics(nodes: readonly MetricsHandle[], port = METRICS_PORT): Promise<MetricsServer> {
  const configOf = (pass: Pass): MetricsConfig => ({ nodes: nodes.map(node => renumber(node, pass)), port })
  const child = new MapsProcess<MetricsRequest, MetricsAnswer>('metrics-process', 'metrics server', configOf)
  await child.started
  return {
    name: async pods => void (await child.ask({ do: 'pods', pods: [...pods] })),
    restart: async node => void (await child.ask({ do: 'restart', node })),
    close: () => child.close(),
  }
}

function renumber(node: MetricsHandle, pass: Pass): MetricsHandle {
  return { ...node, datapath: passDatapath(node.datapath, pass), sockets: passAll(node.sockets, pass) }
}
