import type { Ledger } from '../../captures/ledger-types.ts'
import { DIRECTION, type Recording } from '../../captures/record.ts'
import { buildFrame } from '../../generators/frame.ts'
import type { FrameSpec } from '../../generators/frame-spec.ts'
import { hexOf } from '../../generators/hex.ts'
import { type CompiledStream, compile } from '../../generators/stream.ts'
import type { StreamSpec } from '../../generators/stream-spec.ts'
import { rebuildFrames } from '../../generators/template.ts'
import { groupMac, parseIpv4 } from '../../generators/wire/address.ts'
import { ipv4 } from '../../generators/wire/ipv4.ts'
import type { Fact, Observation, StreamRole } from '../observation.ts'
import type { PlannedCase, PlannedExpectation, PlannedStep } from '../suite/plan-types.ts'
import type { PodSite, Seen, Sent, SentStream, SiteMap } from './check.ts'

/**
 * For tests: two nodes with pods, streams, and the frames a right datapath would show at every tap, to be spoilt by the
 * test. The frames are real (stamped, encapsulated), so that the same scenario can be written as a run directory.
 */
export interface SeenFrame {
  tap: string
  direction: 'in' | 'out'
  timeNs: number
  bytes: Uint8Array
  levels: number
  innerAt: number
  /** Undefined: no stamp makes it known. */
  stream?: number
  sequence: number
  fragmentOffset: number
}

export interface StreamOptions {
  pod?: string
  count?: number
  role?: StreamRole
  of?: SentStream
  dst?: string
  fragmentBytes?: number
  firstSequence?: number
  payloadBytes?: number
  /** Hex; left out: `payloadBytes` of zeros. */
  payload?: string
}

export const GROUP = parseIpv4('233.252.0.1')
export const RUN_ID = 0x123456
export const BASE_NS = 1_790_000_000_000_000_000n
const FRAME_GAP_NS = 10_000
/** VXLAN, UDP, IPv4 and Ethernet in front of the inner frame. */
const OUTER_BYTES = 50

export function testSite(): SiteMap {
  const nodes = ['n1', 'n2'].map((name, i) => ({
    name,
    address: parseIpv4(`10.0.0.${i + 1}`),
    uplinkTap: `${name}/eth0`,
    overlayTap: `${name}/cilium_vxlan`,
  }))
  const pod = (name: string, node: string, host: number): PodSite => ({
    name,
    node,
    address: parseIpv4(`10.1.0.${host}`),
    mac: 0x0200_0000_0000 + host,
    podTap: `${name}/eth0`,
    nodeTap: `${node}/lxc_${name}`,
  })
  const pods = [pod('tx', 'n1', 1), pod('rx', 'n1', 2), pod('idle', 'n1', 3), pod('far', 'n2', 4), pod('far2', 'n2', 5)]
  return { nodes, pods, overlay: { udpPort: 8472, vni: 7 } }
}

export class Scenario {
  readonly site = testSite()
  readonly streams: SentStream[] = []
  readonly compiled = new Map<number, CompiledStream>()
  frames: SeenFrame[] = []
  readonly observations: Observation[] = []
  readonly expect: PlannedExpectation[] = []
  readonly steps: PlannedStep[] = []
  readonly dropped = new Map<string, number>()
  /** As between hosts with clocks of their own; 0: one clock. */
  clockErrorNs = 0
  readonly trouble = new Map<string, string>()
  readonly withoutTap = new Set<string>()
  /** A keys file for the run directory. */
  keys: string | undefined
  nowNs = 1_000_000

  /** Hands a stream to the kernel: the sender's own tap and the node end of its veth see every frame. */
  send(name: string, options: StreamOptions = {}): SentStream {
    const stream = this.newStream(name, options)
    this.streams.push(stream)
    const { role, number, pod, of } = stream
    this.observe({ kind: 'stream', number, name, role, pod, ...(of !== undefined && { of }) })
    const sender = this.pod(pod)
    this.eachFrame(stream, (bytes, sequence, timeNs) => {
      this.see(sender.podTap, 'out', stream, sequence, timeNs, bytes)
      this.see(sender.nodeTap, 'in', stream, sequence, timeNs + 1000, bytes)
    })
    return stream
  }

