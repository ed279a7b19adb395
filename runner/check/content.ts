import { DIRECTION } from '../../captures/record.ts'
import type { Difference as WireDifference } from '../../generators/wire/field.ts'
import { ipv4, ipv4ChecksumOk } from '../../generators/wire/ipv4.ts'
import type { ContentWant } from '../suite/expectations.ts'
import { contentDifference } from './bytes-compare.ts'
import type { Check, FrameNote, Seen, Sent, SentStream } from './check.ts'
import { sightingsIn } from './copies.ts'
import { fieldDifferences } from './copy-fields.ts'
import { differenceText, readable } from './field-text.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { innerIpAt, sentIpAt } from './inner.ts'
import { controlState, unsettled } from './proof.ts'
import { counted } from './ranges.ts'
import { eachPair, type Pair } from './receivers.ts'

/** One L2-like domain: TTL, options and payload reach the members untouched (RFC 1812 §5.2.1 is for routers only). */
export const content: Check<ContentWant> = {
  name: 'content',
  about: 'IP header and everything after it are at each pod the bytes that were sent',
  judge(want, sent, seen) {
    const findings = eachPair(want, want.at, sent, seen, pair => atPod(want, pair, sent, seen))
    return conclude(
      findings,
      `copies of ${want.stream} at ${counted(want.at.length, 'pod')} are the bytes that were sent`,
    )
  },
}

const SHOWN = 3

function atPod(want: ContentWant, { selection, pod }: Pair, sent: Sent, seen: Seen): Finding {
  const { stream } = selection
  let copies = 0
  let wrong = 0
  let first: WireDifference[] = []
  const frames: FrameNote[] = []
  for (const i of sightingsIn(seen, selection, seen.tapIndex(pod.podTap), DIRECTION.in)) {
    copies++
    const differences = differencesOf(want, stream, seen, i)
    if (differences.length === 0) continue
    wrong++
    if (first.length === 0) first = differences
    if (frames.length < SHOWN)
      frames.push({ frame: seen.ledger.frame(i), note: differences.map(d => differenceText(readable(d))).join('; ') })
  }
  if (copies === 0) return inconclusive(`no copy of ${stream.name} came to ${pod.name}: no content to judge`)
  if (wrong === 0) {
    const doubt = unsettled(seen, sent, selection, pod)
    return doubt ? inconclusive(`content of ${stream.name} at ${pod.name}: ${doubt}`) : pass()
  }
  const differences = first.map(readable)
  const message = `expected ${stream.name} unaltered at ${pod.name}, ${wrong} of ${copies} copies differ: ${differences.map(differenceText).join('; ')}`
  const lost = controlState(seen, sent, stream, pod) === 'lost'
  const status = lost ? 'inconclusive' : 'fail'
  return { status, message: lost ? `${message}; path broken: unicast control lost too` : message, differences, frames }
}

function differencesOf(want: ContentWant, stream: SentStream, seen: Seen, sighting: number): WireDifference[] {
  const fields = fieldDifferences(seen, want, sighting)
  const difference = contentAsSent(stream, seen, sighting)
  return difference ? [...fields.filter(({ field }) => field !== difference.field), difference] : fields
}

/** How IP header and all behind it of a sighting differ from what was sent; undefined when they do not. `routed`: hops may be off the TTL. */
export function contentAsSent(
  stream: SentStream,
  { ledger, recording }: Seen,
  sighting: number,
  routed = false,
): WireDifference | undefined {
  const frame = recording.bytes(ledger.frame(sighting))
  const at = innerIpAt(frame, ledger.innerAt(sighting))
  const original = originalOf(stream, ledger.sequence(sighting), ledger.fragmentOffset(sighting))
  if (!original || at < 0) return { field: 'fragment', at: 0, expected: 'as sent', actual: 'of none that was sent' }
  const compared = routed ? unrouted(original.frame, original.at, frame, at) : frame
  return contentDifference(original.frame, original.at, compared, at)
}

/** The frame as it was before hops were taken from its TTL (RFC 1812 §5.3.1). */
function unrouted(sent: Uint8Array, sentAt: number, seen: Uint8Array, at: number): Uint8Array {
  const { ttl, checksum } = ipv4.fields
  const hops = ttl.get(sent, sentAt) - ttl.get(seen, at)
  if (hops <= 0 || !ipv4ChecksumOk(seen, at)) return seen
  const before = seen.slice()
  ttl.set(before, at, ttl.get(sent, sentAt))
  checksum.set(before, at, checksum.get(sent, sentAt))
  return before
}

/** The frame, or the fragment at this payload offset, as it was handed to the kernel. */
function originalOf(stream: SentStream, sequence: number, fragmentOffset: number) {
  for (const frame of stream.frames(sequence - (stream.spec.firstSequence ?? 0))) {
    const at = sentIpAt(stream, frame)
    if (at >= 0 && ipv4.fields.fragmentOffset.get(frame, at) * 8 === fragmentOffset) return { frame, at }
  }
  return undefined
}
