import { DIRECTION } from '../../captures/record.ts'
import type { LedgerRow } from '../../reports/result.ts'
import type { ExpectationWants } from '../suite/expectations.ts'
import type { Seen, Sent, SentStream } from './check.ts'
import { tally, tallyIn, unitsOf } from './copies.ts'
import { nodeOf, podOf } from './places.ts'
import { type Selection, selectionsOf } from './window.ts'

/** Copies of a stream at every tap that saw any, fragments counted one by one. */
export function rowsOf(seen: Seen, stream: SentStream): LedgerRow[] {
  const rows: LedgerRow[] = []
  for (let tap = 0; tap < seen.recording.taps.length; tap++) {
    const name = seen.recording.taps[tap]?.name ?? ''
    for (const direction of ['in', 'out'] as const) {
      const sightings = seen.ledger.sightings(tap, stream.number, DIRECTION[direction])
      const inEsp = sightings.filter(i => seen.ledger.frame(i) >= (seen.esp?.view.firstClear ?? Infinity)).length
      const row = { stream: stream.name, layer: layerOf(seen, stream, name, direction), direction, sent: stream.count }
      if (sightings.length > inEsp) rows.push({ ...row, tap: name, copies: sightings.length - inEsp })
      if (inEsp > 0) rows.push({ ...row, tap: `${name} (ESP)`, copies: inEsp })
    }
  }
  return rows.sort((a, b) => LAYERS.indexOf(a.layer) - LAYERS.indexOf(b.layer))
}

/** The way of a datagram, and last what no invariant speaks of. */
const LAYERS: readonly LedgerRow['layer'][] = [
  'sender',
  'stimulus',
  'local pod',
  'overlay',
  'uplink',
  'remote pod',
  'other',
]

function layerOf(seen: Seen, stream: SentStream, tap: string, direction: 'in' | 'out'): LedgerRow['layer'] {
  const sender = podOf(seen, stream.pod)
  if (seen.site.nodes.some(node => node.uplinkTap === tap)) return 'uplink'
  if (seen.site.nodes.some(node => node.overlayTap === tap)) return 'overlay'
  if (tap === sender?.nodeTap && direction === 'in') return 'stimulus'
  if (tap === sender?.podTap && direction === 'out') return 'sender'
  const pod = seen.site.pods.find(candidate => candidate.podTap === tap)
  if (!pod || direction === 'out') return 'other'
  return pod.node === sender?.node ? 'local pod' : 'remote pod'
}

interface Members {
  selection: Selection
  pods: Set<string>
}

/**
 * Useful copies / copies on the wire: one per member pod and one per remote node with members are useful, whatever else
 * came to a pod or left an uplink is not. Undefined when no expectation says who the members are.
 */
export function replicationEfficiency(sent: Sent, seen: Seen): number | undefined {
  let useful = 0
  let copies = 0
  for (const members of membersOf(sent, seen)) {
    const counts = usefulness(members, seen)
    useful += counts.useful
    copies += counts.copies
  }
  return copies === 0 ? undefined : useful / copies
}

/** Members by stream and window, as the case's `delivered` expectations name them together. */
function membersOf(sent: Sent, seen: Seen): Members[] {
  const byKey = new Map<string, Members>()
  for (const { check, want } of seen.plan.expect) {
    if (check !== 'delivered') continue
    const { to } = want as ExpectationWants['delivered']
    for (const selection of selectionsOf(want as ExpectationWants['delivered'], sent, seen)) {
      const key = `${selection.stream.number} ${selection.from} ${selection.to}`
      const members = byKey.get(key) ?? { selection, pods: new Set<string>() }
      for (const pod of to) members.pods.add(pod)
      byKey.set(key, members)
    }
  }
  return [...byKey.values()]
}

function usefulness({ selection, pods }: Members, seen: Seen): { useful: number; copies: number } {
  const units = unitsOf(selection.stream)
  const [from, to] = [units.start(selection.from), units.start(selection.to)]
  let useful = 0
  let copies = 0
  const count = (counts: Uint16Array, worth: number): void => {
    for (let u = from; u < to; u++) {
      useful += Math.min(counts[u]!, worth)
      copies += counts[u]!
    }
  }
  for (const pod of seen.site.pods)
    count(tallyIn(seen, units, seen.tapIndex(pod.podTap)).copies, pods.has(pod.name) ? 1 : 0)
  const sender = podOf(seen, selection.stream.pod)
  const remote = new Set(
    seen.site.pods.filter(pod => pods.has(pod.name) && pod.node !== sender?.node).map(pod => pod.node),
  )
  for (const node of seen.site.nodes) {
    const worth = node.name === sender?.node ? [...remote].filter(name => nodeOf(seen, name)).length : 0
    count(tally(seen, units, seen.tapIndex(node.uplinkTap ?? ''), DIRECTION.out).copies, worth)
  }
  return { useful, copies }
}
