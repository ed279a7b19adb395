import { DIRECTION } from '../../captures/record.ts'
import { formatIpv4, isMulticast } from '../../generators/wire/address.ts'
import type { NodeMetricsWant } from '../suite/expectations.ts'
import type { Check, NodeSite, Seen } from './check.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { nodeOf, tapFault } from './places.ts'
import { growth, type Scrapes, scrapesOf, troubleOf } from './scrapes.ts'
import { datagramsAt, type WireDatagram } from './socket-wire.ts'

const PREFIX = 'castproof_datapath_'

/** Counters of a node's datapath, against the copies at its pods' taps and its overlay, its drop counters and tables. */
export const nodeMetrics: Check<NodeMetricsWant> = {
  name: 'node-metrics',
  about: "a node's own metrics agree with taps, drop counters and tables between two snapshots",
  judge(want, _sent, seen) {
    const node = nodeOf(seen, want.node)
    const scrapes = node && scrapesOf(seen, node.name, want.between, tapsOf(node, seen))
    if (!node || !scrapes) return conclude([inconclusive(`the site has no node ${want.node}`)], '')
    if (typeof scrapes === 'string') return conclude([inconclusive(scrapes)], '')
    const asked = { want, node, scrapes, seen }
    const trouble = troubleOf(scrapes, name => name.startsWith(PREFIX) && name.endsWith('_total'))
    const findings = [...trouble.map(fail), ...judgeCopies(asked), ...judgeDrops(asked), ...judgeMemberships(asked)]
    return conclude(findings, `the metrics of ${want.node} agree with its taps, drop counters and tables`)
  },
}

interface Asked {
  want: NodeMetricsWant
  node: NodeSite
  scrapes: Scrapes
  seen: Seen
}

function tapsOf(node: NodeSite, seen: Seen): string[] {
  const pods = seen.site.pods.filter(pod => pod.node === node.name)
  return [...pods.map(pod => pod.podTap), ...(node.overlayTap === undefined ? [] : [node.overlayTap])]
}

function fail(message: string): Finding {
  return { status: 'fail', message }
}

function judgeCopies({ node, scrapes, seen }: Asked): Finding[] {
  const pods = seen.site.pods.filter(pod => pod.node === node.name).map(pod => pod.podTap)
  return [
    ...judgePlace({ node, scrapes, seen }, 'pod', pods, DIRECTION.in),
    ...(node.overlayTap === undefined
      ? []
      : judgePlace({ node, scrapes, seen }, 'node', [node.overlayTap], DIRECTION.out)),
  ]
}

function judgePlace(
  { node, scrapes, seen }: Omit<Asked, 'want'>,
  to: 'pod' | 'node',
  taps: readonly string[],
  direction: number,
): Finding[] {
  const fault = tapFault(seen, taps)
  if (fault !== undefined) return [inconclusive(fault)]
  const copies = taps
    .flatMap(tap => datagramsAt(seen.recording, seen.tapIndex(tap)))
    .filter(one => one.direction === direction && isMulticast(one.dst))
  if (copies.some(one => isUnsure(one, scrapes))) return [inconclusive('copies were made while the metrics were read')]
  const passed = copies.filter(({ timeNs }) => timeNs > scrapes.fromNs && timeNs < scrapes.toNs).length
  const told = counter(scrapes, 'copies', { to })
  if (told === undefined) return [fail(`${node.name} has no counter of copies to ${to}s`)]
  return [told === passed ? pass() : fail(`${node.name} counts ${told} copies to ${to}s, ${passed} passed the taps`)]
}

function isUnsure({ timeNs }: WireDatagram, { unsure }: Scrapes): boolean {
  return unsure.some(({ fromNs, toNs }) => timeNs >= fromNs && timeNs <= toNs)
}

function counter(scrapes: Scrapes, name: string, labels: Record<string, string>): number | undefined {
  const found = scrapes.after.samples.find(
    sample =>
      sample.name === `${PREFIX}${name}_total` &&
      Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
  )
  return found && growth(scrapes, found)
}

/** Reason by reason as the drop counters say, which a snapshot reads before the metrics and after them. */
function judgeDrops({ want, node, scrapes, seen }: Asked): Finding[] {
  const [before, after] = want.between.map(step => reasonsAt(seen, node.name, step))
  if (!before || !after) return [inconclusive(`no drop counters of ${node.name} were taken`)]
  return Object.keys(after.first).map(reason => {
    const of = (reasons: Record<string, number>) => reasons[reason] ?? 0
    const least = of(after.first) - of(before.last)
    const most = of(after.last) - of(before.first)
    const told = counter(scrapes, 'drops', { reason })
    if (told !== undefined && told >= least && told <= most) return pass()
    const counted = least === most ? least : `${least} to ${most}`
    return fail(
      `${node.name} says ${told ?? 'nothing of'} drops "${reason}" in its metrics, ${counted} in its drop counters`,
    )
  })
}

type Reasons = Record<string, number>

function reasonsAt(seen: Seen, node: string, step: string): { first: Reasons; last: Reasons } | undefined {
  const found = seen.observations.flatMap(one =>
    one.kind === 'drops' && one.step === step && one.node === node ? [one.reasons] : [],
  )
  const [first, last] = [found[0], found.at(-1)]
  return first && last && { first, last }
}

/** Of the group at the second snapshot: what the suite says the members are. */
function judgeMemberships({ want, node, scrapes }: Asked): Finding[] {
  const group = formatIpv4(want.group)
  return (['local', 'remote'] as const).map(type => {
    const found = scrapes.after.samples.find(
      ({ name, labels }) => name === `${PREFIX}memberships` && labels['group'] === group && labels['type'] === type,
    )
    if (found?.value === want[type]) return pass()
    return fail(
      `${node.name} says ${found?.value ?? 'nothing of'} ${type} subscribers of ${group}, expected ${want[type]}`,
    )
  })
}
