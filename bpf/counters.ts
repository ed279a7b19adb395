import { lookup } from '../generators/linux/libbpf.ts'
import { COUNTERS, type CounterName, DROP_REASONS, type DropReason, u32Key } from './maps.ts'

/** File descriptors of the maps in which a node's programs count. */
export interface CounterMaps {
  drops: number
  counters: number
}

interface CountersOf {
  maps: CounterMaps
  cpus: number
}

export function readDrops({ maps, cpus }: CountersOf): Record<DropReason, number> {
  return sums(maps.drops, DROP_REASONS, cpus)
}

export function readCounters({ maps, cpus }: CountersOf): Record<CounterName, number> {
  return sums(maps.counters, COUNTERS, cpus)
}

function sums<Name extends string>(fd: number, names: readonly Name[], cpus: number): Record<Name, number> {
  const values = Buffer.alloc(8 * cpus)
  const read = names.map((name, index) => {
    lookup(fd, u32Key(index), values)
    let sum = 0n
    for (let at = 0; at < values.length; at += 8) sum += values.readBigUInt64LE(at)
    return [name, Number(sum)] as const
  })
  return Object.fromEntries(read) as Record<Name, number>
}
