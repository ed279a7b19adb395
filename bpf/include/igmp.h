/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* IGMP from pods: validate the whole message, then apply all of it (RFC 3376 sections 4 and 6.4, RFC 2236). */
#ifndef CASTPROOF_IGMP_H
#define CASTPROOF_IGMP_H

#include "parse.h"
#include "state.h"

#define IGMP_QUERY 0x11
#define IGMP_V1_REPORT 0x12
#define IGMP_V2_REPORT 0x16
#define IGMP_V2_LEAVE 0x17
#define IGMP_V3_REPORT 0x22

/* RFC 3376 section 4.2.12 */
enum record_type {
	MODE_IS_INCLUDE = 1,
	MODE_IS_EXCLUDE,
	CHANGE_TO_INCLUDE_MODE,
	CHANGE_TO_EXCLUDE_MODE,
	ALLOW_NEW_SOURCES,
	BLOCK_OLD_SOURCES,
	RECORD_TYPES,
};

#define IGMP_BYTES_MAX 2048
#define IGMP_BYTES_MIN 8
#define RECORD_BYTES 8
#define RECORDS_MAX (IGMP_BYTES_MAX / RECORD_BYTES)
#define SOURCES_PER_RECORD_MAX (IGMP_BYTES_MAX / 4)
#define CLEAR_LINE 64
#define CSUM_CHUNK 512 /* the most that bpf_csum_diff takes on 6.1 */

enum timer_op {
	TIMER_KEEP,
	TIMER_START, /* group membership interval */
	TIMER_QUERY, /* ask, lowered to the last member query time */
};

/* One cell of the tables of RFC 3376 section 6.4: what a record does to each source, and to the group timer. */
struct transition {
	__u8 mode;
	__u8 listed_running; /* in the record, and in A or X */
	__u8 listed_blocked; /* in the record, and in Y */
	__u8 listed_new;     /* in the record only */
	__u8 other_running;  /* in A or X only */
	__u8 other_blocked;  /* in Y only */
	__u8 timer;
	__u8 reserved;
};

/* With a querier: sections 6.4.1 and 6.4.2 to the letter. */
static const struct transition timed[2][RECORD_TYPES] = {
	[MODE_INCLUDE] = {
		[MODE_IS_INCLUDE] = { MODE_INCLUDE, OP_RUN, OP_RUN, OP_RUN, OP_KEEP, OP_KEEP, TIMER_KEEP },
		[MODE_IS_EXCLUDE] = { MODE_EXCLUDE, OP_KEEP, OP_KEEP, OP_BLOCK, OP_DELETE, OP_DELETE, TIMER_START },
		[CHANGE_TO_INCLUDE_MODE] = { MODE_INCLUDE, OP_RUN, OP_RUN, OP_RUN, OP_QUERY, OP_KEEP, TIMER_KEEP },
		[CHANGE_TO_EXCLUDE_MODE] = { MODE_EXCLUDE, OP_QUERY, OP_KEEP, OP_BLOCK, OP_DELETE, OP_DELETE, TIMER_START },
		[ALLOW_NEW_SOURCES] = { MODE_INCLUDE, OP_RUN, OP_RUN, OP_RUN, OP_KEEP, OP_KEEP, TIMER_KEEP },
		[BLOCK_OLD_SOURCES] = { MODE_INCLUDE, OP_QUERY, OP_KEEP, OP_NONE, OP_KEEP, OP_KEEP, TIMER_KEEP },
	},
	[MODE_EXCLUDE] = {
		[MODE_IS_INCLUDE] = { MODE_EXCLUDE, OP_RUN, OP_RUN, OP_RUN, OP_KEEP, OP_KEEP, TIMER_KEEP },
		[MODE_IS_EXCLUDE] = { MODE_EXCLUDE, OP_KEEP, OP_KEEP, OP_RUN, OP_DELETE, OP_DELETE, TIMER_START },
		[CHANGE_TO_INCLUDE_MODE] = { MODE_EXCLUDE, OP_RUN, OP_RUN, OP_RUN, OP_QUERY, OP_KEEP, TIMER_QUERY },
		[CHANGE_TO_EXCLUDE_MODE] = { MODE_EXCLUDE, OP_QUERY, OP_KEEP, OP_RUN_QUERY, OP_DELETE, OP_DELETE, TIMER_START },
		[ALLOW_NEW_SOURCES] = { MODE_EXCLUDE, OP_RUN, OP_RUN, OP_RUN, OP_KEEP, OP_KEEP, TIMER_KEEP },
		[BLOCK_OLD_SOURCES] = { MODE_EXCLUDE, OP_QUERY, OP_KEEP, OP_RUN_QUERY, OP_KEEP, OP_KEEP, TIMER_KEEP },
	},
};

