/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the programs and maps.ts both read; datapath.bpf.test.ts compares the two through BTF. */
#ifndef CASTPROOF_SHARED_H
#define CASTPROOF_SHARED_H

#include <linux/types.h>

#define MCAST_GROUPS_MAX 1024
#define MCAST_MEMBERS_MAX 1024
#define MCAST_NODES_MAX 1024
#define MCAST_PODS_MAX 4096
/* A sweep looks at every bucket, filled or not. */
#define MCAST_HOSTS_MAX (1 << 16)
#define MCAST_SOURCES_MAX (1 << 17)
#define LATE_BYTES_MAX 1600

/* Bit of mcast_member.target: the rest is an index into `nodes`, else it is a veth's ifindex. */
#define TARGET_REMOTE (1U << 31)

/* Set before load, constant after: the verifier removes what they switch off. */
struct mcast_config {
	__u64 fault_mask; /* of enum mcast_fault */
	/* RFC 3376 sections 8.4 and 8.10; 0 without a querier: changes apply at once and nothing ages. */
	__u64 membership_interval_ns;
	__u64 last_member_query_time_ns;
	__u32 vni;
	/* Members served before the packet queues for the next slice: their copies are delivered while in the cache. */
	__u32 slice_members;
	/* Not 0: unicast goes up the node's own stack, which knows services, probes and the routes to other nodes' pods. */
	__u32 unicast_by_kernel;
	__u32 reserved;
};

enum mcast_filter_mode {
	MODE_INCLUDE,
	MODE_EXCLUDE,
};

/*
 * A member of a group. A veth receives a source S iff some host behind it wants it: an INCLUDE host that lists S, or an
 * EXCLUDE host that does not. `exclude_hosts` counts the latter kind, `filters` the entries of map `filters` for the
 * veth: none means that nothing needs to be looked up.
 */
struct mcast_member {
	__u32 target; /* 0: free row */
	__u16 exclude_hosts;
	__u16 filters; /* of a remote node: how many pods it said are members */
};

/* Rows are never moved, so that a copy loop on another CPU neither skips nor doubles a member. */
struct mcast_table {
	__be32 group;
	__u32 rows;  /* every row in use is below */
	__u32 count; /* rows in use */
	__u32 local; /* of those, veths */
	struct mcast_member members[MCAST_MEMBERS_MAX];
};

struct mcast_pod {
	__be32 address;
	__u8 mac[6];
	__u8 node_mac[6];
};

struct mcast_settings {
	__u32 overlay_ifindex;
	__u32 slice_ifindex; /* 0: no device to queue slices on */
	__be32 router; /* tunnel end of encrypted unicast between pods; 0: it goes into the overlay as it is */
};

struct mcast_route_key {
	__u32 prefix_bits;
	__be32 address;
};

struct mcast_host_key {
	__be32 group;
	__u32 ifindex;
	__be32 host;
};

/* RFC 3376 section 6.2.1, of one host behind one veth. */
struct mcast_host {
	__u32 mode;
	__be32 first;      /* head of the list of sources, 0: none */
	__u64 expires_ns;  /* the group timer, 0: does not run */
};

struct mcast_source_key {
	__be32 group;
	__u32 ifindex;
	__be32 host;
	__be32 source;
};

struct mcast_source {
	__be32 next;
	__u8 blocked; /* in set Y of EXCLUDE(X,Y): its timer is zero */
	__u8 counted; /* how `filters` counts it: enum mcast_counted */
	__u8 reserved[2];
	__u64 mark; /* of the record that listed it last */
	__u64 expires_ns;
};

struct mcast_filter_key {
	__be32 group;
	__u32 ifindex;
	__be32 source;
};

struct mcast_filter {
	__u32 includes;
	__u32 excludes;
};

enum mcast_event_kind {
	EVENT_LOCAL_COUNT = 1, /* value: veths that are members of the group */
	EVENT_ENABLED,
	EVENT_DISABLED,
	EVENT_QUERY, /* value: ifindex of the veth to ask; source 0: the whole group */
};

struct mcast_event {
	__u32 kind;
	__be32 group;
	__u32 value;
	__be32 source;
};

enum mcast_command_kind {
	COMMAND_ENABLE = 1, /* group, value: free slot */
	COMMAND_DISABLE,    /* group */
	COMMAND_ADD_NODE,   /* group, value: index into `nodes`, pods */
	COMMAND_REMOVE_NODE,
	COMMAND_DETACH,     /* value: ifindex */
	COMMAND_START_AGEING,
};

struct mcast_command {
	__u32 kind;
	__be32 group;
	__u32 value;
	__u32 pods;
	__u32 slot;     /* of `commands`: one for each thread that gives commands */
	__u32 sequence; /* `commands` shows it when the command is done */
	__u32 reserved[2];
};

enum mcast_counter {
	COUNTER_DATAGRAMS,
	COUNTER_LOCAL_COPIES,
	COUNTER_TUNNEL_COPIES,
	COUNTER_SLICES,
	COUNTER_UNICAST,
	COUNTER_IGMP,
	COUNTER_RECORDS,
	COUNTER_MAX,
};

/* A frame the control plane sends later: faults only. */
struct mcast_late {
	__u32 ifindex;
	__u32 delay_us;
	__u32 length;
	__u8 bytes[LATE_BYTES_MAX];
};

_Static_assert(sizeof(struct mcast_member) == 8, "the copy loop reads 8 members a cache line");
_Static_assert(sizeof(struct mcast_command) == 32, "maps.ts writes 32 bytes");
_Static_assert(sizeof(struct mcast_source) == 24, "maps.ts reads 24 bytes");

#endif
