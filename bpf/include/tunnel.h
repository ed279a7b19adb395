/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The VXLAN overlay (RFC 7348): tunnel keys out and in, and what the kernel does not count for us. */
#ifndef CASTPROOF_TUNNEL_H
#define CASTPROOF_TUNNEL_H

#include <linux/udp.h>

#include "parse.h"

#define VXLAN_PORT 8472
#define VXLAN_FLAG_I 0x08
#define TUNNEL_TTL 64

struct vxlan {
	__u8 flags;
	__u8 reserved[3];
	__be32 vni;
};

/* Without a UDP checksum, as RFC 7348 section 5 prefers. */
static __noinline int set_tunnel_key(struct __sk_buff *skb, __u32 node, bool reforwarded)
{
	struct bpf_tunnel_key key = {};
	__be32 *address = bpf_map_lookup_elem(&nodes, &node);

	if (!address)
		return -1;
	key.tunnel_id = FAULT(VNI_WRONG) ? config.vni + 1 : config.vni;
	key.remote_ipv4 = bpf_ntohl(*address);
	/* FAULT_REFORWARD_FROM_OVERLAY re-forwards once, not for ever: see outer_is_fresh. */
	key.tunnel_ttl = reforwarded ? TUNNEL_TTL - 1 : TUNNEL_TTL;
	return bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX);
}

/* Whether the packet may enter: 0, or a drop reason + 1. */
static __always_inline int check_tunnel_key(struct __sk_buff *skb, __be32 *sender, bool *reforwarded)
{
	struct bpf_tunnel_key key = {};
	__be32 outer_source;

	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0))
		return DROP_TUNNEL_KEY + 1;
	outer_source = bpf_htonl(key.remote_ipv4);
	if (!FAULT(OUTER_SOURCE_UNCHECKED) && !bpf_map_lookup_elem(&node_addresses, &outer_source))
		return DROP_OUTER_SOURCE + 1;
	if (!FAULT(VNI_UNCHECKED) && key.tunnel_id != (FAULT(VNI_WRONG) ? config.vni + 1 : config.vni))
		return DROP_VNI + 1;
	*sender = outer_source;
	*reforwarded = key.tunnel_ttl != TUNNEL_TTL;
	return 0;
}

/* The kernel drops VXLAN packets without the I flag and gives them no name of their own: they get one here. */
static __always_inline int check_vxlan_flag(struct __sk_buff *skb)
{
	struct iphdr ip;
	struct udphdr udp;
	struct vxlan vxlan;
	__u32 at = ETH_HLEN;

	if (skb->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)))
		return TC_ACT_OK;
	if (ip.protocol != IPPROTO_UDP || ip.ihl < 5 || (ip.frag_off & bpf_htons(0x3fff)))
		return TC_ACT_OK;
	at += ip.ihl * 4;
	if (bpf_skb_load_bytes(skb, at, &udp, sizeof(udp)) || udp.dest != bpf_htons(VXLAN_PORT))
		return TC_ACT_OK;
	if (FAULT(OUTER_CHECKSUM_NOT_VERIFIED) && udp.check) {
		udp.check = 0;
		bpf_skb_store_bytes(skb, at + offsetof(struct udphdr, check), &udp.check, sizeof(udp.check), 0);
	}
	at += sizeof(udp);
	if (bpf_skb_load_bytes(skb, at, &vxlan, sizeof(vxlan)) || (vxlan.flags & VXLAN_FLAG_I))
		return TC_ACT_OK;
	if (!FAULT(VXLAN_FLAG_UNCHECKED))
		return drop(DROP_VXLAN_FLAG);
	vxlan.flags |= VXLAN_FLAG_I;
	/* The outer checksum is kept right when there is one. */
	if (udp.check)
		bpf_l4_csum_replace(skb, at - sizeof(udp) + offsetof(struct udphdr, check), 0, bpf_htons(VXLAN_FLAG_I << 8),
				    BPF_F_MARK_MANGLED_0 | sizeof(__be16));
	bpf_skb_store_bytes(skb, at, &vxlan.flags, sizeof(vxlan.flags), 0);
	return TC_ACT_OK;
}

#endif