/*
 * Without: as if every query of those tables had gone unanswered at once, for state is kept per host and the only one to
 * answer has just spoken. X is not kept, for nothing would ever move its sources to Y.
 */
static const struct transition at_once[2][RECORD_TYPES] = {
	[MODE_INCLUDE] = {
		[MODE_IS_INCLUDE] = { MODE_INCLUDE, OP_RUN, OP_RUN, OP_RUN, OP_KEEP, OP_KEEP, TIMER_KEEP },
		[MODE_IS_EXCLUDE] = { MODE_EXCLUDE, OP_BLOCK, OP_BLOCK, OP_BLOCK, OP_DELETE, OP_DELETE, TIMER_KEEP },
		[CHANGE_TO_INCLUDE_MODE] = { MODE_INCLUDE, OP_RUN, OP_RUN, OP_RUN, OP_DELETE, OP_DELETE, TIMER_KEEP },
		[CHANGE_TO_EXCLUDE_MODE] = { MODE_EXCLUDE, OP_BLOCK, OP_BLOCK, OP_BLOCK, OP_DELETE, OP_DELETE, TIMER_KEEP },
		[ALLOW_NEW_SOURCES] = { MODE_INCLUDE, OP_RUN, OP_RUN, OP_RUN, OP_KEEP, OP_KEEP, TIMER_KEEP },
		[BLOCK_OLD_SOURCES] = { MODE_INCLUDE, OP_DELETE, OP_DELETE, OP_NONE, OP_KEEP, OP_KEEP, TIMER_KEEP },
	},
	[MODE_EXCLUDE] = {
		[MODE_IS_INCLUDE] = { MODE_EXCLUDE, OP_DELETE, OP_DELETE, OP_NONE, OP_KEEP, OP_KEEP, TIMER_KEEP },
		[MODE_IS_EXCLUDE] = { MODE_EXCLUDE, OP_BLOCK, OP_BLOCK, OP_BLOCK, OP_DELETE, OP_DELETE, TIMER_KEEP },
		[CHANGE_TO_INCLUDE_MODE] = { MODE_INCLUDE, OP_RUN, OP_RUN, OP_RUN, OP_DELETE, OP_DELETE, TIMER_KEEP },
		[CHANGE_TO_EXCLUDE_MODE] = { MODE_EXCLUDE, OP_BLOCK, OP_BLOCK, OP_BLOCK, OP_DELETE, OP_DELETE, TIMER_KEEP },
		[ALLOW_NEW_SOURCES] = { MODE_EXCLUDE, OP_DELETE, OP_DELETE, OP_NONE, OP_KEEP, OP_KEEP, TIMER_KEEP },
		[BLOCK_OLD_SOURCES] = { MODE_EXCLUDE, OP_BLOCK, OP_BLOCK, OP_BLOCK, OP_KEEP, OP_KEEP, TIMER_KEEP },
	},
};

/* A message, and where we are in it. */
struct report {
	__u8 bytes[IGMP_BYTES_MAX + CSUM_CHUNK];
	__u32 length;
	__u32 at;      /* the next Group Record */
	__u32 records; /* as the header counts them */
	__u32 seen;
	__u32 ifindex;
	__be32 host;
	__u64 now;
	/* the record being applied */
	struct transition transition;
	__be32 group;
	__u32 sources_at;
	__u32 sources_count;
	__u64 mark;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct report);
} reports SEC(".maps");



static __always_inline struct report *current_report(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&reports, &zero);
}

/* Byte `at` of the message. In assembly, for the compiler adds first and bounds later, which the verifier refuses. */
static __always_inline __u8 *report_bytes(struct report *report, __u64 at)
{
	asm volatile("%[at] &= %[mask]" : [at] "+r"(at) : [mask] "i"(IGMP_BYTES_MAX - 1));
	return report->bytes + at;
}

