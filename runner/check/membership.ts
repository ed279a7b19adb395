import { formatIpv4 } from '../../generators/wire/address.ts'
import type { GroupTable } from '../observation.ts'
import type { MembershipWant, SubscriberWant } from '../suite/expectations.ts'
import type { Check, Seen } from './check.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { nodeOf, podOf } from './places.ts'

type Subscriber = GroupTable['subscribers'][number]

/** What the SUT says it knows; that it also acts on it, `delivered` and `not-delivered` of the same case say. */
export const membership: Check<MembershipWant> = {
  name: 'membership',
  about: 'the group table of a node holds exactly these subscribers at a snapshot',
  judge(want, _sent, seen) {
    const group = formatIpv4(want.group)
    return conclude([judgeTable(want, group, seen)], `${group} on ${want.node}: exactly the expected subscribers`)
  },
}

function judgeTable(want: MembershipWant, group: string, seen: Seen): Finding {
  const tables = seen.observations.find(o => o.kind === 'tables' && o.step === want.step && o.node === want.node)
  if (tables?.kind !== 'tables') return inconclusive(`no tables of ${want.node} were taken at ${want.step}`)
  const found = [...(tables.groups.find(entry => entry.group === group)?.subscribers ?? [])]
  const missing: string[] = []
  const differences = want.subscribers.flatMap(subscriber => {
    const names = namesOf(subscriber, seen)
    const at = found.findIndex(entry => names.includes(entry.subscriber) && entry.type === typeOf(subscriber))
    if (at >= 0) return filterDifferences(subscriber, found.splice(at, 1)[0] as Subscriber)
    missing.push(`${names[0]} (${typeOf(subscriber)})`)
    return []
  })
  const extra = found.map(entry => `${entry.subscriber} (${entry.type})`)
  if (missing.length + extra.length + differences.length === 0) return pass()
  const parts = [
    missing.length > 0 && `missing ${missing.join(', ')}`,
    extra.length > 0 && `not expected ${extra.join(', ')}`,
    ...differences.map(d => `${d.field} expected ${d.expected}, saw ${d.seen}`),
  ].filter(Boolean)
  const message = `expected ${want.subscribers.length} subscribers of ${group} on ${want.node} at ${want.step}: ${parts.join('; ')}`
  return { status: 'fail', message, differences }
}

/** Tables name subscribers by address, or by name where the SUT has one. */
function namesOf(subscriber: SubscriberWant, seen: Seen): string[] {
  const place = 'pod' in subscriber ? podOf(seen, subscriber.pod) : nodeOf(seen, subscriber.node)
  const name = 'pod' in subscriber ? subscriber.pod : subscriber.node
  return place ? [formatIpv4(place.address), name] : [name]
}

function typeOf(subscriber: SubscriberWant): Subscriber['type'] {
  return 'pod' in subscriber ? 'Local Endpoint' : 'Remote Node'
}

function filterDifferences(want: SubscriberWant, seen: Subscriber) {
  const differences = []
  if (want.mode !== undefined && want.mode !== seen.mode) {
    differences.push({ field: `mode of ${seen.subscriber}`, expected: want.mode, seen: seen.mode ?? 'not told' })
  }
  const expected = want.sources && sorted(want.sources.map(formatIpv4))
  const actual = sorted(seen.sources ?? [])
  if (expected !== undefined && expected !== actual)
    differences.push({ field: `sources of ${seen.subscriber}`, expected, seen: actual })
  return differences
}

function sorted(addresses: readonly string[]): string {
  return `{${[...addresses].sort().join(', ')}}`
}
