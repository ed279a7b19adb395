// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Flow cache of the reference exporter: tc ingress counts what comes in, tc egress what goes out, and books each copy of a multicast
 * packet to the flow that it came in by. The kernel makes all copies of a packet in the softirq that received it, so both
 * counts of a record are of the same packets.
 */
#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "flow.h"
#include "flow-faults.h"

#define IP_OFFSET 0x1fff
#define DIRECTION_INGRESS 0
#define DIRECTION_EGRESS 1

const volatile struct flow_config config SEC(".rodata.config") = { .match = 0x3ff, .sampling = 1 };

#define FAULT(name) (config.fault_mask & (1ULL << FLOW_FAULT_##name))

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct flow_key);
	__type(value, struct flow_value);
} flows SEC(".maps");

/* enum flow_monitor by interface index. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FLOW_INTERFACES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} monitors SEC(".maps");

/* 0: the epoch; 1: packets that the full cache had no room for. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_packet);
} packet SEC(".maps");

/* What a frame says of its flow, before interfaces come in. */
struct headers {
	struct flow_key key;
	__u32 bytes;
	__u32 ip_id;
	bool later_fragment;
};

static __always_inline __u32 byte_count(struct __sk_buff *skb, const struct iphdr *ip)
{
	if (FAULT(BYTES_L2))
		return bpf_ntohs(ip->tot_len) + ETH_HLEN;
	if (FAULT(BYTES_PAYLOAD))
		return bpf_ntohs(ip->tot_len) - sizeof(*ip) - sizeof(struct udphdr);
	return bpf_ntohs(ip->tot_len);
}

static __always_inline __u8 multicast_flag(__be32 dst)
{
	bool multicast = (dst & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000);

	if (FAULT(MULTICAST_ZERO))
		return 0;
	if (FAULT(UNICAST_IS_MULTICAST))
		return 1;
	if (!multicast)
		return 0;
	return FAULT(MULTICAST_HIGH_BIT) ? 0x80 : 1;
}

static __always_inline bool read_headers(struct __sk_buff *skb, struct headers *found)
{
	struct iphdr ip;
	__be16 ports[2] = {};
	__u32 header_bytes;

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return false;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return false;
	header_bytes = ip.ihl * 4;
	found->later_fragment = (ip.frag_off & bpf_htons(IP_OFFSET)) != 0;
	/* Only the first fragment has ports; later ones are a flow with ports 0. */
	if (!found->later_fragment && (ip.protocol == IPPROTO_UDP || ip.protocol == IPPROTO_TCP))
		bpf_skb_load_bytes(skb, ETH_HLEN + header_bytes, ports, sizeof(ports));
	found->bytes = byte_count(skb, &ip);
	found->ip_id = ip.id;
	found->key.src = (config.match & MATCH_SRC) && !FAULT(SOURCE_IGNORED) ? ip.saddr : 0;
	found->key.dst = config.match & MATCH_DST ? ip.daddr : 0;
	found->key.src_port = (config.match & MATCH_SRC_PORT) && !FAULT(PORT_IGNORED) ? ports[0] : 0;
	found->key.dst_port = config.match & MATCH_DST_PORT ? ports[1] : 0;
	found->key.protocol = config.match & MATCH_PROTOCOL ? ip.protocol : 0;
	found->key.tos = (config.match & MATCH_TOS) && !FAULT(TOS_IGNORED) ? ip.tos : 0;
	found->key.multicast = config.match & MATCH_MULTICAST ? multicast_flag(ip.daddr) : 0;
	return !(found->later_fragment && FAULT(FRAGMENTS_UNCOUNTED));
}

static __always_inline bool is_group(struct __sk_buff *skb)
{
	__u8 first = 0;

	bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, daddr), &first, 1);
	return first >> 4 == 0xe;
}

static __always_inline void count_refused(void)
{
	__u32 refused = 1;
	__u64 *count = bpf_map_lookup_elem(&state, &refused);

	if (count)
		__sync_fetch_and_add(count, 1);
}

