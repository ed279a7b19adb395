// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The obvious way to replicate, for bench/replication.bench.ts to compare with: nothing else uses it. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u32);
} members SEC(".maps");

struct copy {
	struct __sk_buff *skb;
};

static long copy_to(void *map, __u32 *key, __u32 *ifindex, struct copy *copy)
{
	bpf_clone_redirect(copy->skb, *ifindex, 0);
	return 0;
}

SEC("tc")
int plain_loop(struct __sk_buff *skb)
{
	struct copy copy = { .skb = skb };

	bpf_for_each_map_elem(&members, copy_to, &copy, 0);
	return TC_ACT_SHOT;
}
