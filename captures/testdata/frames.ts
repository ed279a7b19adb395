import { ethernet } from '../../generators/wire/ethernet.ts'
import { writeFields } from '../../generators/wire/field.ts'
import { fillIpv4Checksum, ipv4 } from '../../generators/wire/ipv4.ts'
import { writeStamp } from '../../generators/wire/stamp.ts'
import { fillUdpChecksum, udp } from '../../generators/wire/udp.ts'
import { vxlan } from '../../generators/wire/vxlan.ts'

export const RUN = 0x0abcde

/** What a hand-made frame of the tests may differ in. */
export interface StampedOptions {
  run?: number
  group?: number
  src?: number
  id?: number
  dstPort?: number
  timeUs?: number
  /** UDP payload, at least 18. */
  payloadBytes?: number
}

/** Ethernet, IPv4, UDP, stamp, written without the frame builder so that the two can be compared. */
export function stampedFrame(stream: number, sequence: number, options: StampedOptions = {}): Uint8Array {
  const payloadBytes = options.payloadBytes ?? 18
  const frame = new Uint8Array(Math.max(60, 42 + payloadBytes))
  const group = options.group ?? 0xe9fc0001
  writeFields(ethernet, frame, 0, { dst: 0x01005e000000 + (group & 0x7fffff), src: 0x020000000001, etherType: 0x0800 })
  const src = options.src ?? 0x0a000001
  const totalLength = 28 + payloadBytes
  writeFields(ipv4, frame, 14, { version: 4, ihl: 5, totalLength, id: options.id ?? sequence & 0xffff, ttl: 8, protocol: 17, src, dst: group })
  fillIpv4Checksum(frame, 14, 20)
  writeFields(udp, frame, 34, { srcPort: 4000, dstPort: options.dstPort ?? 5001, length: 8 + payloadBytes })
  writeStamp(frame, 42, { run: options.run ?? RUN, stream, sequence, timeUs: options.timeUs ?? sequence })
  fillUdpChecksum(frame, 14, 34, 42 + payloadBytes)
  return frame
}

/** The frame inside Ethernet, IPv4, UDP (checksum 0) and VXLAN. */
export function inVxlan(inner: Uint8Array, vni = 1, dstPort = 8472): Uint8Array {
  const frame = new Uint8Array(50 + inner.length)
  writeFields(ethernet, frame, 0, { dst: 0x020000000102, src: 0x020000000101, etherType: 0x0800 })
  writeFields(ipv4, frame, 14, { version: 4, ihl: 5, totalLength: 36 + inner.length, ttl: 64, protocol: 17, src: 0xac100001, dst: 0xac100002 })
  fillIpv4Checksum(frame, 14, 20)
  writeFields(udp, frame, 34, { srcPort: 40000, dstPort, length: 16 + inner.length })
  writeFields(vxlan, frame, 42, { flags: 8, vni })
  frame.set(inner, 50)
  return frame
}

/** The frame as IP fragments whose payload is at most `bytes` (a multiple of 8) long. */
export function fragmentsOf(frame: Uint8Array, bytes: number): Uint8Array[] {
  const payload = frame.subarray(34, 14 + ipv4.fields.totalLength.get(frame, 14))
  const fragments: Uint8Array[] = []
  for (let at = 0; at < payload.length; at += bytes) {
    const part = payload.subarray(at, at + bytes)
    const fragment = new Uint8Array(Math.max(60, 34 + part.length))
    fragment.set(frame.subarray(0, 34))
    fragment.set(part, 34)
    const flags = at + bytes < payload.length ? 1 : 0
    writeFields(ipv4, fragment, 14, { totalLength: 20 + part.length, flags, fragmentOffset: at / 8 })
    fillIpv4Checksum(fragment, 14, 20)
    fragments.push(fragment)
  }
  return fragments
}

/** An 802.1Q tag behind the addresses. */
export function tagged(frame: Uint8Array, vid: number): Uint8Array {
  const result = new Uint8Array(frame.length + 4)
  result.set(frame.subarray(0, 12))
  result.set([0x81, 0x00, vid >> 8, vid & 255], 12)
  result.set(frame.subarray(12), 16)
  return result
}
