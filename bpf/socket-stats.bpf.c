// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Counters of the UDP sockets of a node's pods: what each sends (cgroup egress), what comes to it (cgroup ingress, which
 * runs once a socket), what found no room (a tracepoint on the same CPU right after that), and, where programs may trace
 * functions, what is read and how long it had waited. A pod is a network namespace; the owner of a socket is
 * who made it.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "socket-stats.h"

#define IP_OFFSET 0x1fff
#define AF_INET 2
#define AF_INET6 10
#define SOCK_DGRAM 2
#define ALLOW 1
#define PACKET_LOOPBACK 5
#define BURST_GAP_NS 1000000ULL

char _license[] SEC("license") = "Dual BSD/GPL";

const volatile struct socket_config config SEC(".rodata.config") = {};

#define FAULT(name) (config.fault_mask & (1ULL << SOCKET_FAULT_##name))

/* Only what is read of them; where it lies, the running kernel's BTF says. */
#define OF_KERNEL __attribute__((preserve_access_index))
struct qstr {
	const unsigned char *name;
} OF_KERNEL;
struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
} OF_KERNEL;
struct path {
	struct dentry *dentry;
} OF_KERNEL;
struct super_block {
	__u32 s_dev;
} OF_KERNEL;
struct inode {
	unsigned long i_ino;
	struct super_block *i_sb;
} OF_KERNEL;
struct file {
	struct path f_path;
	struct inode *f_inode;
} OF_KERNEL;
struct mm_struct {
	struct file *exe_file;
} OF_KERNEL;
struct task_struct {
	struct mm_struct *mm;
} OF_KERNEL;
struct sk_buff {
	unsigned char *head;
	__u16 network_header;
} OF_KERNEL;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64); /* cookie of the namespace */
	__type(value, __u32);
} pods SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct socket_owner);
} owners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct binary_key);
	__type(value, struct binary_path);
} binaries SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct socket_flow_key);
	__type(value, struct socket_flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct socket_arrival);
} arrivals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct binary_path);
} scratch SEC(".maps");

/* Datagrams in the sockets' queues, by the address of their sk_buff. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct socket_waiting);
} waiting SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct socket_flow_key);
	__type(value, __be32);
} first_senders SEC(".maps");

/* 0: segments whose flow the full table had no room for. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} refused SEC(".maps");

static const __u32 zero;

static __always_inline void add(__u64 *counter, __u64 n)
{
	__sync_fetch_and_add(counter, n);
}

static __always_inline void read_path(struct file *exe, struct binary_path *path)
{
	struct dentry *dentry = BPF_CORE_READ(exe, f_path.dentry), *parent;
	int i;

#pragma unroll
	for (i = 0; i < PATH_NAMES_MAX; i++) {
		parent = BPF_CORE_READ(dentry, d_parent);
		path->names[i][0] = 0;
		if (!dentry || parent == dentry)
			continue;
		bpf_probe_read_kernel_str(path->names[i], PATH_NAME_BYTES, BPF_CORE_READ(dentry, d_name.name));
		dentry = parent;
	}
}

/* What the current task was started from; its path is kept once. */
static __always_inline void read_binary(struct binary_key *key)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct file *exe = BPF_CORE_READ(task, mm, exe_file);
	struct binary_path *path;

	if (!exe)
		return;
	key->inode = BPF_CORE_READ(exe, f_inode, i_ino);
	key->device = BPF_CORE_READ(exe, f_inode, i_sb, s_dev);
	path = bpf_map_lookup_elem(&scratch, &zero);
	if (!path || bpf_map_lookup_elem(&binaries, key))
		return;
	read_path(exe, path);
	bpf_map_update_elem(&binaries, key, path, BPF_NOEXIST);
}

SEC("cgroup/sock_create")
int socket_made(struct bpf_sock *sk)
{
	__u64 netns = bpf_get_netns_cookie(sk);
	struct socket_owner *owner;

	if (sk->type != SOCK_DGRAM || sk->protocol != IPPROTO_UDP || (sk->family != AF_INET && sk->family != AF_INET6))
		return ALLOW;
	if (!bpf_map_lookup_elem(&pods, &netns))
		return ALLOW;
	owner = bpf_sk_storage_get(&owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!owner)
		return ALLOW;
	owner->netns = netns;
	read_binary(&owner->binary);
	return ALLOW;
}

