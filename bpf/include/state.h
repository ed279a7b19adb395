/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The filter state of RFC 3376 section 6.2, kept per (group, veth, host): who wants which sources. Everything here runs
 * with the state's lock held, except the lock itself.
 */
#ifndef CASTPROOF_STATE_H
#define CASTPROOF_STATE_H

#include "drop.h"

/* How a source is counted in `filters`. */
enum mcast_counted {
	COUNTED_NOT,
	COUNTED_INCLUDE,
	COUNTED_EXCLUDE,
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MCAST_HOSTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mcast_host_key);
	__type(value, struct mcast_host);
} hosts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MCAST_SOURCES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mcast_source_key);
	__type(value, struct mcast_source);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

/* Members whose next datagram a fault takes. */
struct fresh_key {
	__be32 group;
	__u32 target;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct fresh_key);
	__type(value, __u8);
} fresh SEC(".maps");

/*
 * 0, which the verifier does not know. Kernels before 6.7 verify the callback of bpf_loop once, with the context as it is
 * before the first turn, and remove the branches that a constant there rules out: what changes from turn to turn and is
 * branched on must not start as a constant.
 */
static volatile __u32 some_zero;

#define LOCK_TRIES (1 << 20)
#define LIST_MAX 4096

/* bpf_spin_lock forbids the helpers that a change needs. All holders run in softirq, so none interrupts another. */
static __u32 state_locked;
static __u32 host_count;
/* No timer runs out earlier; 0: none runs. */
static __u64 next_expiry_ns;
/* Numbers the records: what a record lists carries its number. */
static __u64 last_mark;

static long try_lock(__u32 i, bool *locked)
{
	*locked = __sync_val_compare_and_swap(&state_locked, 0, 1) == 0;
	return *locked;
}

static __always_inline bool lock_state(void)
{
	bool locked = false;

	bpf_loop(LOCK_TRIES, try_lock, &locked, 0);
	return locked;
}

static __always_inline void unlock_state(void)
{
	__sync_lock_test_and_set(&state_locked, 0);
}

static __always_inline void emit_event(__u32 kind, __be32 group, __u32 value, __be32 source)
{
	struct mcast_event event = { .kind = kind, .group = group, .value = value, .source = source };

	if (bpf_ringbuf_output(&events, &event, sizeof(event), 0))
		count_drop(DROP_EVENT_LOST);
}

struct row_search {
	struct mcast_table *table;
	__u32 target;
	__u32 found; /* row + 1 */
	__u32 free;  /* row + 1 */
};

static long look_at_row(__u32 i, struct row_search *search)
{
	struct mcast_member *row = &search->table->members[i & (MCAST_MEMBERS_MAX - 1)];

	if (row->target == search->target)
		search->found = i + 1;
	else if (!row->target && !search->free)
		search->free = i + 1;
	return search->found != 0;
}

/* The row of `target`, or NULL. */
static __always_inline struct mcast_member *find_row(struct mcast_table *table, __u32 target)
{
	struct row_search search = { .table = table, .target = target, .free = some_zero };

	bpf_loop(table->rows, look_at_row, &search, 0);
	if (!search.found)
		return NULL;
	return &table->members[(search.found - 1) & (MCAST_MEMBERS_MAX - 1)];
}

static __always_inline void mark_fresh(struct mcast_table *table, __u32 target)
{
	struct fresh_key key = { .group = table->group, .target = target };
	__u8 one = 1;

	bpf_map_update_elem(&fresh, &key, &one, BPF_ANY);
}

/* The row of `target`, made if need be; NULL: the group is full. */
static __noinline struct mcast_member *hold_row(struct mcast_table *table, __u32 target)
{
	struct row_search search = { .table = table, .target = target, .free = some_zero };
	__u32 limit = FAULT(MEMBER_LIMIT_OFF_BY_ONE) ? MCAST_MEMBERS_MAX - 1 : MCAST_MEMBERS_MAX;
	struct mcast_member *row;

	bpf_loop(table->rows, look_at_row, &search, 0);
	if (search.found)
		return &table->members[(search.found - 1) & (MCAST_MEMBERS_MAX - 1)];
	if (table->count >= limit)
		return NULL;
	if (!search.free)
		search.free = table->rows + 1;
	row = &table->members[(search.free - 1) & (MCAST_MEMBERS_MAX - 1)];
	row->exclude_hosts = 0;
	row->filters = 0;
	row->target = target;
	if (search.free > table->rows)
		table->rows = search.free;
	table->count++;
	if (FAULT(FIRST_PACKET_LOST))
		mark_fresh(table, target);
	if (!(target & TARGET_REMOTE)) {
		table->local++;
		emit_event(EVENT_LOCAL_COUNT, table->group, table->local, 0);
	}
	return row;
}

