/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Pod to pod unicast: the control that tells "multicast is broken" from "the path is broken". */
#ifndef CASTPROOF_UNICAST_H
#define CASTPROOF_UNICAST_H

#include "esp.h"
#include "tunnel.h"

/* To a pod of this node by a plain redirect: it queues behind multicast copies as they do behind it. */
static __always_inline int unicast_to_pod(struct __sk_buff *skb, __be32 address)
{
	__u32 *ifindex = bpf_map_lookup_elem(&pod_addresses, &address);
	struct mcast_pod *pod;

	if (!ifindex)
		return -1;
	pod = bpf_map_lookup_elem(&pods, ifindex);
	if (!pod)
		return -1;
	count(COUNTER_UNICAST, 1);
	bpf_skb_store_bytes(skb, 0, pod->mac, sizeof(pod->mac), 0);
	bpf_skb_store_bytes(skb, ETH_ALEN, pod->node_mac, sizeof(pod->node_mac), 0);
	return bpf_redirect(*ifindex, 0);
}

static __always_inline int unicast_from_pod(struct __sk_buff *skb, struct ipv4 *ip)
{
	struct mcast_route_key key = { .prefix_bits = 32, .address = ip->dst };
	struct mcast_settings *node = node_settings();
	int verdict = unicast_to_pod(skb, ip->dst);
	__u32 *remote;

	if (verdict >= 0)
		return verdict;
	remote = bpf_map_lookup_elem(&routes, &key);
	if (!remote || !node)
		return drop(DROP_NO_ROUTE);
	if (node->router)
		return TC_ACT_OK;
	if (set_tunnel_key(skb, *remote, false))
		return drop(DROP_TUNNEL_KEY);
	count(COUNTER_UNICAST, 1);
	return bpf_redirect(node->overlay_ifindex, 0);
}

/* Between pods that XFRM encrypts for, clear unicast of another node is a forgery or a failure. */
static __always_inline int esp_to_stack(struct __sk_buff *skb, struct ipv4 *ip, struct mcast_settings *node, __be32 sender)
{
	if (ip->protocol != IPPROTO_ESP || ip->dst != node->router)
		return drop(DROP_NOT_ENCRYPTED);
	skb->mark = decrypt_mark(sender);
	return TC_ACT_OK;
}

static __always_inline int decrypted_to_pod(struct __sk_buff *skb)
{
	struct ipv4 ip;
	int reason = parse_ipv4(skb, &ip);

	if (reason)
		return drop(reason - 1);
	skb->mark = 0;
	reason = unicast_to_pod(skb, ip.dst);
	return reason >= 0 ? reason : drop(DROP_NO_ROUTE);
}

#endif
