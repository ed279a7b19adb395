/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Shared with user space: socket-stats.ts has the same offsets, compared through BTF. */
#ifndef CASTPROOF_SOCKET_STATS_H
#define CASTPROOF_SOCKET_STATS_H

#include <linux/types.h>

#include "socket-faults.h"

#define PATH_NAMES_MAX 8
#define PATH_NAME_BYTES 32
#define LATENCY_BUCKETS 16

struct socket_config {
	__u64 fault_mask;
	__u32 latency; /* what is read is seen too */
	__u32 reserved;
};

/* The file that a program was started from. */
struct binary_key {
	__u64 inode;
	__u32 device;
	__u32 reserved;
};

/* Its name and those of the folders it lies in, upwards. */
struct binary_path {
	char names[PATH_NAMES_MAX][PATH_NAME_BYTES];
};

/* Whose a socket is: what its labels are made of. */
struct socket_owner {
	__u64 netns; /* cookie */
	struct binary_key binary;
};

/* What sockets of one owner exchange with one address; `local` is the group where a socket receives from it. */
struct socket_flow_key {
	struct socket_owner owner;
	__be32 local;
	__be32 remote;
};

struct socket_side {
	__u64 segs;
	__u64 bytes;
	__u64 bursts;
	__u64 last_ns;
	__u32 in_burst;
	__u32 reserved;
};

struct socket_flow {
	struct socket_side rx; /* what came to the socket, dropped or not */
	struct socket_side tx;
	__u64 drops;
	__u64 drop_bytes;
	__u64 consumed;
	__u64 consume_misses;
	__u64 latency_sum_ns;
	__u64 latency[LATENCY_BUCKETS]; /* below 2^(n + 10) ns; the last: all others */
};

/* The datagram that this CPU is handing to a socket. */
struct socket_arrival {
	struct socket_flow_key key;
	__u64 skb;
	__u64 bytes;
	__u32 segs; /* 0: none of ours */
	__u32 reserved;
};

struct socket_waiting {
	struct socket_flow_key key;
	__u64 arrived_ns;
};

#endif