/* Octets of the record, header and everything; 0: it is longer than what is left. */
static __always_inline __u32 record_bytes(struct report *report, __u32 at, __u32 *sources_count)
{
	__u8 *record = report_bytes(report, at);
	__u32 n, aux, bytes;

	if (at + RECORD_BYTES > report->length)
		return 0;
	n = record[2] << 8 | record[3];
	aux = record[1];
	bytes = RECORD_BYTES + 4 * n + (FAULT(AUX_DATA_NOT_SKIPPED) ? 0 : 4 * aux);
	if (at + bytes > report->length) {
		if (!FAULT(TRUNCATED_RECORD_READ))
			return 0;
		n = (report->length - at - RECORD_BYTES) / 4;
		bytes = report->length - at;
	}
	*sources_count = n;
	return FAULT(RECORD_STRIDE_8) ? RECORD_BYTES : bytes;
}

static long validate_record(__u32 i, bool *whole)
{
	struct report *report = current_report();
	__u32 bytes, n = 0;

	if (!report || report->seen >= report->records)
		return 1;
	bytes = record_bytes(report, report->at, &n);
	if (!bytes) {
		*whole = false;
		return 1;
	}
	report->at += bytes;
	report->seen++;
	return 0;
}

/* First pass: every record that the header counts is there, whole. */
static __always_inline bool validate_records(struct report *report)
{
	bool whole = true;

	report->at = IGMP_BYTES_MIN;
	report->seen = 0;
	bpf_loop(RECORDS_MAX, validate_record, &whole, 0);
	if (report->seen < report->records)
		whole = false;
	if (FAULT(MORE_THAN_24_RECORDS_REFUSED) && report->records > 24)
		return false;
	if (FAULT(TRAILING_OCTETS_REJECTED) && report->at != report->length)
		return false;
	if (FAULT(PARTIAL_REPORT_APPLIED))
		report->records = report->seen;
	return whole || FAULT(PARTIAL_REPORT_APPLIED);
}

struct apply {
	struct mcast_member *row;
	struct mcast_host *host;
};

/* Links a source that the record brings. */
static __always_inline void add_source(struct report *report, struct apply *apply, struct mcast_source_key *key, __u8 op)
{
	struct mcast_source source = { .mark = report->mark };
	struct mcast_filter_key filter_key = { .group = key->group, .ifindex = key->ifindex, .source = key->source };

	source.next = apply->host->first;
	source.blocked = op == OP_BLOCK;
	if (config.membership_interval_ns && !source.blocked)
		source.expires_ns = report->now + (op == OP_RUN ? config.membership_interval_ns : config.last_member_query_time_ns);
	source.counted = counted_as(report->transition.mode, source.blocked);
	if (!add_counted(apply->row, &filter_key, source.counted))
		return;
	if (bpf_map_update_elem(&sources, key, &source, BPF_NOEXIST)) {
		count_drop(DROP_SOURCE_LIMIT);
		remove_counted(apply->row, &filter_key, source.counted);
		return;
	}
	apply->host->first = key->source;
	if (op == OP_RUN_QUERY)
		emit_event(EVENT_QUERY, key->group, key->ifindex, key->source);
}

static __always_inline void change_source(struct report *report, struct mcast_source *source,
					  struct mcast_source_key *key)
{
	__u8 op = source->blocked ? report->transition.listed_blocked : report->transition.listed_running;

	source->mark = op == OP_DELETE ? ~0ULL : report->mark;
	if (op == OP_RUN) {
		source->blocked = 0;
		source->expires_ns = config.membership_interval_ns ? report->now + config.membership_interval_ns : 0;
	} else if (op == OP_BLOCK) {
		source->blocked = 1;
		source->expires_ns = 0;
	} else if (op == OP_QUERY) {
		lower_timer(&source->expires_ns, report->now);
		emit_event(EVENT_QUERY, key->group, key->ifindex, key->source);
	}
}

static long apply_source(__u32 i, struct apply *apply)
{
	struct report *report = current_report();
	struct mcast_source_key key = {};
	struct mcast_source *source;

	if (!report)
		return 1;
	__builtin_memcpy(&key.source, report_bytes(report, report->sources_at + 4 * i), 4);
	if (!key.source) /* ends the list, and is nobody's address */
		return 0;
	key.group = report->group;
	key.ifindex = report->ifindex;
	key.host = report->host;
	source = bpf_map_lookup_elem(&sources, &key);
	if (source)
		change_source(report, source, &key);
	else if (report->transition.listed_new != OP_NONE)
		add_source(report, apply, &key, report->transition.listed_new);
	return 0;
}

static __always_inline void run_group_timer(struct report *report, struct mcast_host *host)
{
	if (report->transition.timer == TIMER_START && config.membership_interval_ns) {
		host->expires_ns = report->now + config.membership_interval_ns;
		note_expiry(host->expires_ns);
	} else if (report->transition.timer == TIMER_QUERY && config.membership_interval_ns) {
		lower_timer(&host->expires_ns, report->now);
		emit_event(EVENT_QUERY, report->group, report->ifindex, 0);
	}
}

