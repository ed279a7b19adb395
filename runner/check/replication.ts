import { DIRECTION } from '../../captures/record.ts'
import { ipv4 } from '../../generators/wire/ipv4.ts'
import type { CopyCount, ReplicationWant } from '../suite/expectations.ts'
import { alteredAt } from './altered.ts'
import type { Check, NodeSite, PodSite, Seen, Sent, Verdict } from './check.ts'
import {
  frameOfUnit,
  sequencesOf,
  type Tally,
  tally,
  tallyIn,
  type Units,
  unequal,
  unitCount,
  unitsOf,
} from './copies.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { innerIpAt } from './inner.ts'
import { rowsOf } from './ledger-rows.ts'
import { nodeOf, podOf, tapFault } from './places.ts'
import { type Closure, closedAtNode, closedAtPod } from './proof.ts'
import { counted as countOf, ranges } from './ranges.ts'
import { blame } from './shortfall.ts'
import { stimulusFault } from './stimulus.ts'
import { emptyReason, type Selection, selectionsOf } from './window.ts'

/** The invariants of the replication ledger (ARCHITECTURE section 4), exact at each place listed. */
export const replication: Check<ReplicationWant> = {
  name: 'replication',
  about: 'copies of every datagram at each tap are as many as members and remote nodes make them',
  judge(want, sent, seen): Verdict {
    const selections = selectionsOf(want, sent, seen).filter(({ from, to }) => to > from)
    const findings = want.senders.flatMap(({ pod, counts }) => {
      const own = selections.filter(selection => selection.stream.pod === pod)
      if (own.length === 0) return [inconclusive(`${pod}: ${emptyReason(want, sent, seen)}`)]
      return own.flatMap(selection => ofSender(selection, counts, sent, seen))
    })
    const verdict = conclude(findings, `copies of ${want.stream} are exact at every tap listed`)
    return { ...verdict, rows: selections.flatMap(({ stream }) => rowsOf(seen, stream)) }
  },
}

function ofSender(selection: Selection, counts: readonly CopyCount[], sent: Sent, seen: Seen): Finding[] {
  const sender = podOf(seen, selection.stream.pod)
  if (!sender) return [inconclusive(`no pod ${selection.stream.pod} in the site`)]
  const stimulus = stimulusFault(seen, selection)
  const units = unitsOf(selection.stream)
  return counts.map(count => {
    const place = placeOf(count, sender, selection, sent, seen)
    return place
      ? atPlace(count.copies, place, { selection, units, stimulus }, sent, seen)
      : inconclusive(`${placeName(count)} is not in the site`)
  })
}

interface Place {
  tap: string
  direction: 'in' | 'out'
  /** Of a node's uplink: only what is addressed to the node comes in there. */
  address?: number
  pod?: PodSite
  closure: Closure
}

function placeOf(count: CopyCount, sender: PodSite, selection: Selection, sent: Sent, seen: Seen): Place | undefined {
  if (count.place === 'pod') {
    const pod = podOf(seen, count.pod)
    return pod && { tap: pod.podTap, direction: 'in', pod, closure: closedAtPod(seen, sent, selection, pod) }
  }
  const node = nodeOf(seen, count.node)
  if (!node) return undefined
  const tap = tapOf(count, node)
  if (tap === undefined) return undefined
  const { direction } = count
  const ofSender = node.name === sender.node
  return {
    tap,
    direction,
    ...(count.place === 'uplink' && direction === 'in' && { address: node.address }),
    closure: closedAtNode(seen, sent, selection.stream, { node: node.name, tap, direction, ofSender }),
  }
}

function tapOf(count: Exclude<CopyCount, { place: 'pod' }>, node: NodeSite): string | undefined {
  if (count.place === 'interface') return `${node.name}/${count.interface}`
  return count.place === 'uplink' ? node.uplinkTap : node.overlayTap
}

/** An underlay may flood: a tunnel packet to another node that passes the tap is not a copy that came to this one. */
function tallyAt({ direction, address }: Place, tap: number, units: Units, seen: Seen): Tally {
  if (direction === 'out') return tally(seen, units, tap, DIRECTION.out)
  if (address === undefined) return tallyIn(seen, units, tap)
  return tally(seen, units, tap, DIRECTION.in, i => {
    if (seen.ledger.levels(i) === 0) return true
    const frame = seen.recording.bytes(seen.ledger.frame(i))
    const ipAt = innerIpAt(frame, 0)
    return ipAt < 0 || ipv4.fields.dst.get(frame, ipAt) === address
  })
}

function placeName(count: CopyCount): string {
  if (count.place === 'pod') return `pod ${count.pod}`
  return count.place === 'interface' ? `${count.node}/${count.interface}` : `${count.place} of ${count.node}`
}

function atPlace(
  copies: number,
  place: Place,
  { selection, units, stimulus }: { selection: Selection; units: Units; stimulus: string | undefined },
  sent: Sent,
  seen: Seen,
): Finding {
  const { stream } = selection
  const tap = seen.tapIndex(place.tap)
  const counted = tallyAt(place, tap, units, seen)
  const { missing, surplus } = unequal(units, counted.copies, selection, copies)
  const altered = place.pod ? alteredAt(seen, stream, tap, stream.timeNs(selection.from)) : []
  const where = `${place.tap} (${place.direction})`
  if (missing.length + surplus.length + altered.length === 0) {
    const doubt =
      stimulus ?? tapFault(seen, [place.tap]) ?? ('reason' in place.closure ? place.closure.reason : undefined)
    return doubt
      ? inconclusive(`copies of ${stream.name} at ${where}: ${doubt}`)
      : pass('method' in place.closure ? place.closure.method : undefined)
  }
  const off = [...missing, ...surplus].sort((a, b) => a - b)
  const message = `expected ${copies} of each of ${unitCount(units, selection)} datagrams of ${stream.name} at ${where}, saw ${[
    ...spread(units, counted.copies, off),
    ...(altered.length > 0 ? [`${countOf(altered.length, 'frame')} like it with no readable stamp`] : []),
  ].join('; ')}`
  const lacking = missing.reduce((sum, unit) => sum + copies - counted.copies[unit]!, 0)
  const frames = surplus.slice(0, SHOWN).flatMap(unit => {
    const frame = frameOfUnit(seen, units, unit, tap, DIRECTION[place.direction], copies)
    const note = `${stream.name} ${units.sequenceOf(unit)} at ${where}: copy ${copies + 1}, expected ${copies}`
    return frame < 0 ? [] : [{ frame, note }]
  })
  for (const frame of altered.slice(0, SHOWN)) frames.push({ frame, note: `like ${stream.name}, altered, at ${where}` })
  const positive = surplus.length + altered.length > 0
  const trouble = { message, missing: lacking, positive, finding: { frames } }
  const pod = place.pod && place.pod.name !== stream.pod ? { pod: place.pod } : {}
  return blame(trouble, { seen, sent, stream, ...pod, taps: [place.tap], stimulus, closure: place.closure })
}

const SHOWN = 3

/** "2 of 0-9", "3 of 17": how many copies the odd ones had. */
function spread(units: Units, copies: Uint16Array, off: readonly number[]): string[] {
  const byCount = new Map<number, number[]>()
  for (const unit of off) {
    const list = byCount.get(copies[unit]!)
    if (list) list.push(unit)
    else byCount.set(copies[unit]!, [unit])
  }
  return [...byCount].map(([n, list]) => `${n} of ${ranges(sequencesOf(units, list))}`)
}
