import { DIRECTION } from '../../captures/record.ts'
import { formatIpv4, isMulticast } from '../../generators/wire/address.ts'
import type { MetricsWant } from '../suite/expectations.ts'
import { amountText, within } from './amount.ts'
import type { Check, PodSite, Seen } from './check.ts'
import type { Sample } from './exposition.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { histogramTrouble } from './histogram.ts'
import { podOf, tapFault } from './places.ts'
import { growth, type Scrapes, scrapesOf, troubleOf } from './scrapes.ts'
import { burstsOf, datagramsAt, type WireDatagram } from './socket-wire.ts'

/** Less than this between two datagrams makes a burst of them, by docs/metrics.md. */
const BURST_GAP_NS = 1e6
/** A socket's times are not the tap's: gaps so near to the bound may be on either side of it. */
const BURST_DOUBT = 0.5

/** Counters of the sockets of a pod, against the datagrams that its taps saw: taken and dropped together are what came. */
export const metrics: Check<MetricsWant> = {
  name: 'metrics',
  about: 'counters of sockets grew by what passed the taps of their pod between two snapshots',
  judge(want, _sent, seen) {
    const pod = podOf(seen, want.pod)
    const peer = want.peer === undefined ? undefined : podOf(seen, want.peer)
    if (!pod || (want.peer !== undefined && !peer)) return conclude([inconclusive('the site has no such pod')], '')
    const scrapes = scrapesOf(seen, pod.node, want.between, [pod.podTap])
    if (typeof scrapes === 'string') return conclude([inconclusive(scrapes)], '')
    const asked = { want, pod, peer, scrapes, seen, ...addressesOf(want, pod, peer) }
    const wire = wireOf(asked)
    if (typeof wire === 'string') return conclude([inconclusive(wire)], '')
    const family = isMulticast(asked.local) || isMulticast(asked.remote) ? MULTICAST : UNICAST
    const trouble = troubleOf(scrapes, name => name.startsWith(family.prefix) && name.endsWith('_total')).map(fail)
    return conclude(
      [...trouble, ...foreignRows(asked), ...judgeRows(asked, family, wire)],
      `${wire.length} datagrams at ${pod.name}'s sockets are counted as they passed its taps`,
    )
  },
}

interface Asked {
  want: MetricsWant
  pod: PodSite
  peer: PodSite | undefined
  scrapes: Scrapes
  seen: Seen
  /** As the socket sees them: its own side, which is the group where it receives, and the other. */
  local: number
  remote: number
}

interface FamilyNames {
  prefix: string
  local: string
  remote: string
}

const MULTICAST: FamilyNames = { prefix: 'tetragon_socket_stats_udp_mcast_', local: 'srcmcast', remote: 'dstmcast' }
const UNICAST: FamilyNames = { prefix: 'tetragon_socket_stats_udp_', local: 'srcip', remote: 'dstip' }

function addressesOf(want: MetricsWant, pod: PodSite, peer: PodSite | undefined): { local: number; remote: number } {
  if (want.direction === 'in') return { local: want.group ?? pod.address, remote: peer?.address ?? 0 }
  return { local: pod.address, remote: want.group ?? peer?.address ?? 0 }
}

/** What the taps say, or why they cannot be relied on. A pod's own datagrams come back to it by its own kernel. */
function wireOf({ want, pod, peer, scrapes, seen, local, remote }: Asked): WireDatagram[] | string {
  const received = want.direction === 'in'
  const own = peer?.name === pod.name
  const fault = tapFault(seen, [pod.podTap])
  if (fault !== undefined) return fault
  const direction = received && !own ? DIRECTION.in : DIRECTION.out
  const [src, dst] = received ? [remote, local] : [local, remote]
  const port = want.port ?? seen.plan.port
  const all = datagramsAt(seen.recording, seen.tapIndex(pod.podTap)).filter(
    one => one.direction === direction && one.src === src && one.dst === dst && one.dstPort === port,
  )
  const meanwhile = all.find(({ timeNs }) =>
    scrapes.unsure.some(({ fromNs, toNs }) => timeNs >= fromNs && timeNs <= toNs),
  )
  if (meanwhile) return `${formatIpv4(src)} sent to ${formatIpv4(dst)} while the metrics were read`
  const between = all.filter(({ timeNs }) => timeNs > scrapes.fromNs && timeNs < scrapes.toNs)
  return between.length > 0 ? between : `nothing from ${formatIpv4(src)} to ${formatIpv4(dst)} passed ${pod.podTap}`
}

