import { fragment } from './fragment.ts'
import { buildFrame } from './frame.ts'
import { hasUdp, innermost, layoutFrame, mergeSpecs } from './frame-layout.ts'
import type { FrameSpec } from './frame-spec.ts'
import { hexOf } from './hex.ts'
import type { FrameLengths, StreamSpec } from './stream-spec.ts'
import type { StreamSlots, TemplateFrame, Variant } from './template.ts'
import { MIN_FRAME_BYTES } from './wire/ethernet.ts'
import { ipv4 } from './wire/ipv4.ts'
import { stamp, stampBase, writeStamp } from './wire/stamp.ts'

/** Who sends the stream and why; goes into the sent log as it is. */
export interface StreamAbout {
  /** `test`, `prime`, `probe`, `fence`, `echo`, `control`. */
  role: string
  /** The test stream it serves. */
  of?: number
  pod: string
}

export interface CompileContext {
  /** u24, in every stamp of the run. */
  runId: number
  /** CLOCK_REALTIME; stamps count microseconds from here. */
  runStartNs: bigint
  /** The sender's own addresses, under the stream's frame. */
  defaults?: FrameSpec
  about?: StreamAbout
}

/** A stream ready to leave: final bytes, no text to parse, nothing to compute but the slots. */
export interface CompiledStream {
  readonly spec: StreamSpec
  readonly about: StreamAbout
  readonly runId: number
  readonly runStartNs: bigint
  readonly slots: StreamSlots
  readonly variants: readonly Variant[]
  /** Variant of the k-th sequence: destinations change fastest, then lengths. */
  variantOf(k: number): number
  readonly firstSequence: number
  /** Sequences to send; Infinity when only the duration ends it. */
  readonly count: number
  readonly durationNs: number
}

/** Checks the stream and builds its frames; RangeError names the stream and what cannot be. */
export function compile(spec: StreamSpec, context: CompileContext): CompiledStream {
  try {
    return compiled(spec, context)
  } catch (error) {
    if (error instanceof RangeError) throw new RangeError(`stream ${spec.name}: ${error.message}`, { cause: error })
    throw error
  }
}

function compiled(spec: StreamSpec, context: CompileContext): CompiledStream {
  refuseBadNumbers(spec, context)
  const frame = mergeSpecs(context.defaults ?? {}, spec.frame)
  const destinations = spec.destinations ?? [undefined]
  const { lengths, order } = lengthSchedule(spec.lengths)
  const variants = destinations.flatMap(destination =>
    lengths.map(bytes => buildVariant(spec, context.runId, withDestination(frame, destination), bytes)),
  )
  return {
    spec,
    about: context.about ?? { role: 'test', pod: '' },
    runId: context.runId,
    runStartNs: context.runStartNs,
    slots: { stampBase: stampBase(context.runId, spec.number), idBase: (spec.number * 0x9e37) & 0xffff },
    variants,
    variantOf: variantSchedule(destinations.length, lengths.length, order),
    firstSequence: spec.firstSequence ?? 0,
    count: spec.count ?? Number.POSITIVE_INFINITY,
    durationNs: spec.durationMs === undefined ? Number.POSITIVE_INFINITY : spec.durationMs * 1e6,
  }
}

function refuseBadNumbers(spec: StreamSpec, { runId }: CompileContext): void {
  const positive = (value: number | undefined, what: string): void => {
    if (value !== undefined && !(value > 0)) throw new RangeError(`${what}: ${value} is not above 0`)
  }
  if (spec.count === undefined && spec.durationMs === undefined) throw new RangeError('needs count or durationMs')
  if (spec.count !== undefined && !(Number.isInteger(spec.count) && spec.count >= 0)) {
    throw new RangeError(`count: ${spec.count} is not a whole number from 0`)
  }
  positive(spec.durationMs, 'durationMs')
  if (spec.rate !== 'max') positive('pps' in spec.rate ? spec.rate.pps : spec.rate.bitsPerSecond, 'rate')
  positive(spec.burst?.frames, 'burst.frames')
  if (spec.destinations?.length === 0) throw new RangeError('destinations: the list is empty')
  for (const id of [runId, spec.number]) {
    if (!(id >= 0 && id <= 0xff_ffff)) throw new RangeError(`${id} does not fit the 24 bits of a stamp`)
  }
}

function withDestination(frame: FrameSpec, destination: { group: number; port: number } | undefined): FrameSpec {
  if (!destination) return frame
  return {
    ...frame,
    ipv4: { ...frame.ipv4, dst: destination.group },
    udp: { ...frame.udp, dstPort: destination.port },
  }
}

