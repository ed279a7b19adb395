import { isMulticast, parseIpv4 } from '../../generators/wire/address.ts'
import type { GroupTable } from '../observation.ts'

/** What `cilium-dbg bpf multicast subscriber list all -o json` and `castproof mcast subscriber list all --json` print. */
interface CiliumGroup {
  group_address: string
  subscribers: { SAddr: string; Ifindex?: number; IsRemote: boolean }[] | null
}

/** Tables out of a command's output, in either form. Throws with what is wrong: an empty object is no empty table. */
export function groupTablesOf(text: string): GroupTable[] {
  const value: unknown = JSON.parse(text)
  if (value === null) return []
  if (!Array.isArray(value)) throw new TypeError('expected a JSON list of groups')
  return value.map(entry => (isCilium(entry) ? ofCilium(entry) : own(entry)))
}

function isCilium(entry: unknown): entry is CiliumGroup {
  return typeof entry === 'object' && entry !== null && 'group_address' in entry
}

function ofCilium({ group_address, subscribers }: CiliumGroup): GroupTable {
  return {
    group: groupText(group_address),
    subscribers: (subscribers ?? []).map(({ SAddr, IsRemote }) => ({
      subscriber: addressText(SAddr),
      type: IsRemote ? 'Remote Node' : 'Local Endpoint',
    })),
  }
}

function own(entry: unknown): GroupTable {
  const { group, subscribers } = entry as GroupTable
  if (!Array.isArray(subscribers)) throw new TypeError(`group ${String(group)} has no list of subscribers`)
  for (const { subscriber } of subscribers) addressText(subscriber)
  return { group: groupText(group), subscribers }
}

function groupText(value: unknown): string {
  const text = addressText(value)
  if (!isMulticast(parseIpv4(text))) throw new TypeError(`${text} is no multicast address`)
  return text
}

function addressText(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError(`expected an address, found ${JSON.stringify(value)}`)
  parseIpv4(value)
  return value
}
