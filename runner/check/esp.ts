import type { OpenedEsp } from '../../captures/esp-opener.ts'
import { DIRECTION } from '../../captures/record.ts'
import { formatIpv4 } from '../../generators/wire/address.ts'
import type { EspWant } from '../suite/expectations.ts'
import type { Check, FrameNote, NodeSite, Seen, SeenEsp, Sent } from './check.ts'
import { contentAsSent } from './content.ts'
import { sequencesOf, sightingsIn, type Units, unequal, unitsOf } from './copies.ts'
import { differenceText, readable } from './field-text.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { nodeOf, podOf, tapFault } from './places.ts'
import { closedAtNode } from './proof.ts'
import { counted, ranges } from './ranges.ts'
import { blame } from './shortfall.ts'
import { stimulusFault } from './stimulus.ts'
import { emptyReason, type Interval, intervalOf, ofCase, type Selection, selectionsOf } from './window.ts'

/**
 * What leaves in ESP is right (RFC 4303): the declared SPI, numbers that only rise, one packet for each remote node with members, opened by
 * the key of that direction of that pair alone, and inside exactly what was sent.
 */
export const esp: Check<EspWant> = {
  name: 'esp',
  about: "one ESP packet to each remote node: right SPI, rising numbers, the pair's own key, and inside what was sent",
  judge(want, sent, seen) {
    const { esp: opened } = seen
    if (!opened) return conclude([inconclusive('no keys are known, so no ESP was opened: --keys FILE')], '')
    const { stream } = want
    const selections =
      stream === undefined ? [] : selectionsOf({ ...want, stream }, sent, seen).filter(s => s.to > s.from)
    if (stream !== undefined && selections.length === 0)
      return conclude([inconclusive(emptyReason({ ...want, stream }, sent, seen))], '')
    const findings = want.fromNodes.flatMap(name => {
      const place = placeOf(want, nodeOf(seen, name), opened, seen)
      if (!place) return [inconclusive(`${name} has no tap where ESP of the ${want.layer} would leave`)]
      const own = selections.filter(selection => podOf(seen, selection.stream.pod)?.node === name)
      return [...packets(want, place, seen), ...own.map(selection => ofStream(want, place, selection, sent, seen))]
    })
    return conclude(findings, `ESP of ${stream ?? want.fromNodes.join(', ')} is as it should be`)
  },
}

/** Where ESP of a layer leaves a node, and who its ends are. */
interface Place {
  node: NodeSite
  tap: string
  opened: SeenEsp
  /** Tunnel ends by address. */
  ends: ReadonlyMap<number, string>
}

function placeOf(want: EspWant, node: NodeSite | undefined, opened: SeenEsp, seen: Seen): Place | undefined {
  const tap = want.layer === 'overlay' ? node?.uplinkTap : node?.overlayTap
  if (!node || tap === undefined) return undefined
  const ends = seen.site.nodes.flatMap(({ name, address, routerAddress }): [number, string][] => {
    const end = want.layer === 'overlay' ? address : routerAddress
    return end === undefined ? [] : [[end, name]]
  })
  return { node, tap, opened, ends: new Map(ends) }
}

/** The ESP of the layer that is looked at. */
function espOf(place: Place, frame: number): OpenedEsp | undefined {
  return place.opened.view.opened(frame).find(({ src }) => place.ends.has(src))
}

/** Every packet that left in the window, whatever was in it: opened, of the right SPI and key, and numbered as never before. */
function packets(want: EspWant, place: Place, seen: Seen): Finding[] {
  const interval = windowOf(want, seen)
  if (!interval) return [inconclusive(`the window at ${place.tap} has no end: a step did not come to pass`)]
  const frames = clearFrames(place, seen, interval)
  const findings = [
    ...wrongPackets(want, place, frames),
    ...reused(place, seen, interval),
    ...stayedClosed(place, seen, interval),
  ]
  if (want.keys === 'pair' && !place.opened.keys.some(({ scope }) => scope === 'global'))
    findings.push(inconclusive('the global key is not known: whether it opens these packets was not tried'))
  if (want.stream === undefined) findings.push(enough(want, place, frames, seen))
  return findings
}

function windowOf(want: EspWant, seen: Seen): Interval | undefined {
  const interval = intervalOf(want, seen)
  const start =
    want.stream === undefined || want.after !== undefined ? -Infinity : seen.stepTimeNs(want.stream, 'start')
  return interval && ofCase({ ...interval, afterNs: Math.max(interval.afterNs, start ?? -Infinity) }, seen)
}

