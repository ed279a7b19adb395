import { readCounters, readDrops } from './counters.ts'
import type { DatapathHandle } from './datapath.ts'
import type { Family, Sample } from './exposition.ts'
import { readSubscribers } from './subscribers.ts'

const PREFIX = 'castproof_datapath'

/** What the node's own programs count, and whom their tables hold. */
export function datapathFamilies(handle: DatapathHandle, faults: readonly string[]): Family[] {
  const counters = readCounters(handle)
  const copies = faults.includes('copies-count-datagrams') ? counters.datagrams : counters['local-copies']
  return [
    counter('datagrams', 'multicast datagrams that came to be replicated', [one(counters.datagrams)]),
    counter('copies', 'copies made of them, to pods and to other nodes', [
      { labels: { to: 'pod' }, value: copies },
      { labels: { to: 'node' }, value: counters['tunnel-copies'] },
    ]),
    counter('igmp_messages', 'IGMP messages of pods', [one(counters.igmp)]),
    counter('drops', 'what was dropped, by reason', dropsOf(handle, faults)),
    { name: `${PREFIX}_memberships`, type: 'gauge', help: 'subscribers of a group', samples: memberships(handle) },
  ]
}

function counter(name: string, help: string, samples: Sample[]): Family {
  return { name: `${PREFIX}_${name}_total`, type: 'counter', help, samples }
}

function one(value: number): Sample {
  return { labels: {}, value }
}

function dropsOf(handle: DatapathHandle, faults: readonly string[]): Sample[] {
  const drops = Object.entries(readDrops(handle))
  const shift = faults.includes('drop-reasons-mixed-up') ? 1 : 0
  return drops.map(([, value], i) => ({ labels: { reason: drops[(i + shift) % drops.length]?.[0] ?? '' }, value }))
}

const TYPES = ['Local Endpoint', 'Remote Node'] as const

/** Groups that are enabled, also those that nobody has joined. */
function memberships({ maps }: DatapathHandle): Sample[] {
  return readSubscribers(maps).flatMap(({ group, subscribers }) =>
    TYPES.map(type => ({
      labels: { group, type: type === 'Local Endpoint' ? 'local' : 'remote' },
      value: subscribers.filter(subscriber => subscriber.type === type).length,
    })),
  )
}
