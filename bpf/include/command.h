/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Changes that come from user space. BPF_PROG_RUN runs in a process, which a softirq may interrupt with the state's lock
 * held; so it only starts a timer, and the command runs in that timer's softirq.
 */
#ifndef CASTPROOF_COMMAND_H
#define CASTPROOF_COMMAND_H

#include "state.h"

#define COMMAND_SLOTS 4
#define AGEING_TICK_NS 5000000ULL
#define CLOCK_MONOTONIC 1
#define EBUSY 16

struct command_slot {
	struct bpf_timer timer;
	struct mcast_command command;
	__u32 done; /* the command's sequence, when it has run */
	__u32 refused;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COMMAND_SLOTS);
	__type(key, __u32);
	__type(value, struct command_slot);
} commands SEC(".maps");

struct ageing {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ageing);
} ageing SEC(".maps");

/* RFC 3376 section 6.5: the group timer of EXCLUDE mode ran out; sources still asked for stay. */
static __always_inline void expire_group(struct mcast_member *row, struct mcast_host *host, __u64 now)
{
	if (host->mode != MODE_EXCLUDE || !host->expires_ns || host->expires_ns > now)
		return;
	host->expires_ns = 0;
	host->mode = MODE_INCLUDE;
	row->exclude_hosts--;
}

/* After expire_group: in INCLUDE mode nothing is blocked, sources of Y go. */
static long expire_host(void *map, struct mcast_host_key *key, struct mcast_host *host, __u64 *now)
{
	struct mcast_host_key copy = *key;
	struct source_walk walk = { .host = host, .step = WALK_EXPIRE, .now = *now };
	struct mcast_table *table = group_table(copy.group);
	__u32 mode = host->mode;

	if (!table)
		return 0;
	walk.row = find_row(table, copy.ifindex);
	if (!walk.row)
		return 0;
	walk.key.group = copy.group;
	walk.key.ifindex = copy.ifindex;
	walk.key.host = copy.host;
	walk_sources(&walk);
	expire_group(walk.row, host, *now);
	if (host->mode != mode) {
		walk.step = WALK_SETTLE;
		walk.mark = ++last_mark;
		walk.running_op = OP_KEEP;
		walk.blocked_op = OP_DELETE;
		walk_sources(&walk);
	}
	note_expiry(host->expires_ns);
	forget_if_idle(table, walk.row, host, &copy);
	return 0;
}

static int age(void *map, __u32 *key, struct ageing *value)
{
	__u64 now = bpf_ktime_get_ns();

	/* Every sweep looks at all hosts: only when a timer may have run out. */
	if (!FAULT(NO_AGEING) && next_expiry_ns && next_expiry_ns <= now && lock_state()) {
		next_expiry_ns = 0;
		bpf_for_each_map_elem(&hosts, expire_host, &now, 0);
		unlock_state();
	}
	bpf_timer_start(&value->timer, AGEING_TICK_NS, 0);
	return 0;
}

static __always_inline __u32 start_ageing(void)
{
	__u32 zero = 0;
	struct ageing *value = bpf_map_lookup_elem(&ageing, &zero);

	if (!value)
		return 1;
	bpf_timer_init(&value->timer, &ageing, CLOCK_MONOTONIC);
	bpf_timer_set_callback(&value->timer, age);
	return bpf_timer_start(&value->timer, AGEING_TICK_NS, 0) != 0;
}

static __always_inline __u32 enable_group(struct mcast_command *command)
{
	__be32 group = command->group;
	__u32 slot = command->value;
	struct mcast_table *table = bpf_map_lookup_elem(&tables, &slot);

	if (!table)
		return 1;
	table->group = group;
	if (bpf_map_update_elem(&groups, &group, &slot, BPF_NOEXIST))
		return 1;
	emit_event(EVENT_ENABLED, group, 0, 0);
	return 0;
}

static long clear_row(__u32 i, struct mcast_table **table)
{
	struct mcast_member *row = &(*table)->members[i & (MCAST_MEMBERS_MAX - 1)];

	if (row->target)
		free_row(*table, row);
	return 0;
}

static __always_inline __u32 disable_group(__be32 group)
{
	struct mcast_table *table = group_table(group);

	if (!table)
		return 1;
	remove_hosts(group, 0);
	bpf_loop(MCAST_MEMBERS_MAX, clear_row, &table, 0);
	bpf_map_delete_elem(&groups, &group);
	emit_event(EVENT_DISABLED, group, 0, 0);
	return 0;
}

static __always_inline __u32 change_node(struct mcast_command *command)
{
	struct mcast_table *table = group_table(command->group);
	__u32 target = command->value | TARGET_REMOTE;
	struct mcast_member *row;

	if (!table)
		return 1;
	if (command->kind == COMMAND_REMOVE_NODE) {
		row = find_row(table, target);
		if (row)
			free_row(table, row);
		return 0;
	}
	row = hold_row(table, target);
	if (!row) {
		count_drop(DROP_MEMBER_LIMIT);
		return 1;
	}
	row->filters = command->pods;
	return 0;
}

static __always_inline __u32 detach_pod(__u32 ifindex)
{
	struct mcast_pod *pod = bpf_map_lookup_elem(&pods, &ifindex);

	if (!FAULT(DEAD_POD_KEPT))
		remove_hosts(0, ifindex);
	if (pod) {
		__be32 address = pod->address;
		__u32 *owner = bpf_map_lookup_elem(&pod_addresses, &address);

		if (owner && *owner == ifindex)
			bpf_map_delete_elem(&pod_addresses, &address);
		bpf_map_delete_elem(&pods, &ifindex);
	}
	return 0;
}

static __always_inline __u32 run_locked(struct mcast_command *command)
{
	switch (command->kind) {
	case COMMAND_ENABLE:
		return enable_group(command);
	case COMMAND_DISABLE:
		return disable_group(command->group);
	case COMMAND_ADD_NODE:
	case COMMAND_REMOVE_NODE:
		return change_node(command);
	case COMMAND_DETACH:
		return detach_pod(command->value);
	}
	return 1;
}

static int run_command(void *map, __u32 *key, struct command_slot *slot)
{
	struct mcast_command command = slot->command;

	if (!lock_state()) {
		count_drop(DROP_STATE_BUSY);
		slot->refused = 1;
	} else {
		slot->refused = run_locked(&command);
		unlock_state();
	}
	slot->done = command.sequence;
	return 0;
}

/* 0, or an error of the helper that refused. */
static __always_inline int take_command(struct __sk_buff *skb)
{
	struct mcast_command command;
	struct command_slot *slot;
	long error;

	error = bpf_skb_load_bytes(skb, 0, &command, sizeof(command));
	if (error)
		return error;
	if (command.kind == COMMAND_START_AGEING)
		return start_ageing();
	slot = bpf_map_lookup_elem(&commands, &command.slot);
	if (!slot)
		return 1;
	slot->command = command;
	error = bpf_timer_init(&slot->timer, &commands, CLOCK_MONOTONIC);
	if (error && error != -EBUSY) /* busy: initialised before */
		return error;
	error = bpf_timer_set_callback(&slot->timer, run_command);
	if (error)
		return error;
	return bpf_timer_start(&slot->timer, 0, 0);
}

#endif