/** Opened packets that left by the place, in time order. */
function clearFrames(place: Place, seen: Seen, interval: Interval): number[] {
  const { recording } = seen
  const tap = seen.tapIndex(place.tap)
  const frames: number[] = []
  for (let i = place.opened.view.firstClear; i < recording.count; i++) {
    const timeNs = recording.timeNs(i)
    if (recording.tap(i) !== tap || recording.direction(i) !== DIRECTION.out || !espOf(place, i)) continue
    if (timeNs >= interval.afterNs && timeNs < interval.beforeNs) frames.push(i)
  }
  return frames.sort((a, b) => recording.timeNs(a) - recording.timeNs(b) || a - b)
}

const SHOWN = 3

function failure(message: string, frames: readonly number[], notes: (frame: number) => string): Finding {
  const shown: FrameNote[] = frames.slice(0, SHOWN).map(frame => ({ frame, note: notes(frame) }))
  return { status: 'fail', message, frames: shown }
}

function wrongPackets(want: EspWant, place: Place, frames: readonly number[]): Finding[] {
  const packet = (frame: number) => espOf(place, frame) as OpenedEsp
  const wrongSpi = frames.filter(frame => !want.spi.includes(packet(frame).spi))
  const global = want.keys === 'pair' ? frames.filter(frame => packet(frame).key.scope === 'global') : []
  const foreign = frames.filter(frame => place.ends.get(packet(frame).src) !== place.node.name)
  const spis = [...new Set(wrongSpi.map(frame => packet(frame).spi))]
  return [
    ...(wrongSpi.length > 0
      ? [
          failure(
            `expected SPI ${want.spi.join(' or ')} at ${place.tap}, saw ${spis.join(', ')} in ${counted(wrongSpi.length, 'packet')}`,
            wrongSpi,
            frame => `SPI ${packet(frame).spi}`,
          ),
        ]
      : []),
    ...(global.length > 0
      ? [
          failure(
            `expected the pair's own key at ${place.tap}, the global key opened ${counted(global.length, 'packet')}`,
            global,
            () => 'opened by the global key',
          ),
        ]
      : []),
    ...(foreign.length > 0
      ? [
          failure(
            `expected ESP from ${place.node.name} at ${place.tap}, saw ${counted(foreign.length, 'packet')} from another`,
            foreign,
            frame => `from ${formatIpv4(packet(frame).src)}`,
          ),
        ]
      : []),
  ]
}

/**
 * Numbers of one SA rise from packet to packet (RFC 4303 §3.3.3). From the start of the capture on: a number that was used before the
 * window must not be used in it.
 */
function reused(place: Place, seen: Seen, { afterNs, beforeNs }: Interval): Finding[] {
  const highest = new Map<string, number>()
  const wrong = new Map<number, string>()
  for (const frame of clearFrames(place, seen, { afterNs: -Infinity, beforeNs })) {
    const { src, dst, spi, key, sequence, sequenceHigh } = espOf(place, frame) as OpenedEsp
    // Keys of a run may have the same name and SPI, one after the other.
    const sa = `${src} ${dst} ${spi} ${place.opened.keys.indexOf(key)}`
    const number = sequenceHigh * 0x1_0000_0000 + sequence
    const before = highest.get(sa) ?? 0
    const counts = seen.recording.timeNs(frame) >= afterNs
    if (counts && number <= before) wrong.set(frame, `number ${number} to ${formatIpv4(dst)} came after ${before}`)
    highest.set(sa, Math.max(before, number))
  }
  if (wrong.size === 0) return []
  const [first] = wrong.values()
  const message = `expected rising sequence numbers at ${place.tap}, ${counted(wrong.size, 'packet')} did not rise: ${first}`
  return [failure(message, [...wrong.keys()], frame => wrong.get(frame) ?? '')]
}

/** Between two ends of ours there is nothing that our keys must not open. */
function stayedClosed(place: Place, seen: Seen, { afterNs, beforeNs }: Interval): Finding[] {
  const { recording } = seen
  const tap = seen.tapIndex(place.tap)
  const closed = place.opened.view.closed.filter(({ frame, packet }) => {
    const timeNs = recording.timeNs(frame)
    const leaves = recording.tap(frame) === tap && recording.direction(frame) === DIRECTION.out
    return leaves && timeNs >= afterNs && timeNs < beforeNs && (packet === undefined || place.ends.has(packet.dst))
  })
  if (closed.length === 0) return []
  const reasons = new Map(closed.map(({ frame, why }) => [frame, why]))
  const message = `expected ESP that the pair's key opens at ${place.tap}, ${counted(closed.length, 'packet')} stayed closed: ${closed[0]?.why}`
  return [failure(message, [...reasons.keys()], frame => reasons.get(frame) ?? '')]
}