/** Distinct frame lengths and the order they come in: a sweep as written, a mix spread evenly by weight. */
function lengthSchedule(lengths: FrameLengths | undefined): { lengths: (number | undefined)[]; order: number[] } {
  if (lengths === undefined) return { lengths: [undefined], order: [0] }
  if ('bytes' in lengths) return { lengths: [lengths.bytes], order: [0] }
  if ('sweepBytes' in lengths) {
    if (lengths.sweepBytes.length === 0) throw new RangeError('lengths.sweepBytes: the list is empty')
    return { lengths: lengths.sweepBytes, order: lengths.sweepBytes.map((_, i) => i) }
  }
  return { lengths: lengths.mix.map(({ bytes }) => bytes), order: spreadByWeight(lengths.mix.map(w => w.weight)) }
}

/** IMIX 7:4:1 becomes twelve turns in which no length comes in one lump (smooth weighted round robin). */
function spreadByWeight(weights: number[]): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const usable = weights.every(weight => Number.isInteger(weight) && weight > 0) && total > 0 && total <= 10_000
  if (!usable) throw new RangeError('lengths.mix: weights are whole numbers above 0, at most 10000 together')
  const credit = weights.map(() => 0)
  return Array.from({ length: total }, () => {
    for (const [i, weight] of weights.entries()) credit[i] = (credit[i] ?? 0) + weight
    const turn = credit.indexOf(Math.max(...credit))
    credit[turn] = (credit[turn] ?? 0) - total
    return turn
  })
}

function variantSchedule(destinations: number, lengths: number, order: number[]): (k: number) => number {
  if (destinations === 1 && lengths === 1) return () => 0
  const turns = Uint16Array.from(order)
  return k => (k % destinations) * lengths + (turns[Math.floor(k / destinations) % turns.length] ?? 0)
}

function buildVariant(spec: StreamSpec, run: number, frame: FrameSpec, bytes: number | undefined): Variant {
  const filled = extended(withStamp(spec, run, frame), bytes)
  const built = buildFrame(filled, {}, bytes ?? MIN_FRAME_BYTES)
  if (bytes !== undefined && built.length > bytes) {
    throw new RangeError(
      `lengths: ${bytes} bytes are too few, the headers${spec.stamped ? ' and the stamp' : ''} take ${built.length}`,
    )
  }
  const stampAt = spec.stamped ? innermostPayloadAt(frame) : -1
  if (spec.fragmentBytes === undefined) return [{ bytes: built, stampAt, idAt: -1 }]
  return fragmentVariant(frame, spec, built, stampAt)
}

function withStamp(spec: StreamSpec, run: number, frame: FrameSpec): FrameSpec {
  if (!spec.stamped) return frame
  const bytes = new Uint8Array(stamp.length)
  writeStamp(bytes, 0, { run, stream: spec.number, sequence: 0, timeUs: 0 })
  return mapInnermost(frame, inner => {
    if (!hasUdp(inner)) throw new RangeError('only frames with udp can be stamped')
    return { ...inner, payload: hexOf(bytes) + (inner.payload ?? '') }
  })
}

function innermostPayloadAt(frame: FrameSpec): number {
  const unfilled = mapInnermost(frame, inner => ({ ...inner, payload: '' }))
  return innermost(layoutFrame(unfilled)).payloadAt
}

/** Datagrams grow by a counting pattern in their payload; other frames are padded behind the packet. */
function extended(frame: FrameSpec, bytes: number | undefined): FrameSpec {
  const missing = (bytes ?? 0) - layoutFrame(frame).end
  return mapInnermost(frame, inner => {
    if (missing <= 0 || !hasUdp(inner)) return inner
    const pattern = Uint8Array.from({ length: missing }, (_, i) => i)
    return { ...inner, payload: (inner.payload ?? '') + hexOf(pattern) }
  })
}

function mapInnermost(frame: FrameSpec, change: (inner: FrameSpec) => FrameSpec): FrameSpec {
  return frame.inner ? { ...frame, inner: mapInnermost(frame.inner, change) } : change(frame)
}

function fragmentVariant(frame: FrameSpec, spec: StreamSpec, datagram: Uint8Array, stampAt: number): Variant {
  const { ipv4At } = layoutFrame(frame)
  const idAt = frame.ipv4?.id === undefined ? ipv4At : -1
  const fragments = fragment(datagram, spec.fragmentBytes ?? 0)
  const firstEnd = ipv4At + ipv4.fields.totalLength.get(fragments[0] ?? datagram, ipv4At)
  if (spec.stamped && stampAt + stamp.length > firstEnd) {
    throw new RangeError(`fragmentBytes: ${spec.fragmentBytes} cuts the stamp, which must fit the first fragment`)
  }
  const frames = fragments.map((bytes, i): TemplateFrame => ({ bytes, stampAt: i === 0 ? stampAt : -1, idAt }))
  return spec.fragmentOrder === 'reverse' ? frames.reverse() : frames
}