static __always_inline void change_mode(struct mcast_member *row, struct mcast_host *host, __u32 mode)
{
	if (host->mode == mode)
		return;
	if (mode == MODE_EXCLUDE)
		row->exclude_hosts++;
	else
		row->exclude_hosts--;
	host->mode = mode;
}

static __always_inline void settle_sources(struct report *report, struct apply *apply)
{
	struct source_walk walk = {
		.host = apply->host,
		.row = apply->row,
		.step = WALK_SETTLE,
		.running_op = report->transition.other_running,
		.blocked_op = report->transition.other_blocked,
		.mark = report->mark,
		.now = report->now,
	};

	walk.key.group = report->group;
	walk.key.ifindex = report->ifindex;
	walk.key.host = report->host;
	walk_sources(&walk);
}

/* The record of report->group; true: it was for a member or made one. */
static __noinline int apply_transition(struct report *report, struct mcast_table *table)
{
	struct mcast_host_key key = {};
	struct mcast_host first = {};
	struct apply apply = {};
	bool known;

	key.group = report->group;
	key.ifindex = report->ifindex;
	key.host = report->host;
	apply.host = bpf_map_lookup_elem(&hosts, &key);
	known = apply.host != NULL;
	if (!apply.host && report->transition.mode == MODE_INCLUDE &&
	    (!report->sources_count || report->transition.listed_new == OP_NONE))
		return 0; /* nothing, and nothing wanted */
	apply.row = hold_row(table, report->ifindex);
	if (!apply.row) {
		count_drop(DROP_MEMBER_LIMIT);
		return 0;
	}
	if (!apply.host) {
		if (bpf_map_update_elem(&hosts, &key, &first, BPF_NOEXIST)) {
			count_drop(DROP_HOST_LIMIT);
			if (!apply.row->exclude_hosts && !apply.row->filters)
				free_row(table, apply.row);
			return 0;
		}
		host_count++;
		apply.host = bpf_map_lookup_elem(&hosts, &key);
		if (!apply.host)
			return 0;
	}
	if (FAULT(FILTER_CHANGE_INTERRUPTS) && known && (report->sources_count || apply.host->mode != report->transition.mode))
		mark_fresh(table, report->ifindex);
	/* What is new comes first and what is old goes last, so that a source wanted before and after never stops. */
	bpf_loop(report->sources_count & (SOURCES_PER_RECORD_MAX - 1), apply_source, &apply, 0);
	change_mode(apply.row, apply.host, report->transition.mode);
	settle_sources(report, &apply);
	run_group_timer(report, apply.host);
	forget_if_idle(table, apply.row, apply.host, &key);
	return 0;
}

/* No octet has this value. */
#define RECORD_SKIPPED 256

/* The record as a fault would have it; RECORD_SKIPPED: not looked at. */
static __always_inline __u32 faulty_type(struct report *report, __u32 type)
{
	__u32 listed = report->sources_count;

	if (FAULT(V3_TO_IN_IGNORED) && type == CHANGE_TO_INCLUDE_MODE)
		return RECORD_SKIPPED;
	if (FAULT(SSM_ALLOW_IGNORED) && type == ALLOW_NEW_SOURCES)
		return RECORD_SKIPPED;
	if (FAULT(BLOCK_IGNORED) && type == BLOCK_OLD_SOURCES)
		return RECORD_SKIPPED;
	if (FAULT(UNKNOWN_TYPE_JOINS) && (!type || type >= RECORD_TYPES))
		return CHANGE_TO_EXCLUDE_MODE;
	if (FAULT(CURRENT_STATE_IGNORED) && report->bytes[0] == IGMP_V3_REPORT &&
	    (type == MODE_IS_INCLUDE || type == MODE_IS_EXCLUDE))
		return RECORD_SKIPPED;
	if (FAULT(ONLY_64_SOURCES) && listed > 64)
		report->sources_count = 64;
	if (FAULT(EXCLUDE_TREATED_AS_ANY) && (type == MODE_IS_EXCLUDE || type == CHANGE_TO_EXCLUDE_MODE))
		report->sources_count = 0;
	if (FAULT(SOURCE_LIST_IGNORED) && listed && type != BLOCK_OLD_SOURCES) {
		report->sources_count = 0;
		return CHANGE_TO_EXCLUDE_MODE;
	}
	return type;
}

