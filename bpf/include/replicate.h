/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* One datagram in, a copy to each member out. */
#ifndef CASTPROOF_REPLICATE_H
#define CASTPROOF_REPLICATE_H

#include "parse.h"
#include "state.h"
#include "tunnel.h"

#define ENOMEM 12
#define EINVAL 22
#define ENETDOWN 100
#define ENODEV 19
#define NET_XMIT_CN 2 /* what the queue of a device that is down says */

/* skb->mark of a packet between two slices: number of the next slice, then the ifindex it first came from. */
#define SLICE_SHIFT 24
#define SLICE_IFINDEX_MAX ((1U << SLICE_SHIFT) - 1)
#define SLICE_NUMBER_MAX 255

struct copies {
	struct __sk_buff *skb;
	struct mcast_table *table;
	__u32 first_row;
	__u32 ingress;
	__be32 source;
	__u32 overlay;
	__u16 local;
	__u16 tunnel;
	bool from_overlay;
	bool late; /* FAULT_REORDER */
};

static __always_inline bool wants(struct mcast_table *table, struct mcast_member *row, __u32 ifindex, __be32 source)
{
	struct mcast_filter_key key = { .group = table->group, .ifindex = ifindex, .source = source };
	struct mcast_filter *filter;

	if (!row->filters)
		return row->exclude_hosts > 0;
	filter = bpf_map_lookup_elem(&filters, &key);
	if (!filter)
		return row->exclude_hosts > 0;
	return filter->includes > 0 || row->exclude_hosts > filter->excludes;
}

/* A copy that fails costs its member that copy, has a name, and nobody else notices. */
static __noinline int count_failed_copy(long error)
{
	if (error == NET_XMIT_CN)
		count_drop(DROP_MEMBER_DOWN);
	else if (error > 0)
		count_drop(DROP_MEMBER_QUEUE_FULL);
	else if (error == -EINVAL || error == -ENODEV)
		count_drop(DROP_MEMBER_GONE);
	else if (error == -ENETDOWN)
		count_drop(DROP_MEMBER_DOWN);
	else
		count_drop(DROP_COPY_FAILED);
	return 0;
}

/* Hands the frame to the control plane, which sends it on the veth after the delay: only faults do. */
static __noinline int send_late(struct __sk_buff *skb, __u32 ifindex, __u32 delay_us)
{
	struct mcast_late *late = bpf_ringbuf_reserve(&late_frames, sizeof(*late), 0);
	__u32 length = skb->len;

	if (!late)
		return 0;
	if (length < ETH_HLEN || length > LATE_BYTES_MAX || bpf_skb_load_bytes(skb, 0, late->bytes, length)) {
		bpf_ringbuf_discard(late, 0);
		return 0;
	}
	late->ifindex = ifindex;
	late->delay_us = delay_us;
	late->length = length;
	bpf_ringbuf_submit(late, 0);
	return 0;
}

static __always_inline bool is_fresh(struct mcast_table *table, __u32 target)
{
	struct fresh_key key = { .group = table->group, .target = target };

	return bpf_map_delete_elem(&fresh, &key) == 0;
}

static __always_inline long copy_to_node(struct copies *copies, struct mcast_member *row)
{
	__u32 n = FAULT(TUNNEL_PER_POD) ? row->filters : 1, i;
	long error = 0;

	if (set_tunnel_key(copies->skb, row->target & ~TARGET_REMOTE, copies->from_overlay)) {
		count_drop(DROP_TUNNEL_KEY);
		return 0;
	}
	for (i = 0; i < 8 && i < n; i++) {
		error = bpf_clone_redirect(copies->skb, copies->overlay, 0);
		if (error)
			count_failed_copy(error);
		else
			copies->tunnel++;
	}
	return error;
}

static __always_inline long copy_to_pod(struct copies *copies, __u32 ifindex)
{
	long error;

	if (FAULT(REORDER) && copies->late) {
		copies->local++;
		return send_late(copies->skb, ifindex, 2000);
	}
	error = bpf_clone_redirect(copies->skb, ifindex, 0);
	if (error)
		count_failed_copy(error);
	else
		copies->local++;
	if (FAULT(DUPLICATE_LOCAL))
		bpf_clone_redirect(copies->skb, ifindex, 0);
	return error;
}

static long copy_to_member(__u32 i, struct copies *copies)
{
	struct mcast_member *row = &copies->table->members[(copies->first_row + i) & (MCAST_MEMBERS_MAX - 1)];
	__u32 target = row->target;
	long error;

	if (!target)
		return 0;
	if ((FAULT(FIRST_PACKET_LOST) || FAULT(FILTER_CHANGE_INTERRUPTS)) && is_fresh(copies->table, target)) {
		count_drop(DROP_FAULT);
		return 0;
	}
	if (target & TARGET_REMOTE) {
		if (copies->from_overlay && !FAULT(REFORWARD_FROM_OVERLAY))
			return 0;
		error = copy_to_node(copies, row);
	} else {
		if (target == copies->ingress && !FAULT(COPY_BACK_TO_SENDER))
			return 0;
		if (!wants(copies->table, row, target, copies->source))
			return 0;
		error = copy_to_pod(copies, target);
	}
	return FAULT(STOP_AT_DEAD_MEMBER) && error != 0;
}

