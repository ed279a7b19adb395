import { isMulticast, parseIpv4 } from '../../generators/wire/address.ts'
import type { GroupGiven } from './header-schema.ts'

/** What one case asks for. */
export interface GroupWish {
  /** Case id: leases are given in the order of ids, so that the order of files does not matter. */
  id: string
  groups: ReadonlyMap<string, GroupGiven>
  /** Literal groups that its text names besides. */
  literals: readonly number[]
}

export interface Lease {
  groups: Map<string, number[]>
  port: number
}

/** MCAST-TEST-NET (RFC 5771 §9.2 calls it documentation space), without .0 and .255. */
const FIRST_RANGE = { from: parseIpv4('233.252.0.1'), to: parseIpv4('233.252.0.254') }
/** Organization-Local Scope (RFC 2365 §6.2). Its top /24 is kept for guards and controls of the runner. */
const SECOND_RANGE = { from: parseIpv4('239.192.0.1'), to: parseIpv4('239.195.254.255') }
const FIRST_PORT = 20_000
const PORTS = 12_000

/**
 * Groups and a UDP port for each case, distinct in the run and different in their low 23 bits from all others
 * (RFC 1112 §6.4), but for `aliasOf`, which asks for the same low 23 bits.
 */
export function leaseGroups(wishes: readonly GroupWish[]): Map<string, Lease> {
  const ordered = [...wishes].sort((a, b) => (a.id < b.id ? -1 : 1))
  const taken = new Set(ordered.flatMap(wish => literalsOf(wish).map(low23)))
  const single = new Cursor(taken, [FIRST_RANGE, SECOND_RANGE])
  const many = new Cursor(taken, [SECOND_RANGE])
  const leases = new Map<string, Lease>()
  ordered.forEach((wish, i) => {
    const groups = new Map<string, number[]>()
    for (const [name, given] of wish.groups) {
      if ('aliasOf' in given) continue
      if (given.address !== undefined)
        groups.set(
          name,
          Array.from({ length: given.count }, (_, k) => given.address! + k),
        )
      else groups.set(name, (given.count > 1 ? many : single).take(given.count))
    }
    leaseAliases(wish, groups)
    leases.set(wish.id, { groups, port: FIRST_PORT + (i % PORTS) })
  })
  return leases
}

/** Every literal address of a wish, in its text and in its declarations. */
export function literalsOf(wish: GroupWish): number[] {
  const declared = [...wish.groups.values()].flatMap(given =>
    'address' in given && given.address !== undefined
      ? Array.from({ length: given.count }, (_, k) => given.address! + k)
      : [],
  )
  return [...wish.literals, ...declared]
}

function low23(group: number): number {
  return group & 0x7f_ffff
}

/** An alias of an alias works too; one that leads nowhere is reported elsewhere and gets no address. */
function leaseAliases(wish: GroupWish, groups: Map<string, number[]>): void {
  for (let round = 0; round < wish.groups.size; round++) {
    for (const [name, given] of wish.groups) {
      const original = 'aliasOf' in given && !groups.has(name) ? groups.get(given.aliasOf)?.[0] : undefined
      if (original !== undefined) groups.set(name, [aliasOf(original, [...groups.values()].flat())])
    }
  }
}

/** A group with the same Ethernet address: 32 share each one (RFC 1112 §6.4). 224/8 and 232/8 have meanings of their own. */
function aliasOf(original: number, used: readonly number[]): number {
  for (let top = 0xef; top > 0xe0; top--) {
    for (const bit of [0, 0x80_0000]) {
      const alias = ((top << 24) >>> 0) + bit + low23(original)
      if (top !== 0xe8 && isMulticast(alias) && !used.includes(alias)) return alias
    }
  }
  throw new Error('32 groups share one Ethernet address, and all are used')
}

/** Takes addresses in ascending order, skipping those whose low 23 bits are taken. */
class Cursor {
  private readonly taken: Set<number>
  private readonly ranges: readonly { from: number; to: number }[]
  private range = 0
  private next: number

  constructor(taken: Set<number>, ranges: readonly { from: number; to: number }[]) {
    this.taken = taken
    this.ranges = ranges
    this.next = ranges[0]?.from ?? 0
  }

  take(count: number): number[] {
    const groups: number[] = []
    while (groups.length < count) {
      const group = this.advance()
      if (this.taken.has(low23(group))) continue
      this.taken.add(low23(group))
      groups.push(group)
    }
    return groups
  }

  private advance(): number {
    if (this.next > (this.ranges[this.range]?.to ?? 0)) {
      this.range++
      const range = this.ranges[this.range]
      if (!range) throw new RangeError('more groups than 233.252.0.0/24 and 239.192.0.0/14 hold')
      this.next = range.from
    }
    return this.next++
  }
}
