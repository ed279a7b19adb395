import { readFileSync } from 'node:fs'
import type { GroupTable } from '../../observation.ts'

/** Entry of the kernel's multicast forwarding cache; `*` as source for any. */
export interface MrouteEntry {
  group: string
  source: string
  packets: number
  bytes: number
  wrongInterface: number
  /** Names of the outgoing interfaces. */
  outputs: string[]
}

/** The forwarding cache of the current namespace: /proc/net/ip_mr_vif and /proc/net/ip_mr_cache. */
export function readMroute(): MrouteEntry[] {
  const names = new Map(rows('/proc/thread-self/net/ip_mr_vif').map(row => [Number(row[0]), row[1] ?? '']))
  return rows('/proc/thread-self/net/ip_mr_cache').map(row => {
    const [group = '', source = '', , packets, bytes, wrong, ...outputs] = row
    return {
      group: address(group),
      source: source === '00000000' ? '*' : address(source),
      packets: Number(packets ?? 0),
      bytes: Number(bytes ?? 0),
      wrongInterface: Number(wrong ?? 0),
      outputs: outputs.map(output => names.get(Number(output.split(':')[0])) ?? output),
    }
  })
}

function rows(path: string): string[][] {
  const lines = readFileSync(path, 'latin1').trimEnd().split('\n').slice(1)
  return lines.map(line => line.trim().split(/\s+/))
}

/** Hex of the address as a little-endian machine keeps it in memory. */
function address(hex: string): string {
  return [6, 4, 2, 0].map(at => Number.parseInt(hex.slice(at, at + 2), 16)).join('.')
}

/** As observations keep tables: outgoing interfaces stand where other targets have subscribers. */
export function groupTables(entries: readonly MrouteEntry[]): GroupTable[] {
  return entries.map(({ group, source, outputs }) => ({
    group,
    subscribers: outputs.map(name => ({
      subscriber: name,
      type: 'Outgoing Interface',
      ...(source === '*' ? {} : { sources: [source] }),
    })),
  }))
}
