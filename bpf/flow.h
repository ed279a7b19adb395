/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What flow.bpf.c and flow-cache.ts both read; flow.bpf.test.ts compares the two through BTF. */
#ifndef CASTPROOF_FLOW_H
#define CASTPROOF_FLOW_H

#include <linux/bpf.h>
#include <linux/types.h>

#define FLOW_INTERFACES_MAX 4096

/* Bits of flow_config.match: a key field that the record does not match is zero in every key. */
enum flow_match {
	MATCH_SRC = 1 << 0,
	MATCH_DST = 1 << 1,
	MATCH_SRC_PORT = 1 << 2,
	MATCH_DST_PORT = 1 << 3,
	MATCH_PROTOCOL = 1 << 4,
	MATCH_TOS = 1 << 5,
	MATCH_INPUT = 1 << 6,
	MATCH_OUTPUT = 1 << 7,
	MATCH_MULTICAST = 1 << 8,
	MATCH_DIRECTION = 1 << 9,
};

/* What the monitors of an interface look at. */
enum flow_monitor {
	MONITOR_INPUT = 1 << 0,
	MONITOR_OUTPUT = 1 << 1,
	MONITOR_INPUT_MULTICAST_ONLY = 1 << 2,
	MONITOR_OUTPUT_MULTICAST_ONLY = 1 << 3,
};

/* Set before load, constant after. */
struct flow_config {
	__u64 fault_mask;	/* of enum flow_fault */
	__u32 match;		/* of enum flow_match */
	__u32 output_counters;	/* whether copies are booked to the ingress flow */
	__u32 sampling;		/* one packet of so many; 1: all */
	__u32 reserved;
};

struct flow_key {
	__be32 src;
	__be32 dst;
	__be16 src_port;
	__be16 dst_port;
	__u32 input;
	__u32 output;
	__u8 protocol;
	__u8 tos;
	__u8 multicast;
	__u8 direction; /* 0 ingress, 1 egress: IANA flowDirection */
};

/* Counted since the epoch began. */
struct flow_counters {
	__u64 packets;
	__u64 bytes; /* of IP packets */
	__u64 replicated_packets;
	__u64 replicated_bytes;
	__u64 first_ns; /* CLOCK_MONOTONIC */
	__u64 last_ns;
	__u32 epoch;
	__u32 factor; /* most copies of one packet */
	__u32 output; /* of the last packet or copy */
	__u32 reserved;
};

/* User space reads the epoch that has ended while the programs count in the next one. */
struct flow_value {
	struct bpf_spin_lock lock;
	__u32 reserved;
	struct flow_counters epochs[2];
};

/* The packet that this CPU forwards just now: its copies are made before the next one is received. */
struct flow_packet {
	struct flow_key key;
	__u32 epoch;
	__u32 copies;
	__u32 ip_id;
	__u16 valid;
	__u16 later_fragment;
};

#endif