struct datagram {
	__be32 src;
	__be32 dst;
	__u32 bytes; /* of UDP payload */
	__u32 segs;
};

static __always_inline bool read_datagram(struct __sk_buff *skb, struct datagram *found)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return false;
	if (ip.protocol != IPPROTO_UDP || (ip.frag_off & bpf_htons(IP_OFFSET)))
		return false;
	if (skb->len < ip.ihl * 4 + sizeof(struct udphdr))
		return false;
	found->src = ip.saddr;
	found->dst = ip.daddr;
	found->segs = skb->gso_segs > 1 ? skb->gso_segs : 1;
	found->bytes = skb->len - ip.ihl * 4 - sizeof(struct udphdr);
	if (FAULT(BYTES_IP))
		found->bytes = skb->len;
	if (FAULT(BYTES_FRAME))
		found->bytes = skb->len + 14;
	return true;
}

static __always_inline struct socket_owner *owner_of(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return NULL;
	sk = bpf_sk_fullsock(sk);
	return sk ? bpf_sk_storage_get(&owners, sk, 0, 0) : NULL;
}

/* The entry of a flow; a new one is made unless the table is full. */
static __always_inline struct socket_flow *flow_of(const struct socket_flow_key *key, __u32 segs)
{
	struct socket_flow *flow = bpf_map_lookup_elem(&flows, key);
	struct socket_flow fresh = {};
	__u64 *count;

	if (flow)
		return flow;
	bpf_map_update_elem(&flows, key, &fresh, BPF_NOEXIST);
	flow = bpf_map_lookup_elem(&flows, key);
	count = bpf_map_lookup_elem(&refused, &zero);
	if (!flow && count)
		add(count, segs);
	return flow;
}

/* A burst is two segments or more, each less than a millisecond after the one before. */
static __always_inline void count_side(struct socket_side *side, const struct datagram *datagram, __u64 now)
{
	bool close = now - side->last_ns < BURST_GAP_NS || datagram->segs > 1;
	__u64 before;

	side->last_ns = now;
	if (close && (!side->in_burst || FAULT(BURST_EACH_SEGMENT)))
		add(&side->bursts, 1);
	side->in_burst = close;
	before = __sync_fetch_and_add(&side->segs, datagram->segs);
	add(&side->bytes, datagram->bytes);
	if (FAULT(EVERY_100TH_SEGMENT_UNCOUNTED) && before % 100 == 98) {
		add(&side->segs, -(__u64)datagram->segs);
		add(&side->bytes, -(__u64)datagram->bytes);
	}
}

/* FAULT_SENDERS_MERGED: whose row it is that all others are booked to. */
static __always_inline __be32 first_sender(const struct socket_flow_key *key)
{
	struct socket_flow_key any = *key;
	__be32 *first;

	any.remote = 0;
	bpf_map_update_elem(&first_senders, &any, &key->remote, BPF_NOEXIST);
	first = bpf_map_lookup_elem(&first_senders, &any);
	return first ? *first : key->remote;
}

static __always_inline void count_looped(const struct socket_owner *owner, const struct datagram *datagram, __u64 now)
{
	struct socket_flow_key key = { .owner = *owner, .local = datagram->src, .remote = datagram->dst };
	struct socket_flow *flow = flow_of(&key, datagram->segs);

	if (flow)
		count_side(&flow->tx, datagram, now);
}

/* Runs for each socket that a datagram is for, before its queue: other hooks see one datagram, however many sockets get it. */
SEC("cgroup_skb/ingress")
int socket_in(struct __sk_buff *skb)
{
	struct socket_arrival *arrival = bpf_map_lookup_elem(&arrivals, &zero);
	struct datagram datagram = {};
	struct socket_waiting wait = {};
	struct socket_owner *owner;
	struct socket_flow *flow;
	__u64 now;

	if (!arrival)
		return ALLOW;
	arrival->segs = 0;
	owner = owner_of(skb);
	if (!owner || !read_datagram(skb, &datagram))
		return ALLOW;
	wait.key.owner = *owner;
	wait.key.local = FAULT(LABELS_OF_PACKET) ? datagram.src : datagram.dst;
	wait.key.remote = FAULT(LABELS_OF_PACKET) ? datagram.dst : datagram.src;
	if (FAULT(SENDERS_MERGED))
		wait.key.remote = first_sender(&wait.key);
	flow = flow_of(&wait.key, datagram.segs);
	if (!flow)
		return ALLOW;
	now = bpf_ktime_get_ns();
	count_side(&flow->rx, &datagram, now);
	if (FAULT(LOOP_COUNTED) && skb->pkt_type == PACKET_LOOPBACK)
		count_looped(owner, &datagram, now);
	arrival->key = wait.key;
	arrival->skb = (__u64)skb;
	arrival->bytes = datagram.bytes;
	arrival->segs = datagram.segs;
	if (config.latency) {
		wait.arrived_ns = now;
		bpf_map_update_elem(&waiting, &arrival->skb, &wait, BPF_ANY);
	}
	return ALLOW;
}