  /** What a right datapath makes of a multicast stream with these members. */
  deliver(stream: SentStream, members: readonly string[]): void {
    const sender = this.pod(stream.pod)
    const receivers = members.filter(name => name !== stream.pod).map(name => this.pod(name))
    const remote = new Set(receivers.map(pod => pod.node).filter(node => node !== sender.node))
    this.eachFrame(stream, (bytes, sequence, timeNs) => {
      for (const pod of receivers.filter(({ node }) => node === sender.node))
        this.toPod(pod, stream, sequence, timeNs + 2000, bytes)
      for (const node of remote) {
        this.overUnderlay(stream, sequence, timeNs + 3000, bytes, sender.node, node)
        for (const pod of receivers.filter(other => other.node === node))
          this.toPod(pod, stream, sequence, timeNs + 6000, bytes)
      }
    })
  }

  /** Stream, its members' copies, control, fence and echo as a run makes them. */
  sendWhole(name: string, members: readonly string[], options: StreamOptions = {}): SentStream {
    const stream = this.send(name, options)
    this.deliver(stream, members)
    for (const pod of members) this.control(stream, pod)
    this.fence(stream)
    return stream
  }

  control(stream: SentStream, pod: string): SentStream {
    const dst = this.pod(pod).address
    const control = this.send(`${stream.name}.control/${pod}`, {
      pod: stream.pod,
      role: 'control',
      of: stream,
      count: 2,
      dst: dotted(dst),
    })
    this.deliver(control, [pod])
    return control
  }

  fence(stream: SentStream): void {
    const guard = { of: stream, count: 2, dst: '239.195.255.254' }
    const fence = this.send(`${stream.name}.fence`, { pod: stream.pod, role: 'fence', ...guard })
    const others = this.site.pods.map(({ name }) => name).filter(name => name !== stream.pod)
    this.deliver(fence, others)
    const echoer = this.site.pods.find(({ node }) => node !== this.pod(stream.pod).node)?.name ?? ''
    const echo = this.send(`${stream.name}.echo`, { pod: echoer, role: 'echo', ...guard })
    this.deliver(
      echo,
      this.site.pods.map(({ name }) => name).filter(name => name !== echoer),
    )
  }

  /** A frame that no stamp makes known, such as IGMP; also how an altered frame is planted. */
  plant(tap: string, direction: 'in' | 'out', bytes: Uint8Array, timeNs = this.tick()): void {
    this.frames.push({ tap, direction, timeNs, bytes, levels: 0, innerAt: 0, sequence: 0, fragmentOffset: 0 })
  }

  /** Runs one step: its times become observations, whatever `during` does lies between. */
  step(step: PlannedStep, during: () => void = () => {}): void {
    this.steps.push(step)
    this.observe({ kind: 'step', step: step.id, action: step.action, phase: 'start', ok: true })
    during()
    this.observe({ kind: 'step', step: step.id, action: step.action, phase: 'end', ok: true })
  }

  observe(fact: Fact): void {
    this.observations.push({
      tNs: String(BASE_NS + BigInt(this.tick())),
      stage: 'test-1',
      case: 'test/case',
      attempt: 1,
      ...fact,
    })
  }

  tick(): number {
    this.nowNs += FRAME_GAP_NS
    return this.nowNs
  }

  pod(name: string): PodSite {
    const found = this.site.pods.find(pod => pod.name === name)
    if (!found) throw new RangeError(`no pod ${name}`)
    return found
  }

  /** Frames of a stream at a tap, for the test to take away, double or change. */
  at(tap: string, stream: SentStream, sequence?: number): SeenFrame[] {
    return this.frames.filter(
      f => f.tap === tap && f.stream === stream.number && (sequence === undefined || f.sequence === sequence),
    )
  }

  lose(...lost: SeenFrame[]): void {
    this.frames = this.frames.filter(frame => !lost.includes(frame))
  }

  /** Copies that come `laterNs` after the original. */
  double(frame: SeenFrame | undefined, laterNs = 500): void {
    if (!frame) throw new RangeError('no frame to double')
    this.frames.push({ ...frame, timeNs: frame.timeNs + laterNs })
  }

