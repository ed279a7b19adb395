import type { Recording } from '../../captures/record.ts'
import { IP_PROTOCOL, ipv4, ipv4HeaderLength } from '../../generators/wire/ipv4.ts'
import { udp } from '../../generators/wire/udp.ts'
import { innerIpAt } from './inner.ts'

/** A UDP datagram at a tap; of a fragmented one, its first fragment. */
export interface WireDatagram {
  frame: number
  direction: number
  timeNs: number
  src: number
  dst: number
  dstPort: number
  /** Of UDP payload, of the whole datagram. */
  bytes: number
}

const indices = new WeakMap<Recording, Map<number, WireDatagram[]>>()

/** Datagrams at a tap in the order of time; one pass over the bytes for a stage. */
export function datagramsAt(recording: Recording, tap: number): readonly WireDatagram[] {
  const known = indices.get(recording) ?? index(recording)
  indices.set(recording, known)
  return known.get(tap) ?? []
}

function index(recording: Recording): Map<number, WireDatagram[]> {
  const byTap = new Map<number, WireDatagram[]>()
  for (let i = 0; i < recording.count; i++) {
    const datagram = datagramOf(recording, i)
    if (!datagram) continue
    const datagrams = byTap.get(recording.tap(i))
    if (datagrams) datagrams.push(datagram)
    else byTap.set(recording.tap(i), [datagram])
  }
  for (const datagrams of byTap.values()) datagrams.sort((a, b) => a.timeNs - b.timeNs)
  return byTap
}

function datagramOf(recording: Recording, frame: number): WireDatagram | undefined {
  const bytes = recording.bytes(frame)
  const ipAt = innerIpAt(bytes, 0)
  const { fields } = ipv4
  if (ipAt < 0 || fields.protocol.get(bytes, ipAt) !== IP_PROTOCOL.UDP) return undefined
  const at = ipAt + ipv4HeaderLength(bytes, ipAt)
  if (fields.fragmentOffset.get(bytes, ipAt) > 0 || at + udp.length > bytes.length) return undefined
  return {
    frame,
    direction: recording.direction(frame),
    timeNs: recording.timeNs(frame),
    src: fields.src.get(bytes, ipAt),
    dst: fields.dst.get(bytes, ipAt),
    dstPort: udp.fields.dstPort.get(bytes, at),
    bytes: udp.fields.length.get(bytes, at) - udp.length,
  }
}

/** How many runs of two or more there are whose datagrams come less than `gapNs` after one another. */
export function burstsOf(datagrams: readonly WireDatagram[], gapNs: number): number {
  let bursts = 0
  let inBurst = false
  for (const [i, { timeNs }] of datagrams.entries()) {
    const close = i > 0 && timeNs - datagrams[i - 1]!.timeNs < gapNs
    if (close && !inBurst) bursts++
    inBurst = close
  }
  return bursts
}