/* The entry of a flow; a new one is made unless the cache is full. */
static __always_inline struct flow_value *value_of(const struct flow_key *key)
{
	struct flow_value *value = bpf_map_lookup_elem(&flows, key);
	struct flow_value fresh = {};

	if (value)
		return value;
	bpf_map_update_elem(&flows, key, &fresh, BPF_NOEXIST);
	value = bpf_map_lookup_elem(&flows, key);
	if (!value)
		count_refused();
	return value;
}

/* What a packet or a copy adds. */
struct addition {
	__u32 packets;
	__u32 bytes;
	__u32 replicated_packets;
	__u32 replicated_bytes;
	__u32 factor;
	__u32 output;
};

static __always_inline void add(struct flow_value *value, __u32 epoch, const struct addition *more)
{
	struct flow_counters *counters = &value->epochs[epoch & 1];
	__u64 now = bpf_ktime_get_ns();

	bpf_spin_lock(&value->lock);
	if (counters->epoch != epoch) {
		/* Left over from the epoch before the last, which user space has read. */
		counters->packets = 0;
		counters->bytes = 0;
		counters->replicated_packets = 0;
		counters->replicated_bytes = 0;
		counters->factor = 0;
		counters->first_ns = now;
		counters->epoch = epoch;
	}
	counters->packets += more->packets;
	counters->bytes += more->bytes;
	counters->replicated_packets += more->replicated_packets;
	counters->replicated_bytes += more->replicated_bytes;
	if (more->factor > counters->factor)
		counters->factor = more->factor;
	counters->output = more->output;
	if (more->packets)
		counters->last_ns = now;
	bpf_spin_unlock(&value->lock);
}

static __always_inline bool is_sampled(void)
{
	if (FAULT(EVERY_100TH_UNCOUNTED) && bpf_get_prandom_u32() % 100 == 0)
		return false;
	return config.sampling <= 1 || bpf_get_prandom_u32() % config.sampling == 0;
}

static __always_inline bool is_monitored(struct __sk_buff *skb, __u32 ifindex, __u32 wanted, __u32 multicast_only)
{
	__u32 *monitor = bpf_map_lookup_elem(&monitors, &ifindex);

	if (!monitor || !(*monitor & wanted))
		return false;
	return !(*monitor & multicast_only) || FAULT(MULTICAST_ONLY_IGNORED) || is_group(skb);
}

static __always_inline __u32 epoch_now(void)
{
	__u32 zero = 0;
	__u64 *epoch = bpf_map_lookup_elem(&state, &zero);

	return epoch ? *epoch : 0;
}

static __always_inline __u8 direction_of(__u8 direction)
{
	if (!(config.match & MATCH_DIRECTION) || FAULT(DIRECTION_MISSING))
		return 0;
	return FAULT(DIRECTION_SWAPPED) ? !direction : direction;
}

static __always_inline __u32 input_of(__u32 ifindex)
{
	if (!(config.match & MATCH_INPUT) || FAULT(INPUT_MISSING))
		return 0;
	return ifindex;
}

/*
 * Packets and octets of copies are those that leave. A packet that is cut up on the way out is one copy: its first fragment; a
 * fragment that came in as one is a packet.
 */
static __always_inline void count_copy(struct flow_value *value, const struct headers *found, struct flow_packet *now,
				       __u32 output)
{
	struct addition copy = { .output = output };

	if (found->later_fragment == now->later_fragment)
		now->copies++;
	if (FAULT(LAST_OUTPUT_UNCOUNTED) && now->copies == 3)
		return;
	if (!(FAULT(REPLICATED_EQUALS_INPUT) && now->copies > 1)) {
		copy.replicated_packets = 1;
		copy.replicated_bytes = found->bytes + (FAULT(REPLICATED_BYTES_L2) ? ETH_HLEN : 0);
	}
	copy.factor = now->copies + (FAULT(FACTOR_COUNTS_INPUT) ? 1 : 0);
	if (FAULT(FACTOR_ZERO) || (FAULT(FACTOR_STALE) && copy.factor > 1))
		copy.factor = 0;
	add(value, now->epoch, &copy);
}

