import type { Datapath } from '../../bpf/datapath.ts'
import { METRICS_PORT, type MetricsServer, startMetrics } from '../../bpf/metrics.ts'
import type { PodName } from '../../bpf/socket-families.ts'
import { SocketStats } from '../../bpf/socket-stats.ts'
import { formatIpv4 } from '../../generators/wire/address.ts'
import { probe } from '../probe.ts'
import { readMetrics } from '../read-metrics.ts'
import type { Bed, BedPod } from './bed.ts'

/** Counters of the sockets in a bed's pods, and what serves them and the datapaths' on each node. */
export class NodeMetricsOfBed {
  readonly #bed: Bed
  readonly #sockets: readonly SocketStats[]
  readonly #server: MetricsServer

  private constructor(bed: Bed, sockets: readonly SocketStats[], server: MetricsServer) {
    this.#bed = bed
    this.#sockets = sockets
    this.#server = server
  }

  /** Sockets made from now on are counted. */
  static async start(
    bed: Bed,
    datapaths: ReadonlyMap<string, Datapath>,
    faults: readonly string[],
  ): Promise<NodeMetricsOfBed> {
    const latency = (await probe(['tracing'])).some(({ ok }) => ok)
    const sockets: SocketStats[] = []
    try {
      const names: PodName[] = []
      const handles = [...datapaths].map(([node, datapath]) => {
        const stats = SocketStats.load({ faults, latency })
        sockets.push(stats)
        for (const pod of ownPods(bed, node)) names.push({ ...nameOf(pod), netns: String(stats.addPod(pod.ns)) })
        return { datapath: datapath.handle(), sockets: stats.maps, latency, faults }
      })
      const server = await startMetrics(handles)
      await server.name(names)
      return new NodeMetricsOfBed(bed, sockets, server)
    } catch (error) {
      for (const stats of sockets) stats.close()
      throw error
    }
  }

  /** As Prometheus would, from inside the node. */
  async read(node: string): Promise<string> {
    const place = this.#bed.nodes.get(node)
    if (!place) throw new RangeError(`the site has no node ${node}`)
    return readMetrics(place.ns, METRICS_PORT)
  }

  restart(node: string): Promise<void> {
    return this.#server.restart(node)
  }

  async close(): Promise<void> {
    await this.#server.close()
    for (const stats of this.#sockets) stats.close()
  }
}

/** Where many pods share a namespace, a socket in it is nobody's. */
function ownPods(bed: Bed, node: string): BedPod[] {
  return bed.servedPods.filter(pod => pod.node.name === node && !pod.shared)
}

/** As a cluster would name the pods of a Deployment: `n1-2` is one of `n1`. */
export function labelsOf(pod: Pick<BedPod, 'name'>): { namespace: string; pod: string; workload: string } {
  return { namespace: 'default', pod: pod.name, workload: pod.name.replace(/-[^-]*$/, '') }
}

function nameOf(pod: BedPod): PodName {
  return { address: formatIpv4(pod.address), ...labelsOf(pod) }
}
