import { DIRECTION } from '../../captures/record.ts'
import { matchFrame } from '../../generators/frame-match.ts'
import type { FrameSpec } from '../../generators/frame-spec.ts'
import { formatIpv4 } from '../../generators/wire/address.ts'
import { mismatches, type Difference as WireDifference } from '../../generators/wire/field.ts'
import { IP_PROTOCOL, ipv4, ipv4HeaderLength } from '../../generators/wire/ipv4.ts'
import { udp } from '../../generators/wire/udp.ts'
import { VXLAN_FLAG_VNI, VXLAN_PORT, vxlan } from '../../generators/wire/vxlan.ts'
import type { EncapsulatedWant } from '../suite/expectations.ts'
import type { Check, FrameNote, NodeSite, Seen, Sent } from './check.ts'
import { sequencesOf, sightingsIn, type Units, unequal, unitsOf } from './copies.ts'
import { groupMacDifference } from './copy-fields.ts'
import { differenceText, readable } from './field-text.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { innerIpAt } from './inner.ts'
import { nodeOf, podOf, tapFault } from './places.ts'
import { closedAtNode } from './proof.ts'
import { ranges } from './ranges.ts'
import { sendersOf } from './receivers.ts'
import { blame } from './shortfall.ts'
import { stimulusFault } from './stimulus.ts'
import { emptyReason, type Selection, selectionsOf } from './window.ts'

/** RFC 7348 §5: one right outer header per datagram and remote node, on the uplink of the sender's node. */
export const encapsulated: Check<EncapsulatedWant> = {
  name: 'encapsulated',
  about: 'each datagram crosses the uplink once to each remote node, inside a right VXLAN header',
  judge(want, sent, seen) {
    const selections = selectionsOf(want, sent, seen).filter(({ stream, from, to }) => {
      const node = podOf(seen, stream.pod)?.node
      return to > from && node !== undefined && want.fromNodes.includes(node)
    })
    if (selections.length === 0) return conclude([inconclusive(emptyReason(want, sent, seen))], '')
    const silent = sendersOf(want, sent, seen)
      .filter(pod => want.fromNodes.includes(podOf(seen, pod)?.node ?? ''))
      .filter(pod => !selections.some(({ stream }) => stream.pod === pod))
    const findings = [
      ...silent.map(pod => inconclusive(`${pod} sent no frame of ${want.stream} in the window`)),
      ...selections.map(selection => onUplink(want, selection, sent, seen)),
    ]
    return conclude(findings, `each datagram of ${want.stream} crossed in VXLAN once to ${want.toNodes.join(', ')}`)
  },
}

/** What left one uplink: per remote node and unit the copies, and those that are not as they should be. */
interface Crossing {
  copies: Map<string, Uint16Array>
  wrong: number
  first: WireDifference[]
  /** Addresses that no copy should go to. */
  strangers: Set<string>
  frames: FrameNote[]
}

type TunnelNode = NodeSite & { uplinkTap: string }

function hasUplink(node: NodeSite): node is TunnelNode {
  return node.uplinkTap !== undefined
}

function onUplink(want: EncapsulatedWant, selection: Selection, sent: Sent, seen: Seen): Finding {
  const { stream } = selection
  const node = nodeOf(seen, podOf(seen, stream.pod)?.node ?? '')
  if (!node) return inconclusive(`the node of ${stream.pod} is not in the site`)
  if (!hasUplink(node)) return inconclusive(`${node.name} has no uplink to a tunnel`)
  const units = unitsOf(stream)
  const remote = want.toNodes.filter(name => name !== node.name)
  const crossing = crossingOf(want, remote, node, selection, units, seen)
  const stimulus = stimulusFault(seen, selection)
  const closure = closedAtNode(seen, sent, stream, {
    node: node.name,
    tap: node.uplinkTap,
    direction: 'out',
    ofSender: true,
  })
  const parts = remote.flatMap(name => departure(name, units, crossing, selection))
  const missing = parts.reduce((sum, part) => sum + part.missing, 0)
  const positive = crossing.wrong + crossing.strangers.size > 0 || parts.some(part => part.surplus > 0)
  if (missing === 0 && !positive) {
    const doubt = stimulus ?? tapFault(seen, [node.uplinkTap]) ?? ('reason' in closure ? closure.reason : undefined)
    return doubt
      ? inconclusive(`${stream.name} at ${node.uplinkTap}: ${doubt}`)
      : pass('method' in closure ? closure.method : undefined)
  }
  const differences = crossing.first.map(readable)
  const texts = [
    ...(crossing.wrong > 0
      ? [`${crossing.wrong} with a wrong header: ${differences.map(differenceText).join('; ')}`]
      : []),
    ...(crossing.strangers.size > 0 ? [`copies to ${[...crossing.strangers].join(', ')}`] : []),
    ...parts.map(part => part.text),
  ]
  const message = `expected ${stream.name} once to each of ${remote.join(', ')} in VXLAN at ${node.uplinkTap}, saw ${texts.join('; ')}`
  const finding = { differences, frames: crossing.frames, details: texts }
  return blame(
    { message, missing, positive, finding },
    { seen, sent, stream, taps: [node.uplinkTap], stimulus, closure },
  )
}

