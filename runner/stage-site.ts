import { compile } from '../generators/stream.ts'
import type { StreamSpec } from '../generators/stream-spec.ts'
import { formatIpv4, isMulticast } from '../generators/wire/address.ts'
import type { PodSite, SiteMap } from './check/check.ts'
import type { Endpoint } from './endpoint.ts'
import type { StreamRole } from './observation.ts'
import type { Recorder, Subject } from './recorder.ts'
import type { Site } from './target/target.ts'

/** A stamped UDP stream as the fence, primes and controls use it. */
export interface Datagrams {
  number: number
  name: string
  /** A group, or a pod's address. */
  group: number
  port: number
  srcPort?: number
  count?: number
  durationMs?: number
  pps?: number
}

/** A site with what sending needs: stream numbers, the stamp's run, the log of what left. */
export class StageSite {
  readonly site: Site
  readonly map: SiteMap
  private readonly recorder: Recorder
  private readonly run: { runId: number; runStartNs: bigint }
  private readonly pods: ReadonlyMap<string, PodSite>

  constructor(site: Site, recorder: Recorder, run: { runId: number; runStartNs: bigint }) {
    this.site = site
    this.map = site.map
    this.recorder = recorder
    this.run = run
    this.pods = new Map(this.map.pods.map(pod => [pod.name, pod]))
  }

  endpoint(pod: string): Endpoint {
    return this.site.endpoint(pod)
  }

  podSite(pod: string): PodSite {
    const found = this.pods.get(pod)
    if (!found) throw new RangeError(`the site has no pod ${pod}`)
    return found
  }

  podTap(pod: string): string {
    return this.podSite(pod).podTap
  }

  address(pod: string): number {
    return this.podSite(pod).address
  }

  reachable(): string[] {
    const gone = this.site.unreachable()
    return this.map.pods.map(pod => pod.name).filter(pod => !gone.has(pod))
  }

  /** Another reachable pod, of another node if there is one: its datagrams pass the sender's uplink and overlay too. */
  echoer(pod: string): string | undefined {
    const others = this.reachable().filter(other => other !== pod)
    return others.find(other => this.podSite(other).node !== this.podSite(pod).node) ?? others[0]
  }

  /** Stands on the underlay, on no node: what it sends is tunnel packets, or nothing that a SUT takes. */
  isStranger(pod: string): boolean {
    const { node } = this.podSite(pod)
    return this.map.nodes.every(item => item.name !== node)
  }

  podsOfNodeAt(address: number): string[] {
    const node = this.map.nodes.find(item => item.address === address)
    return this.reachable().filter(pod => this.podSite(pod).node === node?.name)
  }

  async joinAll(group: number): Promise<void> {
    await Promise.all(this.map.nodes.map(node => this.site.enableGroup(node.name, group)))
    const membership = { group, igmpVersion: 3, hosts: [], robustness: 1, via: 'emulator', answers: true } as const
    await Promise.all(this.reachable().map(pod => this.endpoint(pod).join(membership)))
  }

  datagram(sender: string, wanted: Datagrams): StreamSpec {
    const { number, name, group, port, srcPort, count, durationMs, pps } = wanted
    return this.fill(sender, {
      number,
      name,
      frame: { ipv4: { dst: group }, udp: { dstPort: port, ...(srcPort === undefined ? {} : { srcPort }) } },
      stamped: true,
      rate: pps === undefined ? 'max' : { pps },
      ...(count === undefined ? {} : { count }),
      ...(durationMs === undefined ? {} : { durationMs }),
    })
  }

  /** The guard in a right tunnel packet, beside the packets that a stranger sent: same outer addresses but a known node's. */
  tunnelled(like: StreamSpec, inner: StreamSpec): StreamSpec {
    const { overlay } = this.map
    if (!overlay) throw new RangeError('the site has no overlay to send into')
    const { ethernet, ipv4, udp } = like.frame
    const source = this.map.nodes.find(node => node.address !== ipv4?.dst)?.address ?? 0
    const outer = { ...(ethernet && { ethernet }), ipv4: { src: source, dst: ipv4?.dst ?? 0 } }
    const ports = { dstPort: overlay.udpPort, ...(udp?.srcPort === undefined ? {} : { srcPort: udp.srcPort }) }
    return { ...inner, frame: { ...outer, udp: ports, vxlan: { vni: overlay.vni }, inner: inner.frame } }
  }

  /** Adds what a pod knows of itself: its MAC, its address, its gateway. What the suite gave stays. */
  fill(sender: string, spec: StreamSpec): StreamSpec {
    const pod = this.podSite(sender)
    const dst = spec.frame.ipv4?.dst
    const unicast = dst !== undefined && !isMulticast(dst)
    const known = dst === undefined ? undefined : pod.nextHops?.[formatIpv4(dst)]
    const nextHop = known ?? this.map.nodes.find(node => node.address === dst)?.mac ?? pod.gatewayMac
    const gateway = unicast && nextHop !== undefined ? { dst: nextHop } : {}
    const frame = {
      ...spec.frame,
      ethernet: { src: pod.mac, ...gateway, ...spec.frame.ethernet },
      ipv4: { src: pod.address, ...spec.frame.ipv4 },
    }
    return { ...spec, frame }
  }

  /** Sends, and logs what was handed to the kernel under each stream's number. */
  async send(
    sender: string,
    specs: readonly StreamSpec[],
    role: StreamRole,
    of: number | undefined,
    subject: Subject,
    stop: AbortSignal,
  ): Promise<void> {
    const about = { role, pod: sender, ...(of === undefined ? {} : { of }) }
    const streams = specs.map(spec => compile(spec, { ...this.run, about }))
    for (const { number, name } of specs) this.recorder.observe({ kind: 'stream', number, name, ...about }, subject)
    await this.endpoint(sender).send(streams, this.recorder.sent, stop)
  }
}