/* The socket had no room: nothing else was handed to a socket on this CPU since socket_in. */
SEC("raw_tp/udp_fail_queue_rcv_skb")
int socket_full(void *ctx)
{
	struct socket_arrival *arrival = bpf_map_lookup_elem(&arrivals, &zero);
	struct socket_flow *flow;

	if (!arrival || !arrival->segs)
		return 0;
	flow = bpf_map_lookup_elem(&flows, &arrival->key);
	bpf_map_delete_elem(&waiting, &arrival->skb);
	if (flow && !FAULT(DROPS_UNSEEN)) {
		add(&flow->drops, arrival->segs);
		add(&flow->drop_bytes, arrival->bytes);
		if (FAULT(DROPS_AS_RECEIVED)) {
			add(&flow->rx.segs, arrival->segs);
			add(&flow->rx.bytes, arrival->bytes);
		}
	}
	arrival->segs = 0;
	return 0;
}

/* What the sender's own kernel loops back to a member on its host (ip_mc_output) is a clone without a socket, and never passes here. */
SEC("cgroup_skb/egress")
int socket_out(struct __sk_buff *skb)
{
	struct socket_owner *owner = owner_of(skb);
	struct socket_flow_key key = {};
	struct datagram datagram = {};
	struct socket_flow *flow;

	if (!owner || !read_datagram(skb, &datagram))
		return ALLOW;
	key.owner = *owner;
	key.local = datagram.src;
	key.remote = datagram.dst;
	flow = flow_of(&key, datagram.segs);
	if (flow)
		count_side(&flow->tx, &datagram, bpf_ktime_get_ns());
	return ALLOW;
}

static __always_inline __u32 bucket_of(__u64 ns)
{
	__u32 i, bucket = 0;

#pragma unroll
	for (i = 0; i < LATENCY_BUCKETS - 1; i++)
		bucket += ns >= 1024ULL << i;
	return bucket;
}

/* What was read and never seen to arrive: its addresses are still in front of the payload. */
static __always_inline void count_miss(const struct socket_owner *owner, struct sk_buff *packet)
{
	unsigned char *at = BPF_CORE_READ(packet, head) + BPF_CORE_READ(packet, network_header);
	struct socket_flow_key key = { .owner = *owner };
	struct socket_flow *flow;
	struct iphdr ip = {};

	bpf_probe_read_kernel(&ip, sizeof(ip), at);
	key.local = ip.daddr;
	key.remote = ip.saddr;
	flow = flow_of(&key, 1);
	if (flow)
		add(&flow->consume_misses, 1);
}

struct sock;

/* skb_consume_udp(sk, skb, len): the program has it, or has peeked at it: then len is negative. Loaded where functions may be traced. */
SEC("fentry/skb_consume_udp")
int socket_read(__u64 *ctx)
{
	__u64 packet = ctx[1], waited;
	struct socket_waiting *wait = bpf_map_lookup_elem(&waiting, &packet);
	struct socket_owner *owner;
	struct socket_flow *flow;

	if ((int)ctx[2] < 0)
		return 0;
	if (!wait) {
		owner = bpf_sk_storage_get(&owners, (struct sock *)ctx[0], 0, 0);
		if (owner)
			count_miss(owner, (struct sk_buff *)packet);
		return 0;
	}
	flow = bpf_map_lookup_elem(&flows, &wait->key);
	waited = bpf_ktime_get_ns() - wait->arrived_ns;
	if (flow) {
		add(&flow->consumed, 1);
		add(&flow->latency_sum_ns, waited);
		add(&flow->latency[bucket_of(waited) & (LATENCY_BUCKETS - 1)], 1);
	}
	bpf_map_delete_elem(&waiting, &packet);
	return 0;
}

/* Keeps in BTF what only user space uses by name. */
const volatile struct {
	enum socket_fault fault;
} socket_names SEC(".rodata.names") = {};
