import { DIRECTION } from '../../captures/record.ts'
import { isMulticast } from '../../generators/wire/address.ts'
import type { EncryptedWant, Moment, Sanity } from '../suite/expectations.ts'
import type { Check, FrameNote, NodeSite, Seen, Sent, SentStream } from './check.ts'
import { CLEAR_NAMES, type ClearKind, ClearText } from './clear-text.ts'
import { sightingsIn } from './copies.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { nodeOf, podOf, tapFault } from './places.ts'
import { allSteps, type Closure, closedAtNode, closedAtPod } from './proof.ts'
import { counted } from './ranges.ts'
import { emptyReason, type Interval, intervalOf, ofCase, type Selection, selectionsOf } from './window.ts'

/**
 * Nothing leaves a node in clear. Only what goes out is looked at: where packets come in, the kernel shows them once more when it has
 * decrypted them. The same eyes must have seen the like in clear while encryption was off.
 */
export const encrypted: Check<EncryptedWant> = {
  name: 'encrypted',
  about:
    'no stamp, payload, group, IGMP or VXLAN leaves the node in clear, and the same search found them with encryption off',
  judge(want, sent, seen) {
    const selections = want.stream === undefined ? [] : selectionsOf({ ...want, stream: want.stream }, sent, seen)
    const selected = selections.filter(({ from, to }) => to > from)
    if (want.stream !== undefined && selected.length === 0)
      return conclude([inconclusive(emptyReason({ ...want, stream: want.stream }, sent, seen))], '')
    const findings = want.nodes.map(name => {
      const node = nodeOf(seen, name)
      if (node?.uplinkTap === undefined) return inconclusive(`${name} has no uplink to look at`)
      const own = selected.filter(({ stream }) => podOf(seen, stream.pod)?.node === name)
      return atUplink(want, { ...node, uplinkTap: node.uplinkTap }, own, sent, seen)
    })
    return conclude(
      findings,
      `nothing ${want.stream === undefined ? '' : `of ${want.stream} `}left ${want.nodes.join(', ')} in clear`,
    )
  },
}

type Uplink = NodeSite & { uplinkTap: string }

function atUplink(want: EncryptedWant, node: Uplink, selections: Selection[], sent: Sent, seen: Seen): Finding {
  const where = `${node.uplinkTap} (out)`
  const interval = windowOf(want, seen)
  if (!interval) return inconclusive(`the window of ${where} has no end: a step did not come to pass`)
  const sane = sanityStreams(want.sanity, node, sent, seen)
  const guarded = selections.flatMap(({ stream }) => [stream, ...guardsOf(sent, stream)])
  const clearText = new ClearText(seen, [...guarded, ...sane])
  const leaks = leaksOf(node, interval, selections, sent, seen, clearText)
  if (leaks.size > 0) return leaked(leaks, where, want)
  const blind = blindness(want, node, sane, seen, clearText)
  const closure = closureOf(node, interval, selections, sent, seen)
  const doubt = tapFault(seen, [node.uplinkTap]) ?? blind ?? ('reason' in closure ? closure.reason : undefined)
  return doubt
    ? inconclusive(`nothing in clear at ${where}, but ${doubt}`)
    : pass('method' in closure ? closure.method : undefined)
}

/** From the start of the stream's step, or of the case, to the end of the case, unless steps say otherwise. */
function windowOf(want: EncryptedWant, seen: Seen): Interval | undefined {
  const interval = intervalOf(want, seen)
  if (!interval) return undefined
  const start = want.stream === undefined ? -Infinity : (seen.stepTimeNs(want.stream, 'start') ?? -Infinity)
  const afterNs = Math.max(interval.afterNs, want.after === undefined ? start : -Infinity)
  return ofCase({ ...interval, afterNs }, seen)
}

/** What serves the stream is multicast between nodes like itself. */
function guardsOf(sent: Sent, stream: SentStream): SentStream[] {
  return (['fence', 'echo', 'control'] as const).flatMap(role => sent.serving(stream.number, role))
}