function departure(name: string, units: Units, { copies }: Crossing, selection: Selection) {
  const { missing, surplus } = unequal(units, copies.get(name) ?? new Uint16Array(units.count), selection)
  if (missing.length + surplus.length === 0) return []
  const lacks = missing.length > 0 ? [`nothing of ${ranges(sequencesOf(units, missing))}`] : []
  const extra = surplus.length > 0 ? [`more than one of ${ranges(sequencesOf(units, surplus))}`] : []
  return [{ missing: missing.length, surplus: surplus.length, text: `to ${name}: ${[...lacks, ...extra].join(', ')}` }]
}

const SHOWN = 3

function crossingOf(
  want: EncapsulatedWant,
  remote: string[],
  node: TunnelNode,
  selection: Selection,
  units: Units,
  seen: Seen,
): Crossing {
  const crossing: Crossing = { copies: new Map(), wrong: 0, first: [], strangers: new Set(), frames: [] }
  const byAddress = new Map(seen.site.nodes.map(other => [other.address, other.name]))
  for (const name of remote) crossing.copies.set(name, new Uint16Array(units.count))
  for (const i of sightingsIn(seen, selection, seen.tapIndex(node.uplinkTap), DIRECTION.out)) {
    const frame = seen.recording.bytes(seen.ledger.frame(i))
    const ipAt = innerIpAt(frame, 0)
    const dst = ipAt < 0 ? 0 : ipv4.fields.dst.get(frame, ipAt)
    const counts = crossing.copies.get(byAddress.get(dst) ?? '')
    const differences = headerDifferences(want, frame, ipAt, node, i, seen)
    const unit = units.unitOf(seen.ledger.sequence(i), seen.ledger.fragmentOffset(i))
    if (counts && unit >= 0) counts[unit]!++
    if (!counts) crossing.strangers.add(formatIpv4(dst))
    if (differences.length > 0) {
      crossing.wrong++
      if (crossing.first.length === 0) crossing.first = differences
    }
    if ((differences.length > 0 || !counts) && crossing.frames.length < SHOWN) {
      const note =
        differences.map(d => differenceText(readable(d))).join('; ') ||
        `sent to ${formatIpv4(dst)}, which should get none`
      crossing.frames.push({ frame: seen.ledger.frame(i), note })
    }
  }
  return crossing
}

/** Outer IPv4, UDP and VXLAN of a frame on the uplink, and the tunnel's depth. */
function headerDifferences(
  want: EncapsulatedWant,
  frame: Uint8Array,
  ipAt: number,
  node: NodeSite,
  i: number,
  seen: Seen,
): WireDifference[] {
  const levels = seen.ledger.levels(i)
  const found: WireDifference[] =
    levels === want.levels ? [] : [{ field: 'VXLAN levels', at: 0, expected: want.levels, actual: levels }]
  if (ipAt < 0 || levels === 0) return found
  const udpAt = ipAt + ipv4HeaderLength(frame, ipAt)
  found.push(...mismatches(ipv4, frame, ipAt, { src: node.address, protocol: IP_PROTOCOL.UDP }))
  found.push(...mismatches(udp, frame, udpAt, { dstPort: want.udpPort ?? seen.site.overlay?.udpPort ?? VXLAN_PORT }))
  const vni = want.vni ?? seen.site.overlay?.vni ?? 0
  found.push(
    ...mismatches(vxlan, frame, udpAt + udp.length, { flags: VXLAN_FLAG_VNI, reserved1: 0, vni, reserved2: 0 }),
  )
  const mac = want.groupMac ? groupMacDifference(frame, seen.ledger.innerAt(i)) : undefined
  if (mac) found.push({ ...mac, field: `inner.${mac.field}` })
  return [...found, ...outerDifferences(want.outer, frame)]
}

function outerDifferences(outer: FrameSpec | undefined, frame: Uint8Array): WireDifference[] {
  return outer ? matchFrame(outer, frame) : []
}