  private newStream(name: string, options: StreamOptions): SentStream {
    const {
      pod = 'tx',
      count = 10,
      role = 'test',
      dst = dotted(GROUP),
      firstSequence = 0,
      fragmentBytes,
      payloadBytes = 22,
      payload = hexOf(new Uint8Array(payloadBytes)),
    } = options
    const number = this.streams.length + 1
    const frame: FrameSpec = {
      ethernet: { src: this.pod(pod).mac },
      ipv4: { src: this.pod(pod).address, dst: parseIpv4(dst), ttl: 4 },
      udp: { srcPort: 40000, dstPort: 5001 },
      payload,
    }
    const spec: StreamSpec = {
      number,
      name,
      frame,
      stamped: true,
      count,
      rate: 'max',
      firstSequence,
      ...(fragmentBytes !== undefined && { fragmentBytes }),
    }
    const compiled = compile(spec, {
      runId: RUN_ID,
      runStartNs: BASE_NS,
      about: { role, pod, ...(options.of && { of: options.of.number }) },
    })
    this.compiled.set(number, compiled)
    const startNs = this.tick()
    this.nowNs += count * FRAME_GAP_NS
    const timeNs = (k: number) => startNs + k * FRAME_GAP_NS
    return {
      number,
      name,
      role,
      pod,
      spec,
      count,
      ...(options.of && { of: options.of.number }),
      timeNs,
      clockErrorNs: this.clockErrorNs,
      frames: k =>
        rebuildFrames(
          compiled.variants[compiled.variantOf(k)] ?? [],
          compiled.slots,
          firstSequence + k,
          Math.floor(timeNs(k) / 1000),
        ),
    }
  }

  private eachFrame(stream: SentStream, visit: (bytes: Uint8Array, sequence: number, timeNs: number) => void): void {
    const first = stream.spec.firstSequence ?? 0
    for (let k = 0; k < stream.count; k++) {
      for (const [i, bytes] of stream.frames(k).entries()) visit(bytes, first + k, stream.timeNs(k) + i * 10)
    }
  }

  private toPod(pod: PodSite, stream: SentStream, sequence: number, timeNs: number, bytes: Uint8Array): void {
    this.see(pod.nodeTap, 'out', stream, sequence, timeNs, bytes)
    this.see(pod.podTap, 'in', stream, sequence, timeNs + 100, bytes)
  }

  private overUnderlay(
    stream: SentStream,
    sequence: number,
    timeNs: number,
    bytes: Uint8Array,
    from: string,
    to: string,
  ): void {
    const outer = this.encapsulate(bytes, from, to)
    this.see(`${from}/cilium_vxlan`, 'out', stream, sequence, timeNs, bytes)
    this.see(`${from}/eth0`, 'out', stream, sequence, timeNs + 100, outer, 1)
    this.see(`${to}/eth0`, 'in', stream, sequence, timeNs + 200, outer, 1)
    this.see(`${to}/cilium_vxlan`, 'in', stream, sequence, timeNs + 300, bytes)
  }

  /** The outer frame of RFC 7348 §5 around `bytes`, as the site's nodes address each other. */
  encapsulate(bytes: Uint8Array, from: string, to: string, change: FrameSpec = {}): Uint8Array {
    const address = (name: string) => this.site.nodes.find(node => node.name === name)?.address ?? 0
    return buildFrame({
      ethernet: { src: 0x0a00_0000_0001, dst: 0x0a00_0000_0002 },
      ipv4: { src: address(from), dst: address(to), ...change.ipv4 },
      udp: { srcPort: 50000, dstPort: 8472, checksum: 0, ...change.udp },
      vxlan: { vni: 7, ...change.vxlan },
      payload: hexOf(bytes),
    })
  }

  private see(
    tap: string,
    direction: 'in' | 'out',
    stream: SentStream,
    sequence: number,
    timeNs: number,
    bytes: Uint8Array,
    levels = 0,
  ): void {
    const innerAt = levels * OUTER_BYTES
    const fragmentOffset = ipv4.fields.fragmentOffset.get(bytes, innerAt + 14) * 8
    this.frames.push({
      tap,
      direction,
      timeNs,
      bytes,
      levels,
      innerAt,
      stream: stream.number,
      sequence,
      fragmentOffset,
    })
  }