/* FAULT_HOST_IDENTITY_BY_SOURCE_ONLY: whoever claims the address is the pod that has it. */
static __always_inline void mistake_identity(struct report *report)
{
	__be32 host = report->host;
	__u32 *ifindex = bpf_map_lookup_elem(&pod_addresses, &host);

	if (ifindex)
		report->ifindex = *ifindex;
}

static __noinline int apply_record(struct report *report, __u32 type)
{
	struct mcast_table *table;
	struct mcast_host_key key = {};
	struct mcast_host *host;
	__u32 mode = MODE_INCLUDE;

	type = faulty_type(report, type);
	if (type == RECORD_SKIPPED)
		return 0;
	if (!type || type >= RECORD_TYPES) {
		count_drop(DROP_RECORD_TYPE_UNKNOWN);
		return 0;
	}
	table = group_table(report->group);
	if (!table) {
		count_drop(DROP_RECORD_NOT_ENABLED);
		return 0;
	}
	count(COUNTER_RECORDS, 1);
	if (FAULT(HOST_IDENTITY_BY_SOURCE_ONLY))
		mistake_identity(report);
	if (FAULT(LAST_HOST_WINS))
		report->host = 0;
	if (FAULT(LEAVE_AFFECTS_ALL) && type == CHANGE_TO_INCLUDE_MODE && !report->sources_count) {
		remove_hosts(report->group, 0);
		return 0;
	}
	key.group = report->group;
	key.ifindex = report->ifindex;
	key.host = report->host;
	host = bpf_map_lookup_elem(&hosts, &key);
	if (host)
		mode = host->mode & 1;
	report->transition = config.membership_interval_ns ? timed[mode][type] : at_once[mode][type];
	/* Leaves are not for this fault. */
	if (FAULT(MODE_CHANGE_IGNORED) && host && report->transition.mode != mode &&
	    (report->sources_count || mode == MODE_INCLUDE))
		return 0;
	report->mark = ++last_mark;
	return apply_transition(report, table);
}

static long apply_next_record(__u32 i, void *unused)
{
	struct report *report = current_report();
	__u32 bytes, n = 0;
	__u8 *record;

	if (!report || report->seen >= report->records)
		return 1;
	bytes = record_bytes(report, report->at, &n);
	if (!bytes)
		return 1;
	record = report_bytes(report, report->at);
	__builtin_memcpy(&report->group, record + 4, 4);
	report->sources_at = report->at + RECORD_BYTES;
	report->sources_count = n;
	report->at += bytes;
	report->seen++;
	apply_record(report, record[0]);
	return 0;
}

static __always_inline void apply_records(struct report *report)
{
	report->at = IGMP_BYTES_MIN;
	report->seen = 0;
	bpf_loop(RECORDS_MAX, apply_next_record, NULL, 0);
}

/* RFC 3376 section 7.3.2: what older messages mean. */
static __always_inline void apply_older(struct report *report, __u32 type)
{
	__builtin_memcpy(&report->group, report->bytes + 4, 4);
	report->sources_count = 0;
	apply_record(report, type);
}

static long add_chunk(__u32 i, __u32 *sum)
{
	struct report *report = current_report();
	__u32 at = (i * CSUM_CHUNK) & (IGMP_BYTES_MAX - 1);
	__s64 next;

	if (!report)
		return 1;
	next = bpf_csum_diff(NULL, 0, (__be32 *)(report->bytes + at), CSUM_CHUNK, 0);
	/* Folded at once: the sums of four chunks would overflow. */
	*sum += fold(next);
	return 0;
}

/* Over the whole IP payload (RFC 3376 section 4.2.2); what follows the message in the buffer is zero. */
static __always_inline bool igmp_checksum_right(struct report *report)
{
	__u32 sum = 0;

	bpf_loop(IGMP_BYTES_MAX / CSUM_CHUNK, add_chunk, &sum, 0);
	return fold(sum) == 0xffff;
}

static __always_inline bool first_8_octets_right(struct report *report)
{
	return fold(bpf_csum_diff(NULL, 0, (__be32 *)report->bytes, IGMP_BYTES_MIN, 0)) == 0xffff;
}

static long clear_line(__u32 i, void *unused)
{
	struct report *report = current_report();
	__u32 at = i * CLEAR_LINE;

	if (!report || at > sizeof(report->bytes) - CLEAR_LINE)
		return 1;
	__builtin_memset(report->bytes + at, 0, CLEAR_LINE);
	return 0;
}