function enough(want: EspWant, place: Place, frames: readonly number[], seen: Seen): Finding {
  const to = frames.filter(frame => want.toNodes.includes(place.ends.get(espOf(place, frame)?.dst ?? 0) ?? ''))
  const atLeast = want.atLeast ?? 1
  if (to.length >= atLeast) return pass('ESP opened')
  const message = `expected at least ${atLeast} ESP packets from ${place.node.name} to ${want.toNodes.join(', ')} at ${place.tap}, saw ${to.length}`
  const doubt = tapFault(seen, [place.tap]) ?? missedStep(seen)
  return doubt ? inconclusive(`${message}; ${doubt}`) : { status: 'fail', message }
}

/** Without a stream nobody says what was sent: where a step did not come to pass, perhaps nothing was. */
function missedStep(seen: Seen): string | undefined {
  const missed = seen.observations.find(o => o.kind === 'step' && o.phase === 'end' && !o.ok)
  return missed?.kind === 'step' ? `step ${missed.step} (${missed.action}) did not come to pass` : undefined
}

/** Of one sender: the copies to each node, and what in them is not what was sent. */
function ofStream(want: EspWant, place: Place, selection: Selection, sent: Sent, seen: Seen): Finding {
  const { stream } = selection
  const units = unitsOf(stream)
  const copies = copiesOf(want, place, selection, units, seen)
  const { node, tap } = place
  const stimulus = stimulusFault(seen, selection)
  const closure = closedAtNode(seen, sent, stream, { node: node.name, tap, direction: 'out', ofSender: true })
  const remote = want.toNodes.filter(name => name !== node.name)
  const parts = remote.flatMap(name => departure(name, units, copies, selection))
  const missing = parts.reduce((sum, part) => sum + part.missing, 0)
  const positive = copies.wrong.size > 0 || parts.some(part => part.surplus > 0)
  if (missing === 0 && !positive) {
    const doubt = stimulus ?? tapFault(seen, [tap]) ?? ('reason' in closure ? closure.reason : undefined)
    return doubt
      ? inconclusive(`ESP of ${stream.name} at ${tap}: ${doubt}`)
      : pass('method' in closure ? closure.method : undefined)
  }
  const [first] = copies.wrong.values()
  const wrong = first === undefined ? [] : [`${counted(copies.wrong.size, 'packet')} wrong: ${first}`]
  const texts = [...wrong, ...parts.map(part => part.text)]
  const to = remote.length === 0 ? 'not in ESP at all' : `in one ESP packet to each of ${remote.join(', ')}`
  const message = `expected ${stream.name} ${to} at ${tap}, saw ${texts.join('; ')}`
  const frames = [...copies.wrong].slice(0, SHOWN).map(([frame, note]) => ({ frame, note }))
  return blame(
    { message, missing, positive, finding: { frames, details: texts } },
    { seen, sent, stream, taps: [tap], stimulus, closure },
  )
}

interface Copies {
  to: Map<string, Uint16Array>
  /** Frames that went astray or hold something else. */
  wrong: Map<number, string>
}

function copiesOf(want: EspWant, place: Place, selection: Selection, units: Units, seen: Seen): Copies {
  const copies: Copies = { to: new Map(), wrong: new Map() }
  for (const name of want.toNodes) copies.to.set(name, new Uint16Array(units.count))
  for (const i of sightingsIn(seen, selection, seen.tapIndex(place.tap), DIRECTION.out)) {
    const frame = seen.ledger.frame(i)
    const packet = espOf(place, frame)
    if (!packet) continue
    const counts = copies.to.get(place.ends.get(packet.dst) ?? '')
    const unit = units.unitOf(seen.ledger.sequence(i), seen.ledger.fragmentOffset(i))
    if (counts && unit >= 0) counts[unit]!++
    if (!counts) copies.wrong.set(frame, `sent to ${formatIpv4(packet.dst)}, which should get none`)
    const difference = contentAsSent(selection.stream, seen, i, want.layer === 'pod')
    if (difference) copies.wrong.set(frame, differenceText(readable(difference)))
  }
  return copies
}

function departure(name: string, units: Units, { to }: Copies, selection: Selection) {
  const { missing, surplus } = unequal(units, to.get(name) ?? new Uint16Array(units.count), selection)
  if (missing.length + surplus.length === 0) return []
  const lacks = missing.length > 0 ? [`nothing of ${ranges(sequencesOf(units, missing))}`] : []
  const extra = surplus.length > 0 ? [`more than one of ${ranges(sequencesOf(units, surplus))}`] : []
  return [{ missing: missing.length, surplus: surplus.length, text: `to ${name}: ${[...lacks, ...extra].join(', ')}` }]
}
