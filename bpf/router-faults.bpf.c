// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Faults of routers that nobody here wrote: what they send and take in is altered at tc, between the kernel and the wire. Attached
 * only where a fault is asked for.
 */
#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "router-faults.h"

#define PIM_HELLO 0
#define PIM_REGISTER 1
#define PIM_REGISTER_STOP 2
#define PIM_JOIN_PRUNE 3
#define PIM_ASSERT 5
/* In a Join/Prune of one group, behind the PIM header: upstream 6, reserved and count 2, holdtime 2, group 8. */
#define NUMBER_OF_JOINS 18
/* Of a copy that a program here made: it is not looked at again. */
#define OURS 0xfa017

/* Set before load. */
const volatile __u64 fault_mask SEC(".rodata.config") = 0;

#define FAULT(name) (fault_mask & (1ULL << ROUTER_FAULT_##name))

/* Another interface of the same router by interface index: where copies go that should not be made. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u32);
} detours SEC(".maps");

/* Interfaces that are a router's third output. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u32);
} thirds SEC(".maps");

struct seen {
	struct iphdr ip;
	bool group;
	__u8 pim_type;
	__u16 joins;
};

static __always_inline bool look(struct __sk_buff *skb, struct seen *seen)
{
	__u8 type = 0xff;
	__be16 joins = 0;
	__u32 at;

	if (skb->mark == OURS || skb->protocol != bpf_htons(ETH_P_IP))
		return false;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &seen->ip, sizeof(seen->ip)) || seen->ip.ihl < 5)
		return false;
	seen->group = (seen->ip.daddr & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000);
	at = ETH_HLEN + seen->ip.ihl * 4;
	if (seen->ip.protocol == IPPROTO_PIM) {
		bpf_skb_load_bytes(skb, at, &type, 1);
		bpf_skb_load_bytes(skb, at + 4 + NUMBER_OF_JOINS, &joins, 2);
	}
	seen->pim_type = type == 0xff ? 0xff : type & 15;
	seen->joins = bpf_ntohs(joins);
	return true;
}

/* TTL and protocol are one word of the header checksum. */
static __always_inline void set_ttl(struct __sk_buff *skb, const struct iphdr *ip, __u8 ttl)
{
	__be16 from = bpf_htons(ip->ttl << 8 | ip->protocol);
	__be16 to = bpf_htons(ttl << 8 | ip->protocol);

	bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), from, to, 2);
	bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, ttl), &ttl, 1, 0);
}

static __always_inline void clear_tos(struct __sk_buff *skb, const struct iphdr *ip)
{
	__be16 from = bpf_htons((ip->version << 4 | ip->ihl) << 8 | ip->tos);
	__be16 to = bpf_htons((ip->version << 4 | ip->ihl) << 8);
	__u8 zero = 0;

	bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), from, to, 2);
	bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, tos), &zero, 1, 0);
}

/* One more frame, out of `ifindex`, which no program here looks at again. */
static __always_inline void send_copy(struct __sk_buff *skb, __u32 ifindex)
{
	__u32 mark = skb->mark;

	skb->mark = OURS;
	bpf_clone_redirect(skb, ifindex, 0);
	skb->mark = mark;
}

static __always_inline bool is_data(const struct seen *seen)
{
	return seen->group && seen->ip.protocol == IPPROTO_UDP;
}

static __always_inline bool is_link_local(__be32 group)
{
	return (group & bpf_htonl(0xffffff00)) == bpf_htonl(0xe0000000);
}

/* 192.168.1.0/24 is the source's network. */
static __always_inline bool is_source(__be32 address)
{
	return (address & bpf_htonl(0xffffff00)) == bpf_htonl(0xc0a80100);
}

SEC("tc")
int router_ingress(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	__u32 *detour = bpf_map_lookup_elem(&detours, &ifindex);
	struct seen seen = {};

	if (!look(skb, &seen) || !is_data(&seen))
		return TC_ACT_UNSPEC;
	if (FAULT(TTL_1_FORWARDED) && seen.ip.ttl == 1 && !is_link_local(seen.ip.daddr))
		set_ttl(skb, &seen.ip, 2);
	if (!detour)
		return TC_ACT_UNSPEC;
	if (FAULT(LINK_LOCAL_FORWARDED) && is_link_local(seen.ip.daddr))
		send_copy(skb, *detour);
	if (FAULT(COPY_UNASKED) && is_source(seen.ip.saddr) && !is_link_local(seen.ip.daddr))
		send_copy(skb, *detour);
	if (FAULT(RPF_IGNORED) && is_source(seen.ip.saddr) && !is_link_local(seen.ip.daddr))
		send_copy(skb, *detour);
	return TC_ACT_UNSPEC;
}

static __always_inline int alter_pim(struct __sk_buff *skb, const struct seen *seen)
{
	if (FAULT(HELLO_TTL) && seen->pim_type == PIM_HELLO)
		set_ttl(skb, &seen->ip, 64);
	if (FAULT(JOIN_TTL) && seen->pim_type == PIM_JOIN_PRUNE)
		set_ttl(skb, &seen->ip, 64);
	if (FAULT(PRUNE_LOST) && seen->pim_type == PIM_JOIN_PRUNE && seen->joins == 0)
		return TC_ACT_SHOT;
	if (FAULT(REGISTER_LOST) && seen->pim_type == PIM_REGISTER)
		return TC_ACT_SHOT;
	if (FAULT(REGISTER_STOP_LOST) && seen->pim_type == PIM_REGISTER_STOP)
		return TC_ACT_SHOT;
	if (FAULT(ASSERT_SENT) && seen->pim_type == PIM_HELLO) {
		__u32 at = ETH_HLEN + seen->ip.ihl * 4;
		__u8 type = 0x20 | PIM_ASSERT;

		send_copy(skb, skb->ifindex);
		bpf_l3_csum_replace(skb, at + 2, bpf_htons(0x2000), bpf_htons(0x2000 | PIM_ASSERT << 8), 2);
		bpf_skb_store_bytes(skb, at, &type, 1, 0);
	}
	return TC_ACT_UNSPEC;
}

SEC("tc")
int router_egress(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	struct seen seen = {};

	if (!look(skb, &seen))
		return TC_ACT_UNSPEC;
	if (seen.ip.protocol == IPPROTO_PIM)
		return alter_pim(skb, &seen);
	if (!is_data(&seen))
		return TC_ACT_UNSPEC;
	if (FAULT(TTL_KEPT) && seen.ip.ttl < 255)
		set_ttl(skb, &seen.ip, seen.ip.ttl + 1);
	if (FAULT(TOS_CLEARED))
		clear_tos(skb, &seen.ip);
	if (FAULT(THIRD_COPY_TWICE) && bpf_map_lookup_elem(&thirds, &ifindex))
		send_copy(skb, ifindex);
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
