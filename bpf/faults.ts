/** Where a fault lives. */
export type FaultPlace = 'datapath' | 'control plane' | 'encryption' | 'exporter' | 'router' | 'collector' | 'metrics'

/** One way to be wrong on purpose. `requirements`: those that it breaks. */
export interface Fault {
  name: string
  place: FaultPlace
  requirements: readonly string[]
  description: string
}

const datapath = (name: string, requirements: string[], description: string): Fault => ({
  name,
  place: 'datapath',
  requirements,
  description,
})
const controlPlane = (name: string, requirements: string[], description: string): Fault => ({
  name,
  place: 'control plane',
  requirements,
  description,
})

/** Bit n of the datapath's fault mask is entry n: the order is that of enum mcast_fault in faults.h. */
export const DATAPATH_FAULTS: readonly Fault[] = [
  datapath('wrong-group-mac', ['D33'], 'copies carry 01:00:0e instead of 01:00:5e'),
  datapath('duplicate-local', ['D36', 'D38'], 'each local member gets every datagram twice'),
  datapath('copy-to-non-member', ['D01', 'D29'], 'local pods that are no members get a copy too'),
  datapath('copy-back-to-sender', ['D36', 'X20'], 'a sender that is a member gets its own datagrams back'),
  datapath('v2-leave-ignored', ['D01', 'D10'], 'an IGMPv2 Leave changes nothing'),
  datapath('v3-to-in-ignored', ['D01', 'D07', 'D10'], 'CHANGE_TO_INCLUDE_MODE records are skipped'),
  datapath('ssm-allow-ignored', ['D02'], 'ALLOW_NEW_SOURCES records are skipped'),
  datapath('record-stride-8', ['F07', 'F25'], 'every Group Record is taken to be 8 octets long'),
  datapath('checksum-not-verified', ['F01', 'F02', 'F03'], 'the IGMP checksum is not looked at'),
  datapath('tunnel-per-pod', ['D36', 'X23'], 'one tunnel packet per remote member pod instead of per node'),
  datapath('reforward-from-overlay', ['D37'], 'datagrams from the overlay are sent on to other nodes once'),
  datapath('stop-at-dead-member', ['D38'], 'the first copy that fails ends the replication'),
  datapath('first-packet-lost', ['D01'], 'the first datagram after a join does not reach the new member'),
  datapath('no-ageing', ['D20'], 'membership never times out, querier or not'),
  datapath('ttl-decremented', ['D34', 'D36'], 'the TTL of copies is one less'),
  datapath('payload-touched', ['D36'], 'one bit of the last payload octet is flipped'),
  datapath('leak-1ms', ['D01', 'D29'], 'non-members get a copy, 1 ms late'),
  datapath('leak-20ms', ['D01', 'D29'], 'non-members get a copy, 20 ms late'),
  datapath('source-zero-rejected', ['F18'], 'reports from 0.0.0.0 are dropped'),
  datapath('source-list-ignored', ['D02', 'D03', 'D04'], 'a record with sources joins for any source'),
  datapath('block-ignored', ['D05'], 'BLOCK_OLD_SOURCES records are skipped'),
  datapath('exclude-treated-as-any', ['D04', 'D08'], 'EXCLUDE{S} is taken for EXCLUDE{}'),
  datapath('v2-report-length-unchecked', ['F03'], 'a checksum over the first 8 octets alone is accepted'),
  datapath('truncated-record-read', ['F24'], 'a record that ends beyond the message is used as far as it goes'),
  datapath('partial-report-applied', ['F23'], 'the records before a missing one are applied'),
  datapath('more-than-24-records-refused', ['F26'], 'a report with more than 24 records is refused'),
  datapath('host-identity-by-source-only', ['D26'], 'a pod can leave in the name of another'),
  datapath('igmp-forwarded-to-pods', ['D24', 'D27'], "IGMP of one pod reaches the node's other pods"),
  datapath('mac-based-lookup', ['D30'], 'groups that share 23 bits are taken for one another'),
  datapath('ip-checksum-not-verified', ['D31', 'F28'], 'the IP header checksum is not looked at'),
  datapath('multicast-source-forwarded', ['D35'], 'datagrams with a multicast source address are replicated'),
  datapath('vxlan-flag-unchecked', ['O04'], 'VXLAN packets without the I flag are accepted'),
  datapath('vni-unchecked', ['O04'], 'any VNI is accepted'),
  datapath('outer-source-unchecked', ['O04'], 'tunnel packets from unknown nodes are accepted'),
  datapath('vni-wrong', ['O01'], 'nodes talk to each other on the next VNI'),
  datapath('leave-affects-all', ['D26', 'D38'], "one member's leave ends the membership of all of the node"),
  datapath('dead-pod-kept', ['D20'], 'memberships of a pod that is gone stay'),
  datapath('member-limit-off-by-one', ['L02'], 'the 1024th member of a group is refused'),
  datapath('drop-every-1000th', ['D01'], 'each thousandth datagram is lost'),
  datapath('reorder', ['D36'], 'each eighth datagram comes 2 ms late'),
  datapath('fragments-dropped', ['D36'], 'IP fragments are not replicated'),
  datapath('unknown-type-joins', ['F08'], 'a record of unknown type joins its group'),
  datapath('aux-data-not-skipped', ['F07'], 'Aux Data Len is ignored when stepping to the next record'),
  datapath('trailing-octets-rejected', ['F04', 'F05'], 'octets after the message make it invalid'),
  datapath('drops-uncounted', ['D01', 'L01', 'L02'], 'no drop is counted'),
  datapath('router-alert-required', ['F17'], 'IGMP without the Router Alert option is dropped'),
  datapath('igmp-ttl-checked', ['F15'], 'IGMP with a TTL other than 1 is dropped'),
  datapath('reserved-bits-rejected', ['F13'], 'a report with reserved bits set is invalid'),
  datapath('v1-report-ignored', ['D01'], 'an IGMPv1 report changes nothing'),
  datapath('v2-report-ignored', ['D01'], 'an IGMPv2 report changes nothing'),
  datapath('only-first-record', ['F26'], 'the records of a report after the first are skipped'),
  datapath('filter-change-interrupts', ['D02', 'D08'], 'the first datagram after a change of a filter is lost'),
  datapath('mode-change-ignored', ['D04', 'D07', 'D08'], 'a filter keeps the mode it was made with'),
  datapath('last-host-wins', ['D08', 'D32'], 'hosts behind one interface share one filter'),
  datapath('current-state-ignored', ['D03', 'D04', 'D20'], 'IS_IN and IS_EX records are skipped'),
  datapath('igmp-forwarded-to-overlay', ['D24', 'D27'], 'IGMP of a pod reaches the pods of other nodes'),
  datapath('only-64-sources', ['F27'], 'the sources of a record after the 64th are skipped'),
  datapath('outer-checksum-not-verified', ['O03'], 'tunnel packets with a wrong UDP checksum are accepted'),
  datapath('large-datagrams-dropped', ['D36'], 'datagrams of more than 1400 octets are not replicated'),
  datapath('tos-cleared', ['D36'], 'the Type of Service octet of copies is zero'),
  datapath('zero-udp-checksum-dropped', ['D36'], 'datagrams that carry no UDP checksum are not replicated'),
]