static long trim_row(__u32 i, struct mcast_table **table)
{
	__u32 last = (*table)->rows - 1;

	if (last >= MCAST_MEMBERS_MAX || (*table)->members[last & (MCAST_MEMBERS_MAX - 1)].target)
		return 1;
	(*table)->rows = last;
	return 0;
}

static __noinline int free_row(struct mcast_table *table, struct mcast_member *row)
{
	__u32 target = row->target;

	if (!target)
		return 0;
	row->target = 0;
	table->count--;
	bpf_loop(MCAST_MEMBERS_MAX, trim_row, &table, 0);
	if (!(target & TARGET_REMOTE)) {
		table->local--;
		emit_event(EVENT_LOCAL_COUNT, table->group, table->local, 0);
	}
	return 0;
}

/* Counts one more host of the row's veth that includes or excludes the source. */
static __always_inline bool add_counted(struct mcast_member *row, struct mcast_filter_key *key, __u8 counted)
{
	struct mcast_filter *filter, first = {};

	if (counted == COUNTED_NOT)
		return true;
	filter = bpf_map_lookup_elem(&filters, key);
	if (!filter) {
		first.includes = counted == COUNTED_INCLUDE;
		first.excludes = counted == COUNTED_EXCLUDE;
		if (bpf_map_update_elem(&filters, key, &first, BPF_NOEXIST)) {
			count_drop(DROP_SOURCE_LIMIT);
			return false;
		}
		row->filters++;
	} else if (counted == COUNTED_INCLUDE) {
		filter->includes++;
	} else {
		filter->excludes++;
	}
	return true;
}

static __always_inline void remove_counted(struct mcast_member *row, struct mcast_filter_key *key, __u8 counted)
{
	struct mcast_filter *filter;

	if (counted == COUNTED_NOT)
		return;
	filter = bpf_map_lookup_elem(&filters, key);
	if (!filter)
		return;
	if (counted == COUNTED_INCLUDE)
		filter->includes--;
	else
		filter->excludes--;
	if (!filter->includes && !filter->excludes) {
		row->filters--;
		bpf_map_delete_elem(&filters, key);
	}
}

static __always_inline __u8 counted_as(__u32 mode, __u8 blocked)
{
	if (mode == MODE_INCLUDE)
		return blocked ? COUNTED_NOT : COUNTED_INCLUDE;
	return blocked ? COUNTED_EXCLUDE : COUNTED_NOT;
}

/* A walk over one host's list of sources; what is done to each depends on `step`. */
struct source_walk {
	struct mcast_host *host;
	struct mcast_member *row;
	struct mcast_source_key key; /* source: the one to look at next */
	__be32 previous;
	__u8 step;
	__u8 running_op; /* for sources that the record did not list */
	__u8 blocked_op;
	__u8 queried;
	__u64 mark;
	__u64 now;
};

enum walk_step {
	WALK_SETTLE, /* after a record: what it did not list, then counts as the new mode has them */
	WALK_EXPIRE, /* source timers */
	WALK_CLEAR,  /* the host goes */
};

enum source_op {
	OP_KEEP,
	OP_RUN,       /* wanted, timer = group membership interval */
	OP_QUERY,     /* ask, timer lowered to the last member query time */
	OP_RUN_QUERY, /* new, timer = group timer, then as OP_QUERY */
	OP_BLOCK,     /* into Y */
	OP_DELETE,
	OP_NONE, /* not there, not made */
};

static __always_inline void note_expiry(__u64 expires_ns)
{
	if (expires_ns && (!next_expiry_ns || expires_ns < next_expiry_ns))
		next_expiry_ns = expires_ns;
}

static __always_inline bool lower_timer(__u64 *expires_ns, __u64 now)
{
	__u64 limit = now + config.last_member_query_time_ns;

	if (*expires_ns && *expires_ns <= limit)
		return false;
	*expires_ns = limit;
	note_expiry(limit);
	return true;
}

