/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The node's tables that more than one part reads. */
#ifndef CASTPROOF_MAPS_H
#define CASTPROOF_MAPS_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "../shared.h"
#include "../faults.h"

/* In a section of its own, so that user space knows where each constant is. */
const volatile struct mcast_config config SEC(".rodata.config") = { .vni = 2, .slice_members = 32 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mcast_settings);
} settings SEC(".maps");

/* Groups enabled on this node: address to slot in `tables`. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MCAST_GROUPS_MAX);
	__type(key, __be32);
	__type(value, __u32);
} groups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MCAST_GROUPS_MAX);
	__type(key, __u32);
	__type(value, struct mcast_table);
} tables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MCAST_SOURCES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mcast_filter_key);
	__type(value, struct mcast_filter);
} filters SEC(".maps");

/* By ifindex of the veth's node end. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MCAST_PODS_MAX);
	__type(key, __u32);
	__type(value, struct mcast_pod);
} pods SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MCAST_PODS_MAX);
	__type(key, __be32);
	__type(value, __u32);
} pod_addresses SEC(".maps");

/* Remote nodes: index to address, and back. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MCAST_NODES_MAX);
	__type(key, __u32);
	__type(value, __be32);
} nodes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MCAST_NODES_MAX);
	__type(key, __be32);
	__type(value, __u32);
} node_addresses SEC(".maps");

/* Pod addresses of remote nodes to the node's index. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, MCAST_PODS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mcast_route_key);
	__type(value, __u32);
} routes SEC(".maps");

/* Sized by datapath.ts: one page unless a fault needs it. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} late_frames SEC(".maps");

static __always_inline struct mcast_settings *node_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

static __always_inline struct mcast_table *group_table(__be32 group)
{
	__u32 *slot = bpf_map_lookup_elem(&groups, &group);
	__u32 index;

	if (!slot)
		return NULL;
	index = *slot;
	return bpf_map_lookup_elem(&tables, &index);
}

#endif
