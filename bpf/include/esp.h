/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What XFRM needs of us. All nodes use one SPI, and the kernel finds a state by destination, SPI and mark alone: the mark says
 * whose packet it is. Unicast between pods goes through the stack, where policies encrypt it.
 */
#ifndef CASTPROOF_ESP_H
#define CASTPROOF_ESP_H

#include "parse.h"

#define MARK_DECRYPT 0x0d00
#define MARK_KIND 0x0f00

/* The lower half of the node's address, then that it is to be decrypted: as runner/ipsec/xfrm.ts writes states. */
static __always_inline __u32 decrypt_mark(__be32 node)
{
	return bpf_ntohl(node) << 16 | MARK_DECRYPT;
}

/* ESP between nodes, at `eth0`; fragments are put together before XFRM sees them, and keep the mark of the first. */
static __always_inline void mark_esp(struct __sk_buff *skb)
{
	struct iphdr ip;

	if (skb->protocol == bpf_htons(ETH_P_IP) && !bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) &&
	    ip.protocol == IPPROTO_ESP)
		skb->mark = decrypt_mark(ip.saddr);
}

static __always_inline bool is_decrypted(struct __sk_buff *skb, struct mcast_settings *node)
{
	return node && node->router && (skb->mark & MARK_KIND) == MARK_DECRYPT;
}

#endif