static __always_inline bool walk_removes(struct source_walk *walk, struct mcast_source *source)
{
	__u8 op;

	if (walk->step == WALK_CLEAR)
		return true;
	if (walk->step == WALK_EXPIRE) {
		if (source->blocked || !source->expires_ns || source->expires_ns > walk->now)
			return false;
		if (walk->host->mode == MODE_INCLUDE)
			return true;
		source->blocked = 1; /* RFC 3376 section 6.2.3: X to Y */
		source->expires_ns = 0;
		return false;
	}
	if (source->mark == walk->mark)
		return false;
	op = source->blocked ? walk->blocked_op : walk->running_op;
	if (op == OP_QUERY && !source->blocked) {
		lower_timer(&source->expires_ns, walk->now);
		emit_event(EVENT_QUERY, walk->key.group, walk->key.ifindex, walk->key.source);
	}
	return op == OP_DELETE;
}

static long walk_source(__u32 i, struct source_walk *walk)
{
	struct mcast_source *source;
	struct mcast_filter_key filter_key = {};
	struct mcast_source_key key = walk->key;
	__be32 next;
	__u8 counted;

	if (!key.source)
		return 1;
	source = bpf_map_lookup_elem(&sources, &key);
	if (!source) {
		walk->key.source = 0;
		return 1;
	}
	filter_key.group = key.group;
	filter_key.ifindex = key.ifindex;
	filter_key.source = key.source;
	next = source->next;
	/* A source marked for deletion by the record itself carries an impossible mark. */
	if (walk_removes(walk, source) || source->mark == ~0ULL) {
		remove_counted(walk->row, &filter_key, source->counted);
		if (walk->previous) {
			struct mcast_source *before;
			struct mcast_source_key before_key = key;

			before_key.source = walk->previous;
			before = bpf_map_lookup_elem(&sources, &before_key);
			if (before)
				before->next = next;
		} else {
			walk->host->first = next;
		}
		bpf_map_delete_elem(&sources, &key);
	} else {
		counted = counted_as(walk->host->mode, source->blocked);
		if (source->counted != counted) {
			/* The new count before the old one goes: no moment in which a wanted source is not wanted. */
			if (!add_counted(walk->row, &filter_key, counted))
				counted = COUNTED_NOT;
			remove_counted(walk->row, &filter_key, source->counted);
			source->counted = counted;
		}
		walk->previous = key.source;
		note_expiry(source->expires_ns);
	}
	walk->key.source = next;
	return 0;
}

static __always_inline void walk_sources(struct source_walk *walk)
{
	walk->key.source = walk->host->first;
	walk->previous = some_zero;
	bpf_loop(LIST_MAX, walk_source, walk, 0);
}

/* A host in INCLUDE mode without sources wants nothing: its state goes, then the row if it was the veth's last host. */
static __always_inline void forget_if_idle(struct mcast_table *table, struct mcast_member *row,
					   struct mcast_host *host, struct mcast_host_key *key)
{
	if (host->mode == MODE_INCLUDE && !host->first && !bpf_map_delete_elem(&hosts, key))
		host_count--;
	if (!row->exclude_hosts && !row->filters)
		free_row(table, row);
}

/* `key` must not point into the map: it is read after the host is deleted. */
static __noinline int remove_host(struct mcast_host_key *key, struct mcast_host *host)
{
	struct mcast_table *table = group_table(key->group);
	struct source_walk walk = { .host = host, .step = WALK_CLEAR };

	if (!table)
		return 0;
	walk.row = find_row(table, key->ifindex);
	if (!walk.row)
		return 0;
	walk.key.group = key->group;
	walk.key.ifindex = key->ifindex;
	walk.key.host = key->host;
	walk_sources(&walk);
	if (host->mode == MODE_EXCLUDE)
		walk.row->exclude_hosts--;
	host->mode = MODE_INCLUDE;
	forget_if_idle(table, walk.row, host, key);
	return 0;
}

/* Which hosts a sweep is about; 0: any. */
struct host_sweep {
	__be32 group;
	__u32 ifindex;
};

static long sweep_host(void *map, struct mcast_host_key *key, struct mcast_host *host, struct host_sweep *sweep)
{
	struct mcast_host_key copy = *key;

	if ((!sweep->group || copy.group == sweep->group) && (!sweep->ifindex || copy.ifindex == sweep->ifindex))
		remove_host(&copy, host);
	return 0;
}

static __always_inline void remove_hosts(__be32 group, __u32 ifindex)
{
	struct host_sweep sweep = { .group = group, .ifindex = ifindex };

	if (!host_count)
		return;
	bpf_for_each_map_elem(&hosts, sweep_host, &sweep, 0);
}

#endif