function fail(message: string): Finding {
  return { status: 'fail', message }
}

/** An agent tells of its own node alone: a datagram would be counted once for each that tells of it. */
function foreignRows({ pod, scrapes, seen }: Asked): Finding[] {
  const elsewhere = new Set(seen.site.pods.filter(one => one.node !== pod.node).map(one => one.labels?.pod ?? one.name))
  const names = new Set(scrapes.after.samples.map(({ labels }) => labels['pod'] ?? ''))
  return [...names]
    .filter(name => elsewhere.has(name))
    .map(name => fail(`${pod.node} tells of ${name}, a pod of another node`))
}

function judgeRows(asked: Asked, family: FamilyNames, wire: readonly WireDatagram[]): Finding[] {
  const { want, pod, scrapes, local, remote } = asked
  const ours = scrapes.after.samples.filter(
    ({ name, labels }) =>
      name.startsWith(family.prefix) &&
      labels[family.local] === formatIpv4(local) &&
      labels[family.remote] === formatIpv4(remote) &&
      labels['pod'] === (pod.labels?.pod ?? pod.name),
  )
  const rows = ours.filter(({ name }) => name === `${family.prefix}rxsegs_total`)
  if (rows.length === 0) return [fail(missingRow(asked, family))]
  const sums = (counter: string): number =>
    ours
      .filter(({ name }) => name === `${family.prefix}${counter}_total`)
      .reduce((sum, sample) => sum + growth(scrapes, sample), 0)
  return [
    ...rows.flatMap(row => judgeLabels(asked, row)),
    ...(want.direction === 'in' ? judgeReceived(want, pod, sums, wire) : judgeSent(pod, sums, wire)),
    ...judgeProgram(asked, sums),
    ...(want.latency ? judgeLatency(asked, family, sums) : []),
    ...judgeBursts(want, sums, wire),
  ]
}

function missingRow({ pod, scrapes, local, remote }: Asked, family: FamilyNames): string {
  const rows = scrapes.after.samples.filter(
    ({ name, labels }) => name === `${family.prefix}rxsegs_total` && labels['pod'] === (pod.labels?.pod ?? pod.name),
  )
  const there = rows.map(({ labels }) => `${labels[family.local]} and ${labels[family.remote]}`).join('; ')
  const wanted = `${family.local} ${formatIpv4(local)} and ${family.remote} ${formatIpv4(remote)}`
  return `no row of pod ${pod.name} has ${wanted}${there ? `: it has ${there}` : ''}`
}

/** Whose socket it is and who the other is; of a group nobody. */
function judgeLabels({ want, pod, peer, remote }: Asked, { labels }: Sample): Finding[] {
  const other = isMulticast(remote) ? undefined : peer?.labels
  const wanted: Record<string, string | undefined> = {
    binary: want.binary,
    namespace: pod.labels?.namespace,
    workload: pod.labels?.workload,
    ...(pod.labels && {
      dstpod: other?.pod ?? '',
      dstnamespace: other ? other.namespace : '',
      dstworkload: other ? other.workload : '',
    }),
  }
  return Object.entries(wanted).map(([name, expected]) => {
    if (expected === undefined || labels[name] === expected) return pass()
    const difference = { field: name, expected, seen: labels[name] ?? '' }
    const message = `label ${name} of ${pod.name}'s socket is "${labels[name] ?? ''}", expected "${expected}"`
    return { status: 'fail', message, differences: [difference] }
  })
}

type Sums = (counter: string) => number

function judgeReceived(want: MetricsWant, pod: PodSite, sums: Sums, wire: readonly WireDatagram[]): Finding[] {
  const came = wire.length * want.sockets
  const [taken, dropped] = [sums('rxsegs'), sums('drops')]
  const about = `${pod.name} took ${taken} and dropped ${dropped}`
  return [
    taken + dropped === came ? pass() : fail(`${about} segments, of ${came} that came to its sockets`),
    within(want.drops, dropped) ? pass() : fail(`${about} segments: expected ${amountText(want.drops)} drops`),
    judgeTakenBytes(pod, sums, wire, want.sockets),
    ...none(['txsegs', 'txbytes', 'consume_misses'], pod, sums),
  ]
}

