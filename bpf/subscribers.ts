import { entries, lookup } from '../generators/linux/libbpf.ts'
import { formatIpv4 } from '../generators/wire/address.ts'
import { addressKey, LAYOUT, MEMBERS_MAX, memberAt, u32Key } from './maps.ts'

export type FilterMode = 'include' | 'exclude'

/** What one host behind a veth wants (RFC 3376 §6.2.1). Sources are sorted. */
export interface HostFilter {
  host: string
  mode: FilterMode
  sources: string[]
}

/** A row of the subscriber table: a veth with the union of its hosts' filters, or a remote node. */
export interface Subscriber {
  subscriber: string
  type: 'Local Endpoint' | 'Remote Node'
  /** 0 for a remote node. */
  ifindex: number
  mode: FilterMode
  sources: string[]
  hosts: HostFilter[]
}

export interface SubscriberTable {
  group: string
  subscribers: Subscriber[]
}

/** File descriptors of the maps that the tables are read from. */
export interface TableMaps {
  groups: number
  tables: number
  hosts: number
  sources: number
  pods: number
  nodes: number
}

/** The groups enabled on a node, sorted. */
export function readGroups(maps: Pick<TableMaps, 'groups'>): number[] {
  return [...entries(maps.groups, 4, 4)].map(({ key }) => key.readUInt32BE()).sort((a, b) => a - b)
}

/** One group's table as the datapath has it; undefined: the group is not enabled. */
export function readTable(maps: Pick<TableMaps, 'groups' | 'tables'>, group: number): Buffer | undefined {
  const slot = Buffer.alloc(4)
  if (!lookup(maps.groups, addressKey(group), slot)) return undefined
  const table = Buffer.alloc(LAYOUT.mcast_table.sizeBytes)
  lookup(maps.tables, slot, table)
  return table
}

/** Group and subscriber tables as the founding document prints them: groups sorted, subscribers sorted by address. */
export function readSubscribers(maps: TableMaps, group?: number): SubscriberTable[] {
  const groups = group === undefined ? readGroups(maps) : [group]
  const hosts = readHosts(maps)
  return groups.flatMap(each => {
    const table = readTable(maps, each)
    if (!table) return []
    const rows = members(table).map(({ node, ifindex }) =>
      node === undefined ? localRow(maps, ifindex, hosts.get(placeOf(each, ifindex)) ?? []) : remoteRow(maps, node),
    )
    rows.sort((a, b) => a.address - b.address || a.row.ifindex - b.row.ifindex)
    return [{ group: formatIpv4(each), subscribers: rows.map(({ row }) => row) }]
  })
}

interface Row {
  address: number
  row: Subscriber
}

function members(table: Buffer) {
  const rows = Math.min(table.readUInt32LE(LAYOUT.mcast_table.rows), MEMBERS_MAX)
  return Array.from({ length: rows }, (_, row) => memberAt(table, row)).filter(member => member !== undefined)
}

/** A pod; 0.0.0.0 when the veth is no longer known. */
function localRow(maps: TableMaps, ifindex: number, hosts: Host[]): Row {
  const pod = Buffer.alloc(LAYOUT.mcast_pod.sizeBytes)
  const known = lookup(maps.pods, u32Key(ifindex), pod)
  const address = known ? pod.readUInt32BE(LAYOUT.mcast_pod.address) : 0
  const { mode, sources } = union(hosts)
  return {
    address,
    row: {
      subscriber: formatIpv4(address),
      type: 'Local Endpoint',
      ifindex,
      mode,
      sources: sources.map(formatIpv4),
      hosts: hosts.map(host => ({ ...host, host: formatIpv4(host.host), sources: host.sources.map(formatIpv4) })),
    },
  }
}

function remoteRow(maps: TableMaps, node: number): Row {
  const value = Buffer.alloc(4)
  lookup(maps.nodes, u32Key(node), value)
  const address = value.readUInt32BE()
  const subscriber = formatIpv4(address)
  return { address, row: { subscriber, type: 'Remote Node', ifindex: 0, mode: 'exclude', sources: [], hosts: [] } }
}

/** A host's filter as numbers; sources sorted. */
export interface Host {
  host: number
  mode: FilterMode
  sources: number[]
}

/** What a veth receives: everything that some host behind it wants (RFC 3376 §3.2). */
export function union(hosts: readonly Host[]): { mode: FilterMode; sources: number[] } {
  const wanted = new Set(hosts.filter(host => host.mode === 'include').flatMap(host => host.sources))
  const excluding = hosts.filter(host => host.mode === 'exclude')
  if (excluding.length === 0) return { mode: 'include', sources: [...wanted].sort((a, b) => a - b) }
  const sources = excluding[0]?.sources.filter(
    source => !wanted.has(source) && excluding.every(host => host.sources.includes(source)),
  )
  return { mode: 'exclude', sources: sources ?? [] }
}

const placeOf = (group: number, ifindex: number) => `${group} ${ifindex}`

function readHosts(maps: TableMaps): Map<string, Host[]> {
  const sources = readSources(maps)
  const byPlace = new Map<string, Host[]>()
  const layout = LAYOUT.mcast_host_key
  for (const { key, value } of entries(maps.hosts, layout.sizeBytes, LAYOUT.mcast_host.sizeBytes)) {
    const mode = value.readUInt32LE(LAYOUT.mcast_host.mode) === 0 ? 'include' : 'exclude'
    const place = placeOf(key.readUInt32BE(layout.group), key.readUInt32LE(layout.ifindex))
    const host = key.readUInt32BE(layout.host)
    const listed = (sources.get(`${place} ${host}`) ?? []).filter(({ blocked }) => blocked === (mode === 'exclude'))
    const hosts = byPlace.get(place) ?? []
    hosts.push({ host, mode, sources: listed.map(({ source }) => source).sort((a, b) => a - b) })
    byPlace.set(place, hosts)
  }
  for (const hosts of byPlace.values()) hosts.sort((a, b) => a.host - b.host)
  return byPlace
}

function readSources(maps: TableMaps): Map<string, { source: number; blocked: boolean }[]> {
  const byHost = new Map<string, { source: number; blocked: boolean }[]>()
  const layout = LAYOUT.mcast_source_key
  for (const { key, value } of entries(maps.sources, layout.sizeBytes, LAYOUT.mcast_source.sizeBytes)) {
    const place = placeOf(key.readUInt32BE(layout.group), key.readUInt32LE(layout.ifindex))
    const host = `${place} ${key.readUInt32BE(layout.host)}`
    const list = byHost.get(host) ?? []
    list.push({ source: key.readUInt32BE(layout.source), blocked: value[LAYOUT.mcast_source.blocked] !== 0 })
    byHost.set(host, list)
  }
  return byHost
}