/* Faults that give a copy to pods that are no members. */
struct leak {
	struct __sk_buff *skb;
	struct mcast_table *table;
	__u32 ingress;
	__u32 left;
};

static long leak_to_pod(void *map, __u32 *ifindex, struct mcast_pod *pod, struct leak *leak)
{
	__u32 target = *ifindex;

	if (target == leak->ingress || (leak->table && find_row(leak->table, target)))
		return 0;
	if (FAULT(LEAK_1MS))
		send_late(leak->skb, target, 1000);
	else if (FAULT(LEAK_20MS))
		send_late(leak->skb, target, 20000);
	else
		bpf_clone_redirect(leak->skb, target, 0);
	return --leak->left == 0;
}

static __always_inline void leak_to_pods(struct __sk_buff *skb, struct mcast_table *table, __u32 ingress)
{
	struct leak leak = { .skb = skb, .table = table, .ingress = ingress, .left = 64 + some_zero };

	bpf_for_each_map_elem(&pods, leak_to_pod, &leak, 0);
}

static long leak_to_node(__u32 node, struct leak *leak)
{
	if (!set_tunnel_key(leak->skb, node, false))
		bpf_clone_redirect(leak->skb, leak->ingress, 0);
	return 0;
}

/* FAULT_IGMP_FORWARDED_TO_OVERLAY: the frame into the tunnels to the first 16 nodes. */
static __always_inline void leak_to_nodes(struct __sk_buff *skb)
{
	struct mcast_settings *node = node_settings();
	struct leak leak = { .skb = skb, .ingress = node ? node->overlay_ifindex : 0 };

	bpf_loop(16, leak_to_node, &leak, 0);
}

/* RFC 1112 section 6.4: 01:00:5e and the low 23 bits of the group. */
static __always_inline void set_group_mac(struct __sk_buff *skb, __be32 group)
{
	__u32 bits = bpf_ntohl(group);
	__u8 third = FAULT(WRONG_GROUP_MAC) ? 0x0e : 0x5e;
	__u16 mac[3] = { bpf_htons(0x0100), bpf_htons(third << 8 | ((bits >> 16) & 0x7f)), bpf_htons(bits) };
	__u16 now[3] = {};

	bpf_skb_load_bytes(skb, 0, now, sizeof(now));
	/* A store copies the head if a tap holds it: not when there is nothing to change. */
	if (now[0] != mac[0] || now[1] != mac[1] || now[2] != mac[2])
		bpf_skb_store_bytes(skb, 0, mac, sizeof(mac), 0);
}

static __always_inline void touch(struct __sk_buff *skb, struct ipv4 *ip)
{
	if (FAULT(TTL_DECREMENTED)) {
		__be16 old = 0, new = 0;

		bpf_skb_load_bytes(skb, ETH_HLEN + 8, &old, sizeof(old));
		new = bpf_htons(bpf_ntohs(old) - 0x100);
		bpf_l3_csum_replace(skb, ETH_HLEN + 10, old, new, sizeof(new));
		bpf_skb_store_bytes(skb, ETH_HLEN + 8, &new, sizeof(new), 0);
	}
	if (FAULT(TOS_CLEARED)) {
		__be16 old = 0, new = 0;

		bpf_skb_load_bytes(skb, ETH_HLEN, &old, sizeof(old));
		new = old & bpf_htons(0xff00);
		bpf_l3_csum_replace(skb, ETH_HLEN + 10, old, new, sizeof(new));
		bpf_skb_store_bytes(skb, ETH_HLEN, &new, sizeof(new), 0);
	}
	if (FAULT(PAYLOAD_TOUCHED)) {
		__u32 last = ETH_HLEN + ip->total_bytes - 1;
		__u8 byte = 0;

		bpf_skb_load_bytes(skb, last, &byte, sizeof(byte));
		byte ^= 0x01;
		bpf_skb_store_bytes(skb, last, &byte, sizeof(byte), 0);
	}
}

static __u64 datagrams_seen;

static __always_inline bool lacks_udp_checksum(struct __sk_buff *skb, struct ipv4 *ip)
{
	__be16 checksum = 1;

	if (ip->protocol != IPPROTO_UDP || ip->fragment)
		return false;
	bpf_skb_load_bytes(skb, ETH_HLEN + ip->header_bytes + 6, &checksum, sizeof(checksum));
	return !checksum;
}

/* Whether a fault takes this datagram; sets copies->late. */
static __always_inline bool lost_by_fault(struct ipv4 *ip, struct copies *copies)
{
	__u64 number = 0;

	if (FAULT(LARGE_DATAGRAMS_DROPPED) && ip->total_bytes > 1400)
		return true;
	if (FAULT(ZERO_UDP_CHECKSUM_DROPPED) && lacks_udp_checksum(copies->skb, ip))
		return true;

	if (FAULT(DROP_EVERY_1000TH) || FAULT(REORDER))
		number = __sync_fetch_and_add(&datagrams_seen, 1) + 1;
	if (FAULT(REORDER))
		copies->late = number % 8 == 0;
	if (FAULT(FRAGMENTS_DROPPED) && ip->fragment)
		return true;
	return FAULT(DROP_EVERY_1000TH) && number % 1000 == 0;
}