  taps(): string[] {
    const { nodes, pods } = this.site
    const all = [
      ...nodes.flatMap(n => [n.uplinkTap ?? '', n.overlayTap ?? '']),
      ...pods.flatMap(p => [p.podTap, p.nodeTap]),
    ]
    return all.filter(tap => !this.withoutTap.has(tap))
  }

  plan(): PlannedCase {
    return {
      id: 'test/case',
      file: 'suites/test/case.yaml',
      line: 1,
      title: 'a case of the tests',
      covers: [{ id: 'D01', rfc: 'RFC 4541 §2.1.2(1)', level: 'MUST', text: 'members only' }],
      level: 'basic',
      needs: [],
      params: {},
      exclusive: false,
      endpoints: {},
      groups: [],
      port: 5001,
      steps: this.steps,
      expect: this.expect,
    }
  }

  get sent(): Sent {
    const { streams } = this
    return {
      streams,
      of: step => streams.filter(s => s.role === 'test' && (s.name === step || s.name.startsWith(`${step}/`))),
      serving: (number, role) => streams.filter(s => s.of === number && s.role === role),
    }
  }

  /** Recording and ledger held in memory, as the files would give them. */
  get seen(): Seen {
    const taps = this.taps()
    const frames = this.frames
      .filter(f => taps.includes(f.tap))
      .sort((a, b) => taps.indexOf(a.tap) - taps.indexOf(b.tap) || a.timeNs - b.timeNs)
    const stepTime = (step: string, phase: 'start' | 'end') => {
      const found = this.observations.find(o => o.kind === 'step' && o.step === step && o.phase === phase)
      return found && Number(BigInt(found.tNs) - BASE_NS)
    }
    return {
      recording: recordingOf(taps, frames),
      ledger: ledgerOf(taps, frames),
      site: this.site,
      observations: this.observations,
      plan: this.plan(),
      tapIndex: name => taps.indexOf(name),
      stepTimeNs: stepTime,
      clockErrorNs: () => this.clockErrorNs,
      tapDropped: name => this.dropped.get(name) ?? 0,
      tapTrouble: name => this.trouble.get(name),
    }
  }
}

function recordingOf(taps: string[], frames: readonly SeenFrame[]): Recording {
  const frame = (i: number) => frames[i] as SeenFrame
  return {
    count: frames.length,
    taps: taps.map((name, interfaceId) => ({ name, file: 'taps/test.pcapng', interfaceId })),
    baseNs: BASE_NS,
    tap: i => taps.indexOf(frame(i).tap),
    timeNs: i => frame(i).timeNs,
    direction: i => DIRECTION[frame(i).direction],
    frameNumber: i => i + 1,
    originalLength: i => frame(i).bytes.length,
    checksumNotReady: () => false,
    bytes: i => frame(i).bytes,
    dropped: () => 0,
    problems: [],
    close: () => {},
  }
}

function ledgerOf(taps: string[], frames: readonly SeenFrame[]): Ledger {
  const order = frames
    .flatMap((f, i) => (f.stream === undefined ? [] : [i]))
    .sort((a, b) => frames[a]!.timeNs - frames[b]!.timeNs)
  const at = (i: number) => frames[order[i] as number] as SeenFrame
  const sightings = (tap: number, stream: number, direction: number): Int32Array => {
    const found = order.flatMap((_, i) => {
      const f = at(i)
      return f.tap === taps[tap] && f.stream === stream && DIRECTION[f.direction] === direction ? [i] : []
    })
    return Int32Array.from(found)
  }
  return {
    count: order.length,
    frame: i => order[i] as number,
    tap: i => taps.indexOf(at(i).tap),
    stream: i => at(i).stream as number,
    sequence: i => at(i).sequence,
    timeNs: i => at(i).timeNs,
    direction: i => DIRECTION[at(i).direction],
    levels: i => at(i).levels,
    innerAt: i => at(i).innerAt,
    fragmentOffset: i => at(i).fragmentOffset,
    sightings,
    copies: (tap, stream, direction, sequences) => {
      const copies = new Uint16Array(sequences)
      for (const i of sightings(tap, stream, direction)) if (at(i).fragmentOffset === 0) copies[at(i).sequence]!++
      return copies
    },
    background: {},
  }
}

function dotted(address: number): string {
  return [24, 16, 8, 0].map(shift => (address >>> shift) & 255).join('.')
}

export const GROUP_MAC = groupMac(GROUP)
