/**
 * Layouts of the structs that the programs share with user space (shared.h), as byte offsets; maps.bpf.test.ts compares
 * them with BTF. Numbers are of the machine's byte order (little), addresses in the maps of network order.
 */
export const LAYOUT = {
  mcast_config: {
    sizeBytes: 40,
    fault_mask: 0,
    membership_interval_ns: 8,
    last_member_query_time_ns: 16,
    vni: 24,
    slice_members: 28,
    unicast_by_kernel: 32,
    reserved: 36,
  },
  mcast_member: { sizeBytes: 8, target: 0, exclude_hosts: 4, filters: 6 },
  mcast_table: { sizeBytes: 8208, group: 0, rows: 4, count: 8, local: 12, members: 16 },
  mcast_pod: { sizeBytes: 16, address: 0, mac: 4, node_mac: 10 },
  mcast_settings: { sizeBytes: 12, overlay_ifindex: 0, slice_ifindex: 4, router: 8 },
  mcast_route_key: { sizeBytes: 8, prefix_bits: 0, address: 4 },
  mcast_host_key: { sizeBytes: 12, group: 0, ifindex: 4, host: 8 },
  mcast_host: { sizeBytes: 16, mode: 0, first: 4, expires_ns: 8 },
  mcast_source_key: { sizeBytes: 16, group: 0, ifindex: 4, host: 8, source: 12 },
  mcast_source: { sizeBytes: 24, next: 0, blocked: 4, counted: 5, reserved: 6, mark: 8, expires_ns: 16 },
  mcast_event: { sizeBytes: 16, kind: 0, group: 4, value: 8, source: 12 },
  mcast_command: { sizeBytes: 32, kind: 0, group: 4, value: 8, pods: 12, slot: 16, sequence: 20, reserved: 24 },
  mcast_late: { sizeBytes: 1612, ifindex: 0, delay_us: 4, length: 8, bytes: 12 },
  command_slot: { sizeBytes: 56, timer: 0, command: 16, done: 48, refused: 52 },
} as const

/** enum mcast_drop as users read it: `castproof mcast drops` prints these. */
export const DROP_REASONS = [
  'not-ipv4',
  'ip-malformed',
  'ip-checksum',
  'ip-source',
  'ip-ttl-zero',
  'no-route',
  'link-local-group',
  'group-not-enabled',
  'no-members',
  'igmp-malformed',
  'igmp-checksum',
  'igmp-fragment',
  'igmp-query-from-pod',
  'igmp-type-unknown',
  'igmp-from-overlay',
  'record-type-unknown',
  'record-not-enabled',
  'member-limit',
  'group-limit',
  'host-limit',
  'source-limit',
  'state-busy',
  'outer-source',
  'vni',
  'vxlan-flag',
  'member-gone',
  'member-down',
  'member-queue-full',
  'copy-failed',
  'tunnel-key',
  'event-lost',
  'not-encrypted',
  'fault',
] as const

export type DropReason = (typeof DROP_REASONS)[number]

/** enum mcast_counter. */
export const COUNTERS = ['datagrams', 'local-copies', 'tunnel-copies', 'slices', 'unicast', 'igmp', 'records'] as const

export type CounterName = (typeof COUNTERS)[number]

/** enum mcast_command_kind. */
export const COMMAND = { enable: 1, disable: 2, addNode: 3, removeNode: 4, detach: 5, startAgeing: 6 } as const

/** enum mcast_event_kind. */
export const EVENT = { localCount: 1, enabled: 2, disabled: 3, query: 4 } as const

export const GROUPS_MAX = 1024
export const MEMBERS_MAX = 1024
export const TARGET_REMOTE = 0x8000_0000

/** Which slot of `commands` a thread uses: two threads never share one. */
export const COMMAND_SLOT = { main: 0, controlPlane: 1 } as const

/** A u32 as a map key. */
export function u32Key(value: number): Buffer {
  const key = Buffer.alloc(4)
  key.writeUInt32LE(value)
  return key
}

/** An IPv4 address as a map key or value: network order. */
export function addressKey(address: number): Buffer {
  const key = Buffer.alloc(4)
  key.writeUInt32BE(address)
  return key
}

/** Reads the row of a member out of a table's value; undefined: a free row. */
export function memberAt(
  table: Buffer,
  row: number,
): { ifindex: number; node: number | undefined; pods: number } | undefined {
  const at = LAYOUT.mcast_table.members + row * LAYOUT.mcast_member.sizeBytes
  const target = table.readUInt32LE(at)
  if (target === 0) return undefined
  const remote = target >= TARGET_REMOTE
  return {
    ifindex: remote ? 0 : target,
    node: remote ? target - TARGET_REMOTE : undefined,
    pods: table.readUInt16LE(at + LAYOUT.mcast_member.filters),
  }
}