/** Times in which encryption was off at the node, as the steps of the case have it. */
function offIntervals(node: string, seen: Seen): Interval[] {
  const off: Interval[] = []
  for (const step of allSteps(seen.plan.steps)) {
    if (step.action !== 'encryption' || !step.nodes.includes(node)) continue
    const last = off.at(-1)
    const isOff = last?.beforeNs === Infinity
    if (step.do === 'off' && !isOff)
      off.push({ afterNs: seen.stepTimeNs(step.id, 'start') ?? Infinity, beforeNs: Infinity })
    if (step.do === 'on' && isOff) last.beforeNs = seen.stepTimeNs(step.id, 'end') ?? Infinity
  }
  return off
}

function within(timeNs: number, { afterNs, beforeNs }: Interval): boolean {
  return timeNs >= afterNs && timeNs < beforeNs
}

/** Captured frames, not those that were opened. */
function* leaving(seen: Seen, tap: number, interval: Interval): Generator<number> {
  const { recording } = seen
  const end = seen.esp?.view.firstClear ?? recording.count
  for (let i = 0; i < end; i++) {
    if (recording.tap(i) !== tap || recording.direction(i) !== DIRECTION.out) continue
    if (within(recording.timeNs(i), interval)) yield i
  }
}

/** Frames in clear, and what of each shows. */
function leaksOf(
  node: Uplink,
  interval: Interval,
  selections: readonly Selection[],
  sent: Sent,
  seen: Seen,
  clearText: ClearText,
): Map<number, string> {
  const tap = seen.tapIndex(node.uplinkTap)
  const leaks = new Map<number, string>()
  const off = offIntervals(node.name, seen)
  const counts = (frame: number) => !off.some(one => within(seen.recording.timeNs(frame), one))
  for (const frame of leaving(seen, tap, interval)) {
    if (!counts(frame)) continue
    const kinds = clearText.kindsOf(frame)
    if (kinds.size > 0) leaks.set(frame, kindsText(kinds))
  }
  // A copy that comes late is one all the same, and so is a fragment that shows nothing but whose head is known.
  for (const selection of [...selections, ...selections.flatMap(({ stream }) => guardsOf(sent, stream).map(whole))]) {
    for (const frame of stampedFrames(seen, selection, tap)) {
      if (counts(frame) && !leaks.has(frame)) leaks.set(frame, `a frame of ${selection.stream.name}`)
    }
  }
  return leaks
}

function whole(stream: SentStream): Selection {
  return { stream, from: 0, to: stream.count }
}

function* stampedFrames(seen: Seen, selection: Selection, tap: number): Generator<number> {
  const firstClear = seen.esp?.view.firstClear ?? Infinity
  for (const i of sightingsIn(seen, selection, tap, DIRECTION.out)) {
    const frame = seen.ledger.frame(i)
    if (frame < firstClear) yield frame
  }
}

function kindsText(kinds: ReadonlySet<ClearKind>): string {
  return [...kinds].map(kind => CLEAR_NAMES[kind]).join(', ')
}

const SHOWN = 5

function leaked(leaks: ReadonlyMap<number, string>, where: string, want: EncryptedWant): Finding {
  const byText = new Map<string, number>()
  for (const text of leaks.values()) byText.set(text, (byText.get(text) ?? 0) + 1)
  const texts = [...byText].map(([text, n]) => `${n} with ${text}`)
  const what = want.stream === undefined ? 'nothing' : `nothing of ${want.stream}`
  const frames: FrameNote[] = [...leaks].slice(0, SHOWN).map(([frame, text]) => ({ frame, note: `in clear: ${text}` }))
  const message = `expected ${what} in clear at ${where}, saw ${counted(leaks.size, 'frame')}: ${texts.join('; ')}`
  return { status: 'fail', message, frames, details: texts }
}

/** Streams that had to be seen in clear here. */
function sanityStreams(sanity: Sanity, node: Uplink, sent: Sent, seen: Seen): SentStream[] {
  if (sanity.stream === undefined) return []
  return sent.of(sanity.stream).filter(({ pod }) => podOf(seen, pod)?.node === node.name)
}

