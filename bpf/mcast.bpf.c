// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A node's multicast datapath: where frames come in. */
#include "include/command.h"
#include "include/esp.h"
#include "include/igmp.h"
#include "include/replicate.h"
#include "include/unicast.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Ingress of a veth's node end: frames that a pod sends. */
SEC("tc")
int from_pod(struct __sk_buff *skb)
{
	struct ipv4 ip;
	int reason;

	if (skb->protocol != bpf_htons(ETH_P_IP) || skb->vlan_present)
		return drop(DROP_NOT_IPV4);
	reason = parse_ipv4(skb, &ip);
	if (reason)
		return drop(reason - 1);
	if (ip.protocol == IPPROTO_IGMP) {
		if (FAULT(IGMP_FORWARDED_TO_PODS))
			leak_to_pods(skb, NULL, skb->ifindex);
		if (FAULT(IGMP_FORWARDED_TO_OVERLAY))
			leak_to_nodes(skb);
		return handle_igmp(skb, &ip);
	}
	if (is_multicast(ip.dst))
		return replicate(skb, &ip, false);
	return config.unicast_by_kernel ? TC_ACT_OK : unicast_from_pod(skb, &ip);
}

/* Ingress of `cilium_vxlan`: decapsulated frames of other nodes. Delivered here or nowhere. */
SEC("tc")
int from_overlay(struct __sk_buff *skb)
{
	struct mcast_settings *node = node_settings();
	bool reforwarded = false;
	__be32 sender = 0;
	struct ipv4 ip;
	int reason;

	/* What XFRM has decrypted comes in a second time, without its tunnel key. */
	if (is_decrypted(skb, node))
		return decrypted_to_pod(skb);
	reason = check_tunnel_key(skb, &sender, &reforwarded);
	if (reason)
		return drop(reason - 1);
	if (skb->protocol != bpf_htons(ETH_P_IP) || skb->vlan_present)
		return drop(DROP_NOT_IPV4);
	reason = parse_ipv4(skb, &ip);
	if (reason)
		return drop(reason - 1);
	if (ip.protocol == IPPROTO_IGMP) {
		if (FAULT(IGMP_FORWARDED_TO_OVERLAY))
			leak_to_pods(skb, NULL, skb->ifindex);
		return drop(DROP_IGMP_FROM_OVERLAY);
	}
	if (is_multicast(ip.dst))
		return FAULT(REFORWARD_FROM_OVERLAY) && reforwarded ? drop(DROP_FAULT) : replicate(skb, &ip, true);
	if (node && node->router)
		return esp_to_stack(skb, &ip, node, sender);
	if (config.unicast_by_kernel)
		return TC_ACT_OK;
	reason = unicast_to_pod(skb, ip.dst);
	return reason >= 0 ? reason : drop(DROP_NO_ROUTE);
}

/* Ingress of `eth0`. */
SEC("tc")
int from_uplink(struct __sk_buff *skb)
{
	mark_esp(skb);
	return check_vxlan_flag(skb);
}

/* Ingress of `lo`: packets that queue for their next slice of members. */
SEC("tc")
int next_slice(struct __sk_buff *skb)
{
	return skb->mark ? replicate_next(skb) : TC_ACT_OK;
}

/* Run by user space with a struct mcast_command as the packet. */
SEC("tc")
int command(struct __sk_buff *skb)
{
	return take_command(skb);
}
