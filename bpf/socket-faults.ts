import type { Fault } from './faults.ts'

const metrics = (name: string, requirements: string[], description: string): Fault => ({
  name,
  place: 'metrics',
  requirements,
  description,
})

/** Bit n of the socket counters' fault mask is entry n: the order is that of enum socket_fault in socket-faults.h. */
export const SOCKET_COUNTER_FAULTS: readonly Fault[] = [
  metrics('drops-as-received', ['A22'], 'datagrams that found no room at a socket are counted as received too'),
  metrics(
    'drops-unseen',
    ['A22'],
    'datagrams that found no room at a socket are counted as received, and not as dropped',
  ),
  metrics('bytes-ip', ['A21'], 'bytes of a socket include IP and UDP headers'),
  metrics('bytes-frame', ['A21'], 'bytes of a socket include all headers'),
  metrics(
    'loop-counted',
    ['A21'],
    "what a sender's own kernel loops back to a member on its host is counted as sent once more",
  ),
  metrics('senders-merged', ['A23'], 'what a socket receives from a second sender is in the row of the first'),
  metrics('every-100th-segment-uncounted', ['A21'], 'one segment in a hundred is not counted'),
  metrics(
    'labels-of-packet',
    ['A23'],
    "labels say the packet's source and destination, not the socket's side and the other",
  ),
  metrics('burst-each-segment', ['A24'], 'each segment of a burst is a burst of its own'),
]

/** Faults of what is made of the counters: rows, labels, text. */
export const SOCKET_TEXT_FAULTS: readonly Fault[] = [
  metrics('sockets-swapped', ['A21', 'A23'], 'the counters of two pods are exchanged'),
  metrics(
    'doubled-after-restart',
    ['A25'],
    'an agent that starts anew adds what the counters say to what they said before',
  ),
  metrics('reset-by-scrape', ['A25'], 'counters start from zero at each scrape'),
  metrics('scrape-stale', ['A25'], 'the second scrape, and those after it, get the answer of the first'),
  metrics('other-nodes-served', ['A26'], "an agent serves the rows of other nodes' pods as well"),
  metrics('rx-tx-exchanged', ['A21'], 'what was sent is in the counters of what was received, and the other way round'),
  metrics('peer-unnamed', ['A23'], 'dstpod, dstnamespace and dstworkload are empty where the sender is known'),
  metrics('unicast-unserved', ['A21'], 'sockets that exchange with no group have no rows'),
  metrics('latency-buckets-apart', ['A28'], 'buckets of the latency histogram are not cumulative'),
  metrics('latency-microseconds', ['A28'], 'the sum of the latency histogram is in microseconds'),
  metrics('reads-unseen', ['A28'], 'the latency histogram has every second datagram that is read'),
  metrics('counters-are-gauges', ['A25'], 'the exposition says gauge of what is a counter'),
  metrics(
    'copies-count-datagrams',
    ['A27'],
    "the datapath's copies are counted once a datagram, however many there are",
  ),
  metrics('drop-reasons-mixed-up', ['A27'], "the datapath's drops are counted under the reason that follows"),
  metrics('memberships-never-fall', ['A27'], 'the gauge of subscribers keeps its highest value'),
]

export const SOCKET_FAULTS: readonly Fault[] = [...SOCKET_COUNTER_FAULTS, ...SOCKET_TEXT_FAULTS]

/** Of these faults those of metrics. */
export function socketFaultsOf(names: readonly string[]): string[] {
  return names.filter(name => SOCKET_FAULTS.some(fault => fault.name === name))
}

export function socketFaultMask(names: readonly string[]): bigint {
  return names.reduce((mask, name) => {
    const bit = SOCKET_COUNTER_FAULTS.findIndex(fault => fault.name === name)
    return bit < 0 ? mask : mask | (1n << BigInt(bit))
  }, 0n)
}
