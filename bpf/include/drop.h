/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Every reason a packet, a record or a copy is not forwarded, by name. */
#ifndef CASTPROOF_DROP_H
#define CASTPROOF_DROP_H

#include "maps.h"

enum mcast_drop {
	DROP_NOT_IPV4,              /* ARP, IPv6, VLAN-tagged: neighbours are fixed, pods are untagged */
	DROP_IP_MALFORMED,          /* version, header length, total length (RFC 1122 section 3.2.1) */
	DROP_IP_CHECKSUM,           /* RFC 1122 section 3.2.1.2 */
	DROP_IP_SOURCE,             /* multicast, broadcast or loopback source (RFC 1122 section 3.2.1.3) */
	DROP_IP_TTL_ZERO,           /* RFC 1122 section 3.2.1.7 */
	DROP_NO_ROUTE,              /* unicast to an address that is no pod's */
	DROP_LINK_LOCAL_GROUP,      /* 224.0.0.0/24 */
	DROP_GROUP_NOT_ENABLED,
	DROP_NO_MEMBERS,            /* nobody wants this source of this group */
	DROP_IGMP_MALFORMED,        /* too short, too long, a record beyond the end (RFC 3376 section 4.2) */
	DROP_IGMP_CHECKSUM,         /* RFC 3376 section 4.2.2 */
	DROP_IGMP_FRAGMENT,
	DROP_IGMP_QUERY_FROM_POD,   /* RFC 3376 section 9.1: a pod must not become querier */
	DROP_IGMP_TYPE_UNKNOWN,     /* RFC 3376 section 4 */
	DROP_IGMP_FROM_OVERLAY,     /* IGMP never leaves its node */
	DROP_RECORD_TYPE_UNKNOWN,   /* RFC 3376 section 4.2.12; counted per record */
	DROP_RECORD_NOT_ENABLED,    /* a record for a group not enabled; counted per record */
	DROP_MEMBER_LIMIT,          /* the 1025th member of a group; counted per record */
	DROP_GROUP_LIMIT,           /* the 1025th group; counted per attempt */
	DROP_HOST_LIMIT,            /* no memory for a host's state; counted per record */
	DROP_SOURCE_LIMIT,          /* no memory for a source; counted per source */
	DROP_STATE_BUSY,            /* the state's lock was not free in time */
	DROP_OUTER_SOURCE,          /* the tunnel packet came from an unknown node */
	DROP_VNI,                   /* RFC 7348 section 5 */
	DROP_VXLAN_FLAG,            /* I flag not set (RFC 7348 section 5) */
	DROP_MEMBER_GONE,           /* a copy for a veth that no longer exists; this and the next three per copy */
	DROP_MEMBER_DOWN,
	DROP_MEMBER_QUEUE_FULL,
	DROP_COPY_FAILED,
	DROP_TUNNEL_KEY,            /* the tunnel key could not be read or set */
	DROP_EVENT_LOST,            /* a membership event found the ring buffer full: the control plane re-reads the tables */
	DROP_NOT_ENCRYPTED,         /* unicast of another node in clear, where it must come in ESP */
	DROP_FAULT,                 /* dropped by a fault that is switched on */
	DROP_MAX,
};

/* Keeps in BTF what only user space uses by name. */
const volatile struct {
	enum mcast_fault fault;
	enum mcast_drop drop;
	enum mcast_counter counter;
	enum mcast_command_kind command;
	enum mcast_event_kind event_kind;
	struct mcast_event event[0];
	struct mcast_late late[0];
} mcast_names SEC(".rodata.names") = {};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DROP_MAX);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTER_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count_drop(__u32 reason)
{
	__u64 *value = bpf_map_lookup_elem(&drops, &reason);

	if (value && !FAULT(DROPS_UNCOUNTED))
		*value += 1;
}

static __always_inline int drop(__u32 reason)
{
	count_drop(reason);
	return TC_ACT_SHOT;
}

static __always_inline void count(__u32 counter, __u64 n)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		*value += n;
}

#endif
