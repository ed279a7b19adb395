/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Ethernet and IPv4: what both directions need of a frame, validated as RFC 1122 section 3.2.1 says. */
#ifndef CASTPROOF_PARSE_H
#define CASTPROOF_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>

#include "drop.h"

#define IP_HEADER_BYTES_MAX 60

struct ipv4 {
	__be32 src;
	__be32 dst;
	__u32 header_bytes;
	__u32 total_bytes;
	__u8 protocol;
	bool fragment;
};

static __always_inline bool is_multicast(__be32 address)
{
	return (address & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000);
}

static __always_inline bool is_link_local_group(__be32 address)
{
	return (address & bpf_htonl(0xffffff00)) == bpf_htonl(0xe0000000);
}

/* Multicast, reserved, broadcast or loopback: never a source on a wire. */
static __always_inline bool is_bad_source(__be32 address)
{
	__u32 host = bpf_ntohl(address);

	if (host >> 28 == 0xe && FAULT(MULTICAST_SOURCE_FORWARDED))
		return false;
	return host >= 0xe0000000 || host >> 24 == 127;
}

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Whether the IPv4 header with its options sums to ones. */
static __always_inline bool ip_checksum_right(struct __sk_buff *skb, __u32 header_bytes)
{
	__be32 words[IP_HEADER_BYTES_MAX / 4] = {};
	__s64 sum;

	if (header_bytes == sizeof(struct iphdr)) {
		if (bpf_skb_load_bytes(skb, ETH_HLEN, words, sizeof(struct iphdr)))
			return false;
	} else {
		if (header_bytes < sizeof(struct iphdr) || header_bytes > sizeof(words))
			return false;
		if (bpf_skb_load_bytes(skb, ETH_HLEN, words, header_bytes))
			return false;
	}
	/* The rest of `words` is zero and does not count. */
	sum = bpf_csum_diff(NULL, 0, words, sizeof(words), 0);
	return sum >= 0 && fold(sum) == 0xffff;
}

/* Fills `ip`; 0, or a drop reason + 1. */
static __always_inline int parse_ipv4(struct __sk_buff *skb, struct ipv4 *ip)
{
	struct iphdr header;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &header, sizeof(header)))
		return DROP_IP_MALFORMED + 1;
	ip->header_bytes = header.ihl * 4;
	ip->total_bytes = bpf_ntohs(header.tot_len);
	ip->src = header.saddr;
	ip->dst = header.daddr;
	ip->protocol = header.protocol;
	ip->fragment = header.frag_off & bpf_htons(0x3fff);
	if (header.version != 4 || header.ihl < 5 || ip->total_bytes < ip->header_bytes ||
	    ETH_HLEN + ip->total_bytes > skb->len)
		return DROP_IP_MALFORMED + 1;
	if (!FAULT(IP_CHECKSUM_NOT_VERIFIED) && !ip_checksum_right(skb, ip->header_bytes))
		return DROP_IP_CHECKSUM + 1;
	if (is_bad_source(ip->src))
		return DROP_IP_SOURCE + 1;
	if (!header.ttl)
		return DROP_IP_TTL_ZERO + 1;
	return 0;
}

#endif
