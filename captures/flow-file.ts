import { ethernet } from '../generators/wire/ethernet.ts'
import { readU8 } from '../generators/wire/field.ts'
import { readUnsigned } from '../generators/wire/flow-value.ts'
import { IP_PROTOCOL, IPV4_FLAG, ipv4 } from '../generators/wire/ipv4.ts'
import { udp } from '../generators/wire/udp.ts'
import { type CaptureFile, openCapture } from './capture-file.ts'
import { Dissection, dissect, PROTOCOL } from './dissect.ts'
import type { FlowDecoder } from './flow-decoder.ts'
import type { FlowOrigin } from './flow-message.ts'
import type { CapturedFrame, Problem } from './pcapng.ts'
import { Reassembler } from './reassemble.ts'

/** Where exporters send to unless told otherwise, as tshark looks for them. */
export const FLOW_PORTS: readonly number[] = [2055, 4739, 9995, 9996]

export interface FlowFileSummary {
  frames: number
  /** UDP datagrams to one of the ports, whatever they hold. */
  datagrams: number
  /** Of those, cut short by the capture. */
  cut: number
  problem: Problem | undefined
}

/** Hands every UDP datagram to one of the ports to the decoder, fragments joined; then tells it that there are no more. */
export function readFlowFile(path: string, decoder: FlowDecoder, ports = FLOW_PORTS): FlowFileSummary {
  const read: OnDatagram = (bytes, at, end, origin) => decoder.message(bytes, at, end, origin)
  const summary = eachFlowDatagram(path, read, ports)
  decoder.finish()
  return summary
}

/** A UDP payload, `bytes[at] … bytes[end - 1]`, valid until it returns. */
export type OnDatagram = (bytes: Uint8Array, at: number, end: number, origin: FlowOrigin) => void

export function eachFlowDatagram(path: string, visit: OnDatagram, ports = FLOW_PORTS): FlowFileSummary {
  const capture = openCapture(path)
  try {
    return new FlowFile(capture, visit, new Set(ports)).read()
  } finally {
    capture.close()
  }
}

const IPV6 = { length: 40, nextHeader: 6, source: 8 } as const

class FlowFile {
  readonly #capture: CaptureFile
  readonly #visit: OnDatagram
  readonly #ports: ReadonlySet<number>
  readonly #layers = new Dissection()
  readonly #fragments = new Reassembler<undefined>()
  readonly #summary: FlowFileSummary = { frames: 0, datagrams: 0, cut: 0, problem: undefined }

  constructor(capture: CaptureFile, visit: OnDatagram, ports: ReadonlySet<number>) {
    this.#capture = capture
    this.#visit = visit
    this.#ports = ports
  }

  read(): FlowFileSummary {
    this.#capture.read(frame => this.#frame(frame))
    return { ...this.#summary, problem: this.#capture.problem }
  }

  #frame(frame: CapturedFrame): void {
    this.#summary.frames++
    const { bytes, at, length, originalLength } = frame
    const layers = dissect(bytes, at, at + length, this.#layers, originalLength)
    const [ip, datagram, ip6] = [PROTOCOL.ipv4, PROTOCOL.udp, PROTOCOL.ipv6].map(protocol => layers.find(protocol))
    if (ip6 !== undefined && ip6 >= 0) this.#ipv6(frame, layers.at(ip6))
    else if (ip === undefined || ip < 0) return
    else if (isFragment(bytes, layers.at(ip))) this.#fragment(frame, layers.at(ip), layers.end(ip))
    else if (datagram !== undefined && datagram >= 0)
      this.#datagram(frame, bytes, layers.at(datagram), layers.end(datagram), ipv4.fields.src.get(bytes, layers.at(ip)))
  }

  #ipv6(frame: CapturedFrame, at: number): void {
    const { bytes } = frame
    const end = frame.at + frame.length
    const udpAt = at + IPV6.length
    if (readU8(bytes, at + IPV6.nextHeader) !== IP_PROTOCOL.UDP || udpAt + udp.length > end) return
    const stop = Math.min(end, udpAt + udp.fields.length.get(bytes, udpAt))
    this.#datagram(frame, bytes, udpAt, stop, readUnsigned(bytes, at + IPV6.source, 16))
  }

  #fragment(frame: CapturedFrame, at: number, end: number): void {
    const whole = this.#fragments.add('', frame.bytes, at, end, undefined)
    this.#fragments.takeGone()
    if (!whole) return
    const packet = new Uint8Array(ethernet.length + whole.packet.length)
    packet.set(frame.bytes.subarray(frame.at, frame.at + ethernet.length))
    packet.set(whole.packet, ethernet.length)
    ethernet.fields.etherType.set(packet, 0, 0x0800)
    const layers = dissect(packet, 0, packet.length, new Dissection())
    const i = layers.find(PROTOCOL.udp)
    const src = ipv4.fields.src.get(packet, ethernet.length)
    if (i >= 0) this.#datagram({ ...frame, originalLength: frame.length }, packet, layers.at(i), layers.end(i), src)
  }

  #datagram(frame: CapturedFrame, bytes: Uint8Array, at: number, end: number, exporter: number | bigint): void {
    if (!this.#ports.has(udp.fields.dstPort.get(bytes, at))) return
    this.#summary.datagrams++
    if (frame.originalLength > frame.length) this.#summary.cut++
    const origin: FlowOrigin = {
      exporter,
      srcPort: udp.fields.srcPort.get(bytes, at),
      receivedNs: BigInt(frame.seconds) * 1_000_000_000n + BigInt(frame.nanoseconds),
      frameNumber: this.#summary.frames,
    }
    this.#visit(bytes, at + udp.length, end, origin)
  }
}

function isFragment(bytes: Uint8Array, at: number): boolean {
  const { fragmentOffset, flags } = ipv4.fields
  return fragmentOffset.get(bytes, at) > 0 || (flags.get(bytes, at) & IPV4_FLAG.MF) !== 0
}
