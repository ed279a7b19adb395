import { DIRECTION } from '../captures/record.ts'
import type { StreamSpec } from '../generators/stream-spec.ts'
import type { StreamRole } from './observation.ts'
import type { Patience } from './patience.ts'
import type { Recorder, Subject } from './recorder.ts'
import type { StageSite } from './stage-site.ts'

/**
 * The top of the lease range, joined by every pod of a stage: what the same sender sends here after its test frames
 * takes the same queues, so its arrival proves that nothing of the stream is still on the way (ARCHITECTURE section 3).
 */
export const GUARD_GROUP = 0xefc3fffe
export const GUARD_PORT = 5999
const GUARD_FRAMES = 2
const CONTROL_FRAMES = 2
const RAISE_TRIES = 3
/** A router may lose the first datagrams of a source that it has not seen yet; any guard after the stream will do. */
const GUARD_TRIES = 3
const RAISE_LIMIT_MS = 200
/** Elsewhere it takes a watch of a busy API server until nodes know of each other's members. */
const RAISE_ELSEWHERE = 5

/** Sends the streams that make a test stream judgeable: control, fence, echo. What did not arrive the judge will see. */
export class Fences {
  private readonly site: StageSite
  private readonly recorder: Recorder
  private readonly arrivalMs: number
  private readonly raiseMs: number
  private unguarded: ReadonlySet<string> = new Set()

  constructor(site: StageSite, recorder: Recorder, patience: Patience) {
    this.site = site
    this.recorder = recorder
    this.arrivalMs = patience.arrivalMs
    const slowness = site.site.stretch === undefined ? patience.slowness : RAISE_ELSEWHERE * patience.slowness
    this.raiseMs = RAISE_LIMIT_MS * slowness
  }

  /**
   * Every pod joins the guard group; gives back the pods that no guard datagram got to. A SUT with fewer places than there are pods
   * never gets there: pods that none of several guards reached are not waited for again, and nothing is proved at them.
   */
  async raise(stop: AbortSignal): Promise<readonly string[]> {
    await this.site.joinAll(GUARD_GROUP)
    this.unguarded = new Set()
    const [first, ...others] = this.site.reachable()
    if (first === undefined) return []
    const guarded = new Set<string>()
    for (let idle = 0; idle < RAISE_TRIES; idle++) {
      const before = guarded.size
      const spec = this.guardSpec('fence', first, undefined)
      await this.site.send(first, [spec], 'fence', undefined, {}, stop)
      if (await this.arrived(spec.number, others, this.raiseMs, stop)) return []
      for (const pod of others) if (this.count(spec.number, pod) > 0) guarded.add(pod)
      if (guarded.size > before) idle = 0
    }
    this.unguarded = new Set(others.filter(pod => !guarded.has(pod)))
    return [...this.unguarded]
  }

  /** After the last frame of `stream` by `sender`: unicast controls to the receivers, the fence, its echo. */
  async close(stream: StreamSpec, sender: string, receivers: readonly string[], subject: Subject, stop: AbortSignal) {
    if (this.site.isStranger(sender)) return this.strangersGuard(stream, sender, subject, stop)
    if (!this.site.reachable().includes(sender)) return
    await this.control(stream, sender, receivers, subject, stop)
    await this.guard('fence', sender, stream, subject, stop, this.arrivalMs)
    const echoer = this.site.echoer(sender)
    if (echoer !== undefined) await this.guard('echo', echoer, stream, subject, stop, this.arrivalMs, [sender])
  }

  private async guard(
    role: StreamRole,
    sender: string,
    of: StreamSpec | undefined,
    subject: Subject,
    stop: AbortSignal,
    limitMs: number,
    receivers = this.site.reachable().filter(pod => pod !== sender),
  ): Promise<boolean> {
    const awaited = receivers.filter(pod => !this.unguarded.has(pod))
    for (let tries = 1; ; tries++) {
      const spec = this.guardSpec(role, sender, of)
      await this.site.send(sender, [spec], role, of?.number, subject, stop)
      const arrived = await this.arrived(spec.number, awaited, limitMs / GUARD_TRIES, stop)
      if (arrived || tries === GUARD_TRIES) return arrived
    }
  }

  private guardSpec(role: StreamRole, sender: string, of: StreamSpec | undefined): StreamSpec {
    const srcPort = of?.frame.udp?.srcPort
    return this.site.datagram(sender, {
      number: this.recorder.nextStreamNumber(),
      name: of ? `${of.name}.${role}` : role,
      group: GUARD_GROUP,
      port: GUARD_PORT,
      count: GUARD_FRAMES,
      ...(srcPort === undefined ? {} : { srcPort }),
    })
  }

  /** A stranger's packets and its guard come into one node by the same door: what got stuck behind it got stuck there. */
  private async strangersGuard(of: StreamSpec, sender: string, subject: Subject, stop: AbortSignal): Promise<void> {
    const spec = this.site.tunnelled(of, this.guardSpec('fence', sender, of))
    await this.site.send(sender, [spec], 'fence', of.number, subject, stop)
    const near = this.site.podsOfNodeAt(of.frame.ipv4?.dst ?? 0)
    await this.arrived(spec.number, near, this.arrivalMs, stop)
    if (near[0] !== undefined) await this.guard('echo', near[0], of, subject, stop, this.arrivalMs)
  }

  private async control(
    stream: StreamSpec,
    sender: string,
    receivers: readonly string[],
    subject: Subject,
    stop: AbortSignal,
  ): Promise<void> {
    const others = receivers.filter(pod => pod !== sender && this.site.reachable().includes(pod))
    if (others.length === 0) return
    const specs = others.map(pod => ({ pod, spec: this.unicast(stream, sender, pod) }))
    await this.site.send(
      sender,
      specs.map(item => item.spec),
      'control',
      stream.number,
      subject,
      stop,
    )
    const arrived = () => specs.every(({ pod, spec }) => this.count(spec.number, pod) > 0)
    await this.recorder.until(arrived, this.arrivalMs, stop)
  }

  private unicast(stream: StreamSpec, sender: string, receiver: string): StreamSpec {
    return this.site.datagram(sender, {
      number: this.recorder.nextStreamNumber(),
      name: `${stream.name}.control/${receiver}`,
      group: this.site.address(receiver),
      port: GUARD_PORT,
      count: CONTROL_FRAMES,
    })
  }

  /** Whether each of the pods has got so many frames of the stream, waiting at most this long. */
  arrived(stream: number, pods: readonly string[], limitMs: number, stop: AbortSignal, frames = 1): Promise<boolean> {
    return this.recorder.until(() => pods.every(pod => this.count(stream, pod) >= frames), limitMs, stop)
  }

  private count(stream: number, pod: string): number {
    return this.recorder.seen(stream, this.site.podTap(pod), DIRECTION.in)
  }
}