/** Exact where nothing was dropped or all are as long; else what was dropped may have been the shortest or the longest. */
function judgeTakenBytes(pod: PodSite, sums: Sums, wire: readonly WireDatagram[], sockets: number): Finding {
  const lengths = wire.flatMap(({ bytes }) => Array<number>(sockets).fill(bytes)).sort((a, b) => a - b)
  const taken = sums('rxsegs')
  const sum = (some: readonly number[]) => some.reduce((total, bytes) => total + bytes, 0)
  const [least, most] = [sum(lengths.slice(0, taken)), sum(lengths.slice(Math.max(0, lengths.length - taken)))]
  const bytes = sums('rxbytes')
  if (bytes >= least && bytes <= most) return pass()
  const expected = least === most ? String(least) : `${least} to ${most}`
  return fail(`${pod.name} took ${bytes} bytes in ${taken} segments: UDP payload is ${expected}`)
}

function judgeSent(pod: PodSite, sums: Sums, wire: readonly WireDatagram[]): Finding[] {
  const bytes = wire.reduce((sum, datagram) => sum + datagram.bytes, 0)
  const [segs, sent] = [sums('txsegs'), sums('txbytes')]
  return [
    segs === wire.length ? pass() : fail(`${pod.name} sent ${segs} segments, of ${wire.length} that left it`),
    sent === bytes ? pass() : fail(`${pod.name} sent ${sent} bytes: UDP payload is ${bytes}`),
    ...none(['rxsegs', 'rxbytes', 'drops', 'consume_misses'], pod, sums),
  ]
}

function none(counters: readonly string[], pod: PodSite, sums: Sums): Finding[] {
  return counters.map(counter => {
    const grown = sums(counter)
    return grown === 0 ? pass() : fail(`${counter} of ${pod.name}'s row grew by ${grown}, expected 0`)
  })
}

/** What the program has written it has been given; what it has not may still be on the way to it. */
function judgeProgram({ want, pod, seen }: Asked, sums: Sums): Finding[] {
  if (want.program === undefined) return []
  const lines = seen.observations.filter(
    one => one.kind === 'program' && one.step === want.program && one.event === 'stdout',
  ).length
  const taken = sums('rxsegs')
  if (lines === taken) return [pass()]
  const message = `${pod.name} took ${taken} segments, and ${want.program} wrote ${lines} lines`
  return [lines > taken ? fail(message) : inconclusive(message)]
}

/** Each segment that was read has waited for some time; what is still in the queue has not been read. */
function judgeLatency(asked: Asked, family: FamilyNames, sums: Sums): Finding[] {
  const { pod, scrapes, local, remote } = asked
  const name = `${family.prefix}latency_seconds`
  const ours = scrapes.after.samples
    .filter(
      ({ name: full, labels }) =>
        full.startsWith(`${name}_`) &&
        labels[family.local] === formatIpv4(local) &&
        labels[family.remote] === formatIpv4(remote) &&
        labels['pod'] === (pod.labels?.pod ?? pod.name),
    )
    .map(sample => ({ ...sample, value: growth(scrapes, sample) }))
  const trouble = histogramTrouble(name, ours, (scrapes.toNs - scrapes.fromNs) / 1e9)
  if (trouble !== undefined) return [fail(`${pod.name}: ${trouble}`)]
  const read = ours.find(sample => sample.name === `${name}_count`)?.value ?? 0
  const taken = sums('rxsegs')
  return [read === taken ? pass() : fail(`${pod.name} took ${taken} segments, and ${read} have waited to be read`)]
}

function judgeBursts({ bursts, direction }: MetricsWant, sums: Sums, wire: readonly WireDatagram[]): Finding[] {
  if (bursts === undefined) return []
  const seen = [1 - BURST_DOUBT, 1 + BURST_DOUBT].map(factor => burstsOf(wire, BURST_GAP_NS * factor))
  if (seen[0] !== seen[1])
    return [inconclusive(`gaps of about a millisecond: ${seen.join(' or ')} bursts passed the tap`)]
  const told = sums(direction === 'in' ? 'rxbursts' : 'txbursts')
  if (!within(bursts, seen[0] ?? 0))
    return [inconclusive(`${seen[0]} bursts passed the tap, expected ${amountText(bursts)}`)]
  return [told === seen[0] ? pass() : fail(`${told} bursts are counted, ${seen[0]} passed the tap`)]
}
