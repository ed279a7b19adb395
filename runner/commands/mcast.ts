import { asIpv4, isMulticast } from '../../generators/wire/address.ts'
import { type Io, printLine } from '../io.ts'
import { ask, type NodeDrops, type NodeTables } from '../lab/protocol.ts'
import { findLab } from '../lab/registry.ts'
import type { GroupTable } from '../observation.ts'
import { UserError } from '../suite/errors.ts'
import type { McastOptions } from './options.ts'

/** The reference datapath's tables in a lab, in the columns of the founding document's `cilium-dbg bpf multicast`. */
export async function mcastCommand(options: McastOptions, io: Io): Promise<number> {
  const lab = findLab(options.lab)
  if (options.table === 'drops') return drops(lab.id, options, io)
  if (options.action !== 'list') return change(lab.id, options)
  const tables = await ofNode(lab.id, options, await ask<NodeTables>(lab.id, { op: 'tables' }), io)
  if (options.table === 'group') printGroups(tables.groups, options.json, io)
  else printSubscribers(selected(tables.groups, options.group), options.json, io)
  return 0
}

async function change(id: string, options: McastOptions): Promise<number> {
  const group = groupOf(options.group ?? '')
  const node = options.node === undefined ? {} : { node: options.node }
  await refusalAsUserError(ask(id, { op: options.action === 'add' ? 'enable' : 'disable', group, ...node }))
  return 0
}

async function refusalAsUserError(asked: Promise<unknown>): Promise<void> {
  await asked.catch((error: unknown) => {
    throw new UserError('refused', error instanceof Error ? error.message : String(error))
  })
}

function groupOf(text: string): number {
  const address = asIpv4(text)
  if (address !== undefined && isMulticast(address)) return address
  throw new UserError('bad-group', `${text} is not an IPv4 multicast address`, {
    hint: 'a group is 224.0.0.0 to 239.255.255.255',
  })
}

/** The tables are each node's own: without --node the first one's, and standard error says so. */
async function ofNode<Table extends { node: string }>(
  id: string,
  options: McastOptions,
  all: readonly Table[],
  io: Io,
): Promise<Table> {
  const names = all.map(table => table.node)
  const name = options.node ?? names[0]
  const found = all.find(table => table.node === name)
  if (!found) throw new UserError('no-node', `lab ${id} has no node ${name}`, { hint: `there are ${names.join(', ')}` })
  if (options.node === undefined && names.length > 1)
    io.stderr.write(`as ${name} sees it (--node ${names.join('|')})\n`)
  return found
}

function printGroups(groups: readonly GroupTable[], json: boolean, io: Io): void {
  const addresses = groups.map(table => table.group)
  if (json) {
    printLine(io, JSON.stringify(addresses))
    return
  }
  printLine(io, 'Group Address')
  for (const address of addresses) printLine(io, address)
}

function selected(groups: readonly GroupTable[], wanted = 'all'): readonly GroupTable[] {
  if (wanted === 'all') return groups
  groupOf(wanted)
  const found = groups.filter(table => table.group === wanted)
  if (found.length === 0)
    throw new UserError('no-group', `multicast group ${wanted} does not exist on this node`, {
      hint: `castproof mcast group add ${wanted}`,
    })
  return found
}

function printSubscribers(groups: readonly GroupTable[], json: boolean, io: Io): void {
  if (json) {
    printLine(io, JSON.stringify(groups, null, 2))
    return
  }
  printLine(io, row('Group', 'Subscriber', 'Type'))
  for (const { group, subscribers } of groups) {
    if (subscribers.length === 0) printLine(io, group)
    for (const [i, { subscriber, type }] of subscribers.entries())
      printLine(io, row(i === 0 ? group : '', subscriber, type))
  }
}

function row(group: string, subscriber: string, type: string): string {
  return `${group.padEnd(16)}${subscriber.padEnd(16)}${type}`
}

async function drops(id: string, options: McastOptions, io: Io): Promise<number> {
  const { reasons } = await ofNode(id, options, await ask<NodeDrops>(id, { op: 'drops' }), io)
  if (options.json) printLine(io, JSON.stringify(reasons, null, 2))
  else printDrops(reasons, io)
  return 0
}

/** Those that happened; the names of all are in the JSON. */
function printDrops(reasons: Readonly<Record<string, number>>, io: Io): void {
  const happened = Object.entries(reasons).filter(([, count]) => count > 0)
  if (happened.length === 0) printLine(io, 'nothing was dropped')
  for (const [reason, count] of happened.sort()) printLine(io, `${String(count).padStart(10)}  ${reason}`)
}
