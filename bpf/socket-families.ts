import { formatIpv4, isMulticast } from '../generators/wire/address.ts'
import { type Family, histogram, type Labels, type Sample } from './exposition.ts'
import type { SocketRow } from './socket-stats.ts'

/** How a pod is known, to labels and to whoever sends to it. */
export interface PodName {
  /** Cookie of its network namespace, in decimal; absent where it is not of this kernel. */
  netns?: string
  /** Dotted. */
  address: string
  namespace: string
  pod: string
  workload: string
}

/** A counter of the founding document's families, each of which has every row. */
interface SocketCounter {
  suffix: string
  help: string
  of(row: SocketRow): number
}

const COUNTERS: readonly SocketCounter[] = [
  { suffix: 'consume_misses', help: 'datagrams read whose arrival was not seen', of: row => row.consumeMisses },
  { suffix: 'drops', help: 'segments that found no room at the socket', of: row => row.drops },
  { suffix: 'rxbytes', help: 'UDP payload that the socket took', of: row => row.rx.bytes - row.dropBytes },
  { suffix: 'rxsegs', help: 'segments that the socket took', of: row => row.rx.segs - row.drops },
  { suffix: 'rxbursts', help: 'runs of segments that came less than a millisecond apart', of: row => row.rx.bursts },
  { suffix: 'txbytes', help: 'UDP payload sent', of: row => row.tx.bytes },
  { suffix: 'txsegs', help: 'segments sent', of: row => row.tx.segs },
  { suffix: 'txbursts', help: 'runs of segments that left less than a millisecond apart', of: row => row.tx.bursts },
]

/** The upper bounds of the kernel side's buckets; the last bucket has none. */
const LATENCY_BOUNDS_S = Array.from({ length: 15 }, (_, n) => 2 ** (n + 10) / 1e9)

/** Two sets of names: of what a group is one side of, and of other UDP. */
interface Kind {
  prefix: string
  about: string
  src: string
  dst: string
}

const MULTICAST: Kind = {
  prefix: 'tetragon_socket_stats_udp_mcast',
  about: 'UDP multicast socket',
  src: 'srcmcast',
  dst: 'dstmcast',
}
const UNICAST: Kind = { prefix: 'tetragon_socket_stats_udp', about: 'UDP socket', src: 'srcip', dst: 'dstip' }

export interface SocketFamiliesOptions {
  rows: readonly SocketRow[]
  pods: readonly PodName[]
  latency: boolean
  faults: readonly string[]
}

export function socketFamilies({ rows, pods, latency, faults }: SocketFamiliesOptions): Family[] {
  const has = (fault: string) => faults.includes(fault)
  const type = has('counters-are-gauges') ? 'gauge' : 'counter'
  return [MULTICAST, UNICAST].flatMap(kind => {
    const ours = rows
      .filter(row => kindOf(row) === kind && !(kind === UNICAST && has('unicast-unserved')))
      .flatMap(row => {
        const labels = labelsOf(row, kind, pods, has)
        return labels ? [{ labels, row: has('rx-tx-exchanged') ? exchanged(row) : row }] : []
      })
    const counters = COUNTERS.map(({ suffix, help, of }): Family => {
      const samples = ours.map(({ labels, row }) => ({ labels, value: of(row) }))
      return { name: `${kind.prefix}_${suffix}_total`, type, help: `${kind.about}: ${help}`, samples: summed(samples) }
    })
    return latency ? [...counters, latencyFamily(kind, ours, has)] : counters
  })
}

function kindOf({ local, remote }: SocketRow): Kind {
  return isMulticast(local) || isMulticast(remote) ? MULTICAST : UNICAST
}

/** Seen from the socket: what it receives comes to the group `src` from `dst`, what it sends goes from its address to `dst`. */
function labelsOf(
  { netns, binary, local, remote }: SocketRow,
  kind: Kind,
  pods: readonly PodName[],
  has: (fault: string) => boolean,
): Labels | undefined {
  const own = pods.find(pod => pod.netns === String(netns))
  if (!own) return undefined
  const other = has('peer-unnamed') ? undefined : pods.find(pod => pod.address === formatIpv4(remote))
  return {
    binary,
    [kind.dst]: formatIpv4(remote),
    dstnamespace: other?.namespace ?? '',
    dstpod: other?.pod ?? '',
    dstworkload: other?.workload ?? '',
    namespace: own.namespace,
    pod: own.pod,
    [kind.src]: formatIpv4(local),
    workload: own.workload,
  }
}

function exchanged(row: SocketRow): SocketRow {
  return { ...row, rx: row.tx, tx: row.rx, drops: 0, dropBytes: 0 }
}

/** Two files may be one path, in two containers of a pod. */
function summed(samples: readonly Sample[]): Sample[] {
  const sums = new Map<string, Sample>()
  for (const { labels, value } of samples) {
    const key = JSON.stringify(labels)
    sums.set(key, { labels, value: value + (sums.get(key)?.value ?? 0) })
  }
  return [...sums.values()]
}

function latencyFamily(
  kind: Kind,
  rows: readonly { labels: Labels; row: SocketRow }[],
  has: (fault: string) => boolean,
): Family {
  const perSecond = has('latency-microseconds') ? 1e3 : 1e9
  const samples = rows.flatMap(({ labels, row }) => {
    const counts = has('reads-unseen') ? row.latency.map(count => Math.floor(count / 2)) : row.latency
    const made = histogram(labels, counts, LATENCY_BOUNDS_S, row.latencySumNs / perSecond)
    return has('latency-buckets-apart') ? apart(made, counts) : made
  })
  const help = `${kind.about}: from the arrival of a datagram to its being read`
  return { name: `${kind.prefix}_latency_seconds`, type: 'histogram', help, samples }
}

function apart(samples: readonly Sample[], counts: readonly number[]): Sample[] {
  return samples.map((sample, n) => (sample.suffix === '_bucket' ? { ...sample, value: counts[n] ?? 0 } : sample))
}
