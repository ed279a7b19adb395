import { Dissection, dissect, PROTOCOL, portTable, VXLAN_PORTS } from './dissect.ts'
import type { Recording } from './record.ts'

/** Whether the Ethernet frame in `bytes[at] … bytes[end - 1]` is the one looked for. */
export type FrameMatcher = (bytes: Uint8Array, at: number, end: number) => boolean

/** What is left out is not looked at. */
export interface FrameQuery {
  tap?: number
  direction?: number
  /** Nanoseconds since the recording's base: from `afterNs` on, and before `beforeNs`. */
  afterNs?: number
  beforeNs?: number
  /** At this VXLAN depth only: 0 is the frame as it was captured. Left out: the outermost that matches. */
  level?: number
  vxlanPorts?: readonly number[]
  matches: FrameMatcher
}

/** A frame that matched, and where: offset and VXLAN depth of the Ethernet header that did. */
export interface FoundFrame {
  frame: number
  at: number
  level: number
}

/** Frames of declared identity, in order of time. */
export function findFrames(recording: Recording, query: FrameQuery): FoundFrame[] {
  const ports = portTable(query.vxlanPorts ?? VXLAN_PORTS)
  const layers = new Dissection()
  const found: FoundFrame[] = []
  for (let i = 0; i < recording.count; i++) {
    if (!isIn(recording, i, query)) continue
    const bytes = recording.bytes(i)
    dissect(bytes, 0, bytes.length, layers, recording.originalLength(i), ports)
    const match = matchLevels(bytes, layers, query)
    if (match) found.push({ frame: i, ...match })
  }
  return found.sort((a, b) => recording.timeNs(a.frame) - recording.timeNs(b.frame) || a.frame - b.frame)
}

function isIn(recording: Recording, i: number, query: FrameQuery): boolean {
  if (query.tap !== undefined && recording.tap(i) !== query.tap) return false
  if (query.direction !== undefined && recording.direction(i) !== query.direction) return false
  const timeNs = recording.timeNs(i)
  return timeNs >= (query.afterNs ?? -Infinity) && timeNs < (query.beforeNs ?? Infinity)
}

function matchLevels(
  bytes: Uint8Array,
  layers: Dissection,
  query: FrameQuery,
): { at: number; level: number } | undefined {
  let level = 0
  for (let i = 0; i < layers.count; i++) {
    if (layers.protocol(i) !== PROTOCOL.ethernet) continue
    const asked = query.level === undefined || query.level === level
    if (asked && query.matches(bytes, layers.at(i), layers.end(i))) return { at: layers.at(i), level }
    level++
  }
  return undefined
}