/** Why a search that finds nothing says nothing: with encryption off it did not find what must have been there. */
function blindness(
  { sanity }: EncryptedWant,
  node: Uplink,
  streams: readonly SentStream[],
  seen: Seen,
  clearText: ClearText,
): string | undefined {
  const tap = seen.tapIndex(node.uplinkTap)
  const name =
    sanity.stream ?? `${momentText(sanity.after) ?? 'the start'} to ${momentText(sanity.before) ?? 'the end'}`
  if (sanity.stream !== undefined && streams.length === 0)
    return `no frame of ${sanity.stream} was sent from ${node.name}`
  const interval = sanityInterval(sanity, seen)
  if (!interval) return `the sanity run (${name}) did not come to its end`
  const needed = neededKinds(streams, seen, clearText)
  const found = new Set<ClearKind>()
  for (const frame of leaving(seen, tap, interval)) for (const kind of clearText.kindsOf(frame)) found.add(kind)
  const missing = needed.filter(kind => !found.has(kind)).map(kind => CLEAR_NAMES[kind])
  for (const stream of streams) {
    if (stampedFrames(seen, whole(stream), tap).next().done) missing.push(`a frame of ${stream.name}`)
  }
  return missing.length === 0
    ? undefined
    : `the sanity run (${name}) did not see ${missing.join(', ')} in clear there either`
}

function momentText(moment: Moment | undefined): string | undefined {
  return typeof moment === 'object' ? moment.step : moment
}

function sanityInterval(sanity: Sanity, seen: Seen): Interval | undefined {
  if (sanity.stream === undefined) return intervalOf(sanity, seen)
  const afterNs = seen.stepTimeNs(sanity.stream, 'start')
  const beforeNs = seen.stepTimeNs(sanity.stream, 'end')
  return afterNs === undefined || beforeNs === undefined ? undefined : { afterNs, beforeNs }
}

function neededKinds(streams: readonly SentStream[], seen: Seen, clearText: ClearText): ClearKind[] {
  const needed: ClearKind[] = seen.site.overlay ? ['overlay'] : []
  if (streams.some(({ spec }) => spec.stamped)) needed.push('stamp')
  if (streams.some(({ spec }) => isMulticast(spec.destinations?.[0]?.group ?? spec.frame.ipv4?.dst ?? 0)))
    needed.push('group')
  if (streams.some(stream => clearText.tells(stream))) needed.push('payload')
  return needed
}

/**
 * The guard left behind the stream, in ESP; where nobody has keys, it came to a pod on another node, which it can only by this
 * uplink. Without a stream: something left that had to be encrypted.
 */
function closureOf(
  node: Uplink,
  interval: Interval,
  selections: readonly Selection[],
  sent: Sent,
  seen: Seen,
): Closure {
  if (selections.length === 0) return espLeft(node, interval, seen)
  const closures = selections.map(selection => {
    const place = { node: node.name, tap: node.uplinkTap, direction: 'out' as const, ofSender: true }
    const here = closedAtNode(seen, sent, selection.stream, place)
    if ('method' in here) return here
    const beyond = seen.site.pods.filter(pod => pod.node !== node.name)
    return beyond.map(pod => closedAtPod(seen, sent, selection, pod)).find(one => 'method' in one) ?? here
  })
  return closures.find(closure => 'reason' in closure) ?? closures[0] ?? { reason: 'nothing was sent' }
}

function espLeft(node: Uplink, interval: Interval, seen: Seen): Closure {
  const tap = seen.tapIndex(node.uplinkTap)
  const { recording, esp } = seen
  for (let i = esp?.view.firstClear ?? recording.count; i < recording.count; i++) {
    const leaves = recording.tap(i) === tap && recording.direction(i) === DIRECTION.out
    if (leaves && within(recording.timeNs(i), interval)) return { method: 'ESP opened' }
  }
  return { reason: 'no ESP that opens left there in the window: there was nothing to encrypt' }
}