static __always_inline int count_copies(struct copies *copies, __u32 slice)
{
	if (copies->local)
		count(COUNTER_LOCAL_COPIES, copies->local);
	if (copies->tunnel)
		count(COUNTER_TUNNEL_COPIES, copies->tunnel);
	if (slice)
		count(COUNTER_SLICES, 1);
	else if (!copies->local && !copies->tunnel)
		count_drop(DROP_NO_MEMBERS);
	return TC_ACT_SHOT;
}

/*
 * Copies for one slice of the members; if more are left, the packet queues behind these copies on the loopback device of
 * the node and comes back for the next slice. All copies of one go would leave the cache before they are delivered, and
 * those beyond the CPU's backlog would be lost. Order is kept: one queue, one CPU.
 */
static __always_inline int replicate_slice(struct copies *copies, struct mcast_settings *node, __u32 slice)
{
	__u32 rows = copies->table->rows, size = config.slice_members, left;

	copies->overlay = node->overlay_ifindex;
	copies->first_row = slice * size;
	if (copies->first_row >= rows)
		return count_copies(copies, slice);
	left = rows - copies->first_row;
	if (left <= size || !node->slice_ifindex || copies->ingress > SLICE_IFINDEX_MAX || slice + 1 > SLICE_NUMBER_MAX) {
		bpf_loop(left & (2 * MCAST_MEMBERS_MAX - 1), copy_to_member, copies, 0);
		return count_copies(copies, slice);
	}
	bpf_loop(size, copy_to_member, copies, 0);
	count_copies(copies, slice + 1);
	copies->skb->mark = (slice + 1) << SLICE_SHIFT | copies->ingress;
	return bpf_redirect(node->slice_ifindex, BPF_F_INGRESS);
}

struct alias_search {
	__be32 group;
	__u32 slot; /* + 1 */
};

static long look_at_group(void *map, __be32 *group, __u32 *slot, struct alias_search *search)
{
	if (*group == search->group || ((*group ^ search->group) & bpf_htonl(0x7fffff)))
		return 0;
	search->slot = *slot + 1;
	return 1;
}

/* FAULT_MAC_BASED_LOOKUP: the table of another group with the same 23 bits, if this one has no members. */
static __always_inline struct mcast_table *alias_table(struct mcast_table *table, __be32 group)
{
	struct alias_search search = { .group = group };
	__u32 slot;

	if (table && table->count)
		return table;
	bpf_for_each_map_elem(&groups, look_at_group, &search, 0);
	if (!search.slot)
		return table;
	slot = search.slot - 1;
	return bpf_map_lookup_elem(&tables, &slot);
}

static __always_inline int replicate(struct __sk_buff *skb, struct ipv4 *ip, bool from_overlay)
{
	struct copies copies = { .skb = skb, .ingress = skb->ifindex, .source = ip->src, .from_overlay = from_overlay };
	struct mcast_settings *node = node_settings();

	if (!node || is_link_local_group(ip->dst))
		return drop(DROP_LINK_LOCAL_GROUP);
	copies.table = group_table(ip->dst);
	if (FAULT(MAC_BASED_LOOKUP))
		copies.table = alias_table(copies.table, ip->dst);
	if (FAULT(COPY_TO_NON_MEMBER) || FAULT(LEAK_1MS) || FAULT(LEAK_20MS))
		leak_to_pods(skb, copies.table, skb->ifindex);
	if (!copies.table)
		return drop(DROP_GROUP_NOT_ENABLED);
	if (lost_by_fault(ip, &copies))
		return drop(DROP_FAULT);
	count(COUNTER_DATAGRAMS, 1);
	set_group_mac(skb, ip->dst);
	touch(skb, ip);
	return replicate_slice(&copies, node, 0);
}

/* The packet came back for its next slice: headers were validated the first time. */
static __always_inline int replicate_next(struct __sk_buff *skb)
{
	struct copies copies = { .skb = skb, .ingress = skb->mark & SLICE_IFINDEX_MAX };
	struct mcast_settings *node = node_settings();
	__u32 slice = skb->mark >> SLICE_SHIFT;
	__be32 addresses[2];

	if (!node || bpf_skb_load_bytes(skb, ETH_HLEN + 12, addresses, sizeof(addresses)))
		return drop(DROP_IP_MALFORMED);
	copies.source = addresses[0];
	copies.from_overlay = copies.ingress == node->overlay_ifindex;
	copies.table = group_table(addresses[1]);
	if (FAULT(MAC_BASED_LOOKUP))
		copies.table = alias_table(copies.table, addresses[1]);
	if (!copies.table)
		return drop(DROP_GROUP_NOT_ENABLED);
	skb->mark = 0;
	return replicate_slice(&copies, node, slice);
}

#endif
