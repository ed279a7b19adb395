// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The sending end of generators/transmit/xdp.ts. BPF_PROG_RUN with live frames runs it once a frame: each run turns the
 * kernel's page into the next frame of the batch and sends it out of one interface.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define MIN_FRAME_BYTES 14

/* A slot: the frame's length, then its bytes. The sender sets how many slots there are and how long they are. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 64);
} slots SEC(".maps");

const volatile __u32 out_ifindex = 0;
const volatile __u32 max_frame_bytes = 60;

struct position {
	__u32 next;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct position);
} position SEC(".maps");

SEC("xdp")
int xdp_send(struct xdp_md *ctx)
{
	__u32 zero = 0, length;
	struct position *at = bpf_map_lookup_elem(&position, &zero);
	__u32 *slot = at ? bpf_map_lookup_elem(&slots, &at->next) : 0;

	if (!slot)
		return XDP_DROP;
	at->next++;
	length = slot[0];
	if (length < MIN_FRAME_BYTES || length > max_frame_bytes)
		return XDP_DROP;
	if (bpf_xdp_adjust_tail(ctx, (int)length - (int)bpf_xdp_get_buff_len(ctx)))
		return XDP_DROP;
	if (bpf_xdp_store_bytes(ctx, 0, slot + 1, length))
		return XDP_DROP;
	return bpf_redirect(out_ifindex, 0);
}