/* Copies the message out of the packet; 0, or a drop reason + 1. */
static __always_inline int load_igmp(struct __sk_buff *skb, struct ipv4 *ip, struct report *report)
{
	__u32 length = ip->total_bytes - ip->header_bytes;

	if (length < IGMP_BYTES_MIN || length > IGMP_BYTES_MAX)
		return DROP_IGMP_MALFORMED + 1;
	bpf_loop(sizeof(report->bytes) / CLEAR_LINE, clear_line, NULL, 0);
	if (bpf_skb_load_bytes(skb, ETH_HLEN + ip->header_bytes, report->bytes, length))
		return DROP_IGMP_MALFORMED + 1;
	report->length = length;
	report->ifindex = skb->ifindex;
	report->host = ip->src;
	report->now = bpf_ktime_get_ns();
	if (FAULT(CHECKSUM_NOT_VERIFIED) || igmp_checksum_right(report))
		return 0;
	if (FAULT(V2_REPORT_LENGTH_UNCHECKED) && first_8_octets_right(report))
		return 0;
	return DROP_IGMP_CHECKSUM + 1;
}

static __always_inline int apply_igmp(struct report *report)
{
	__u8 type = report->bytes[0];

	if (type == IGMP_V3_REPORT) {
		report->records = report->bytes[6] << 8 | report->bytes[7];
		if (!validate_records(report))
			return DROP_IGMP_MALFORMED + 1;
		if (FAULT(RESERVED_BITS_REJECTED) && (report->bytes[1] || report->bytes[4] || report->bytes[5]))
			return DROP_IGMP_MALFORMED + 1;
		if (FAULT(ONLY_FIRST_RECORD) && report->records > 1)
			report->records = 1;
	} else if (type == IGMP_QUERY) {
		return DROP_IGMP_QUERY_FROM_POD + 1;
	} else if (type != IGMP_V1_REPORT && type != IGMP_V2_REPORT && type != IGMP_V2_LEAVE) {
		return DROP_IGMP_TYPE_UNKNOWN + 1;
	} else if (FAULT(TRAILING_OCTETS_REJECTED) && report->length != IGMP_BYTES_MIN) {
		return DROP_IGMP_MALFORMED + 1;
	} else if (FAULT(V1_REPORT_IGNORED) && type == IGMP_V1_REPORT) {
		return 0;
	} else if (FAULT(V2_REPORT_IGNORED) && type == IGMP_V2_REPORT) {
		return 0;
	} else if (FAULT(V2_LEAVE_IGNORED) && type == IGMP_V2_LEAVE) {
		return 0;
	}
	if (!lock_state())
		return DROP_STATE_BUSY + 1;
	if (type == IGMP_V3_REPORT)
		apply_records(report);
	else
		apply_older(report, type == IGMP_V2_LEAVE ? CHANGE_TO_INCLUDE_MODE : MODE_IS_EXCLUDE);
	unlock_state();
	return 0;
}

#define ROUTER_ALERT 0x94040000 /* RFC 2113 */

/* Whether a fault minds the IP header of a message, which RFC 3376 section 4 only asks of who sends it. */
static __always_inline bool header_refused(struct __sk_buff *skb, struct ipv4 *ip)
{
	__be32 option = 0;
	__u8 ttl = 0;

	if (FAULT(SOURCE_ZERO_REJECTED) && !ip->src)
		return true;
	if (FAULT(ROUTER_ALERT_REQUIRED)) {
		if (ip->header_bytes > sizeof(struct iphdr))
			bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct iphdr), &option, sizeof(option));
		return option != bpf_htonl(ROUTER_ALERT);
	}
	if (FAULT(IGMP_TTL_CHECKED)) {
		bpf_skb_load_bytes(skb, ETH_HLEN + 8, &ttl, sizeof(ttl));
		return ttl != 1;
	}
	return false;
}

/* Consumed here whatever it says: IGMP reaches neither another pod nor another node. */
static __always_inline int handle_igmp(struct __sk_buff *skb, struct ipv4 *ip)
{
	struct report *report = current_report();
	int reason;

	if (!report || ip->fragment)
		return drop(DROP_IGMP_FRAGMENT);
	if (header_refused(skb, ip))
		return drop(DROP_FAULT);
	reason = load_igmp(skb, ip, report);
	if (!reason)
		reason = apply_igmp(report);
	if (reason)
		return drop(reason - 1);
	count(COUNTER_IGMP, 1);
	return TC_ACT_SHOT;
}

#endif
