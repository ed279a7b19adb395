import type { Fault } from './faults.ts'

const cache = (name: string, requirements: string[], description: string): Fault => ({
  name,
  place: 'exporter',
  requirements,
  description,
})

/** Bit n of the flow cache's fault mask is entry n: the order is that of enum flow_fault in flow-faults.h. */
export const FLOW_CACHE_FAULTS: readonly Fault[] = [
  cache('factor-zero', ['A04'], 'the replication factor is always 0, whatever was copied'),
  cache('factor-counts-input', ['A04'], 'the replication factor counts the packet that came in as well'),
  cache('factor-stale', ['A04'], 'the replication factor stays what it was for the first copy'),
  cache('replicated-equals-input', ['A05'], 'one copy is counted for each packet, however many there are'),
  cache('replicated-bytes-l2', ['A05'], 'octets of copies include the Ethernet header'),
  cache('bytes-l2', ['A03'], 'octets of a flow include the Ethernet header'),
  cache('bytes-payload', ['A03'], 'octets of a flow leave out the IP and UDP headers'),
  cache('egress-output-zero', ['A06'], 'egress flows have Null as output interface'),
  cache('direction-swapped', ['A07'], 'ingress flows say egress, and the other way round'),
  cache('direction-missing', ['A07'], 'every flow says ingress'),
  cache('multicast-high-bit', ['A08'], 'is-multicast is 0x80: the flags read from the other end'),
  cache('multicast-zero', ['A08'], 'is-multicast is 0 for groups'),
  cache('output-mixed-up', ['A06'], 'some copies are booked to another output interface'),
  cache('ttl-scope-counted', ['A09'], 'packets without TTL left are counted as replicated'),
  cache(
    'rpf-failure-counted',
    ['A10'],
    'packets from the wrong side are counted in the flow of the right input interface',
  ),
  cache('tos-ignored', ['A11'], 'flows of different ToS are one'),
  cache('source-ignored', ['A11'], 'flows of different sources are one'),
  cache('port-ignored', ['A11'], 'flows of different source ports are one'),
  cache('every-100th-uncounted', ['A03'], 'one packet in a hundred is not counted'),
  cache('last-output-uncounted', ['A05'], 'the third copy of a packet is not counted'),
  cache('unicast-is-multicast', ['A12'], 'is-multicast is 1 for unicast'),
  cache('multicast-only-ignored', ['A13'], 'a monitor for multicast alone counts unicast too'),
  cache('fragments-uncounted', ['A14'], 'fragments after the first are not counted'),
  cache('input-missing', ['A06'], 'the input interface is 0'),
]

const exporter = (name: string, requirements: string[], description: string): Fault => ({
  name,
  place: 'exporter',
  requirements,
  description,
})

/** Faults of what is made of the cache: records, templates, messages. */
export const FLOW_EXPORT_FAULTS: readonly Fault[] = [
  exporter('sequence-counts-flows', ['A01'], 'the sequence number counts records instead of messages'),
  exporter('header-count-flowsets', ['A17'], 'the count in the header is of FlowSets instead of records'),
  exporter('template-late', ['A02'], 'data leaves before its template, which comes with the next refresh'),
  exporter('template-once', ['A16'], 'the template is sent once and never refreshed'),
  exporter('active-timeout-cumulative', ['A15'], 'a flow that goes on is exported with all it had before, again'),
  exporter('active-timeout-ignored', ['A15'], 'a flow that goes on is exported when it ends'),
  exporter('times-swapped', ['A15'], 'first and last time stamp are exchanged'),
  exporter('uptime-seconds', ['A15'], 'time stamps are in seconds'),
  exporter('options-missing', ['A18'], 'sampling is not announced'),
  exporter('sampling-scaled', ['A18'], 'counters are multiplied by the sampling interval'),
  exporter('message-lost', ['A01'], 'one message in three never leaves, and the sequence does not tell'),
  exporter('message-doubled', ['A17'], 'every message is sent twice under two sequence numbers'),
  exporter('padding-garbage', ['A17'], 'the octets after the last record of a FlowSet are not zero'),
  exporter('cache-full-silent', ['A19'], 'flows that the full cache has no room for are not reported'),
]

export const FLOW_FAULTS: readonly Fault[] = [...FLOW_CACHE_FAULTS, ...FLOW_EXPORT_FAULTS]

export function flowFaultMask(names: readonly string[]): bigint {
  return names.reduce((mask, name) => {
    const bit = FLOW_CACHE_FAULTS.findIndex(fault => fault.name === name)
    return bit < 0 ? mask : mask | (1n << BigInt(bit))
  }, 0n)
}