export const CONTROL_PLANE_FAULTS: readonly Fault[] = [
  controlPlane('remote-leave-ignored', ['D36', 'X13'], 'a node without members left stays subscribed on the others'),
  controlPlane('remote-join-lost', ['D36'], 'a new member is not told to the other nodes'),
  controlPlane('remote-join-late', ['D36'], 'a new member is told to the other nodes 100 ms late'),
  controlPlane('nodes-without-members-told', ['D36', 'X13'], 'a group that has a member is sent to every node'),
  controlPlane('group-limit-off-by-one', ['L01'], 'the 1024th group is refused'),
  controlPlane('querier-silent', ['D10', 'D20'], 'the querier sends no queries'),
  controlPlane('leave-not-queried', ['D10'], 'the querier does not ask who is left after a leave'),
  controlPlane('leave-queried-once', ['D10'], 'the querier asks once, not Last Member Query Count times'),
  controlPlane('query-without-router-alert', ['F14'], 'queries carry no Router Alert option'),
]

export const FAULTS: readonly Fault[] = [...DATAPATH_FAULTS, ...CONTROL_PLANE_FAULTS]

/** The mask for `config.fault_mask`; names of the control plane's faults set no bit. Throws RangeError on an unknown one. */
export function faultMask(names: readonly string[]): bigint {
  let mask = 0n
  for (const name of names) {
    if (!FAULTS.some(fault => fault.name === name)) throw new RangeError(`unknown fault: ${name}`)
    const bit = DATAPATH_FAULTS.findIndex(fault => fault.name === name)
    if (bit >= 0) mask |= 1n << BigInt(bit)
  }
  return mask
}