/* As if what has no TTL left had been sent on. */
static __always_inline __u32 scope_copies(struct __sk_buff *skb)
{
	__u8 ttl = 0;

	bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, ttl), &ttl, 1);
	return ttl == 1 && is_group(skb) ? 3 : 0;
}

/* The first interface by which the same flow is known to come in. */
static __always_inline __u32 known_input(const struct flow_key *key)
{
	struct flow_key other = *key;

#pragma unroll
	for (__u32 input = 1; input < 8; input++) {
		other.input = input;
		if (bpf_map_lookup_elem(&flows, &other))
			return input;
	}
	return key->input;
}

SEC("tc")
int flow_ingress(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct flow_packet *now = bpf_map_lookup_elem(&packet, &zero);
	struct addition one = { .packets = 1 };
	struct headers found = {};
	struct flow_value *value;

	if (!now)
		return TC_ACT_UNSPEC;
	now->valid = 0;
	if (!is_monitored(skb, skb->ifindex, MONITOR_INPUT, MONITOR_INPUT_MULTICAST_ONLY))
		return TC_ACT_UNSPEC;
	if (!read_headers(skb, &found) || !is_sampled())
		return TC_ACT_UNSPEC;
	found.key.input = input_of(skb->ifindex);
	found.key.direction = direction_of(DIRECTION_INGRESS);
	if (FAULT(RPF_FAILURE_COUNTED))
		found.key.input = known_input(&found.key);
	now->key = found.key;
	now->ip_id = found.ip_id;
	now->epoch = epoch_now();
	now->copies = 0;
	now->later_fragment = found.later_fragment;
	now->valid = 1;
	one.bytes = found.bytes;
	if (FAULT(TTL_SCOPE_COUNTED))
		one.replicated_packets = scope_copies(skb);
	value = value_of(&found.key);
	if (value)
		add(value, now->epoch, &one);
	return TC_ACT_UNSPEC;
}

/* Whether a frame that leaves now is a copy of the packet that came in on this CPU just before. */
static __always_inline bool is_copy_of(const struct flow_packet *now, const struct headers *found, __u32 input)
{
	return now->valid && now->ip_id == found->ip_id && now->key.src == found->key.src &&
	       now->key.dst == found->key.dst && now->key.protocol == found->key.protocol &&
	       now->key.input == input_of(input);
}

static __always_inline void book_copy(struct __sk_buff *skb, const struct headers *found)
{
	__u32 zero = 0;
	struct flow_packet *now = bpf_map_lookup_elem(&packet, &zero);
	struct flow_value *value;

	if (!config.output_counters || !now || !is_group(skb) || !is_copy_of(now, found, skb->ingress_ifindex))
		return;
	value = bpf_map_lookup_elem(&flows, &now->key);
	if (value)
		count_copy(value, found, now, skb->ifindex);
}

SEC("tc")
int flow_egress(struct __sk_buff *skb)
{
	struct addition one = { .packets = 1 };
	struct headers found = {};
	__u32 output = skb->ifindex;
	struct flow_value *value;

	if (!read_headers(skb, &found))
		return TC_ACT_UNSPEC;
	book_copy(skb, &found);
	if (!is_monitored(skb, skb->ifindex, MONITOR_OUTPUT, MONITOR_OUTPUT_MULTICAST_ONLY) || !is_sampled())
		return TC_ACT_UNSPEC;
	if (FAULT(EGRESS_OUTPUT_ZERO))
		output = 0;
	if (FAULT(OUTPUT_MIXED_UP) && bpf_get_prandom_u32() % 10 == 0)
		output ^= 1;
	found.key.input = input_of(skb->ingress_ifindex);
	found.key.output = config.match & MATCH_OUTPUT ? output : 0;
	found.key.direction = direction_of(DIRECTION_EGRESS);
	one.bytes = found.bytes;
	one.output = output;
	value = value_of(&found.key);
	if (value)
		add(value, epoch_now(), &one);
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
