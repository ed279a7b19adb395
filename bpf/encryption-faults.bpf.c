// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Faults of encryption that XFRM cannot be set up to have: which packets go around it, and ESP that is sent twice. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* As encryption-faults.ts has them. */
enum pick {
	PICK_NONE,
	PICK_EVERY_1000TH,
	PICK_FIRST_OF_GROUP,
	PICK_LATER_FRAGMENTS,
	PICK_IGMP,
	PICK_FULL_SIZE,
	PICK_ONE_NODE,
	PICK_NESTED,
};

/* A policy of higher priority lets what carries this mark leave as it is. */
#define MARK_CLEAR 0xc1ea
#define MARK_SENT_TWICE 0x2e5b
#define FULL_SIZE_BYTES 1400
#define VXLAN_PORT 8472
#define TWICE_EVERY 257

struct {
	__u32 pick;
	__u32 node; /* PICK_ONE_NODE: address of the node whose copies are picked */
} const volatile config SEC(".rodata.config") = {};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __be32);
	__type(value, __u32);
} groups_seen SEC(".maps");

static __u64 packets;

static __always_inline bool first_of(__be32 group)
{
	__u32 one = 1;

	return !bpf_map_update_elem(&groups_seen, &group, &one, BPF_NOEXIST);
}

static __always_inline bool is_picked(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	struct udphdr udp = {};
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return false;
	switch (config.pick) {
	case PICK_EVERY_1000TH:
		return (__sync_fetch_and_add(&packets, 1) + 1) % 1000 == 0;
	case PICK_FIRST_OF_GROUP:
		return first_of(ip.daddr);
	case PICK_LATER_FRAGMENTS:
		return ip.frag_off & bpf_htons(0x1fff);
	case PICK_IGMP:
		return ip.protocol == IPPROTO_IGMP;
	case PICK_FULL_SIZE:
		return skb->len > FULL_SIZE_BYTES;
	case PICK_ONE_NODE:
		/* Keys are read as a receiver's: on the way out, where it goes is `local`. */
		return !bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0) && key.local_ipv4 == config.node;
	case PICK_NESTED:
		return ip.protocol == IPPROTO_UDP &&
		       !bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), &udp, sizeof(udp)) && udp.dest == bpf_htons(VXLAN_PORT);
	default:
		return false;
	}
}

/* Egress of `cilium_vxlan`: the mark stays with the packet until its route, and its policy, are looked up. */
SEC("tc")
int mark_clear(struct __sk_buff *skb)
{
	if (is_picked(skb))
		skb->mark = MARK_CLEAR;
	return TC_ACT_OK;
}

/* Egress of `eth0`. */
SEC("tc")
int send_twice(struct __sk_buff *skb)
{
	struct iphdr ip;

	if (skb->mark == MARK_SENT_TWICE || bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.protocol != IPPROTO_ESP)
		return TC_ACT_OK;
	if ((__sync_fetch_and_add(&packets, 1) + 1) % TWICE_EVERY)
		return TC_ACT_OK;
	skb->mark = MARK_SENT_TWICE;
	bpf_clone_redirect(skb, skb->ifindex, 0);
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
