import { readFileSync } from 'node:fs'
import { inNetns, type Netns } from '../../generators/linux/netns.ts'

/** Counters by which the kernel owns up to lost packets: CPU backlog, devices, UDP sockets; cumulative. */
export function witnessCounters(nodes: Iterable<{ name: string; ns: Netns }>): Record<string, number> {
  const counters: Record<string, number> = { 'softnet dropped': softnetDropped() }
  for (const node of nodes)
    inNetns(node.ns, () => {
      deviceDrops(node.name, counters)
      counters[`${node.name} reverse path filter`] = reversePathFiltered()
    })
  return counters
}

function softnetDropped(): number {
  const rows = readFileSync('/proc/net/softnet_stat', 'latin1').trim().split('\n')
  return rows.reduce((sum, row) => sum + Number.parseInt(row.split(/\s+/)[1] ?? '0', 16), 0)
}

/** What `rp_filter` took, from the pair of lines that names and counts it. */
function reversePathFiltered(): number {
  const rows = readFileSync('/proc/thread-self/net/netstat', 'latin1').split('\n')
  const [names = [], values = []] = rows.filter(row => row.startsWith('TcpExt:')).map(row => row.split(' '))
  return Number(values[names.indexOf('IPReversePathFilter')] ?? 0)
}

function deviceDrops(node: string, counters: Record<string, number>): void {
  for (const row of readFileSync('/proc/thread-self/net/dev', 'latin1').split('\n').slice(2)) {
    const [name, rest] = row.split(':')
    if (!name || !rest) continue
    const columns = rest.trim().split(/\s+/).map(Number)
    counters[`${node}/${name.trim()} rx dropped`] = columns[3] ?? 0
    counters[`${node}/${name.trim()} tx dropped`] = columns[11] ?? 0
  }
}
