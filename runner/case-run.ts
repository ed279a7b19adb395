import { DIRECTION } from '../captures/record.ts'
import type { StreamSpec } from '../generators/stream-spec.ts'
import { formatIpv4 } from '../generators/wire/address.ts'
import { IP_PROTOCOL } from '../generators/wire/ipv4.ts'
import { clockOffsetNs, clockStepNs } from './clock-step.ts'
import { changeXfrm, switchEncryption } from './encryption-steps.ts'
import { Exporters } from './exporters-run.ts'
import type { Fences } from './fence.ts'
import type { Patience } from './patience.ts'
import { Programs } from './programs.ts'
import type { Recorder, Subject } from './recorder.ts'
import type { StageSite } from './stage-site.ts'
import { stretched } from './stretch.ts'
import type { Condition, PlannedCase, PlannedStep } from './suite/plan-types.ts'
import type { SiteEncryption } from './target/target.ts'

type StepOf<Name extends PlannedStep['action']> = Extract<PlannedStep, { action: Name }>

const PROBE_PPS = 500
const PROBE_INTERVAL_MS = 2

/** A step that did not come to pass: the case goes on to be judged, and says so. */
interface Outcome {
  ok: boolean
  detail?: string
  /** It ended in an error: whose, its message tells, and it is no answer of the SUT. */
  threw?: true
}

const DONE: Outcome = { ok: true }

/**
 * Carries out one case's steps on a stage that is up, and takes back what it set: memberships, groups, programs.
 * It decides nothing: what happened is in the recording, step times and outcomes in the observations.
 */
export class CaseRun {
  private readonly planned: PlannedCase
  private readonly site: StageSite
  private readonly recorder: Recorder
  private readonly fences: Fences
  private readonly stop: AbortSignal
  private readonly patience: Patience
  private readonly subject: Subject
  private readonly programs: Programs
  private readonly exporters: Exporters
  private readonly onStep: (step: { step: string; action: string }) => void
  private readonly joined = new Map<string, { pod: string; group: number; hosts: readonly number[] }>()
  private readonly enabled = new Set<number>()
  private readonly streams = new Map<string, StreamSpec[]>()
  private readonly watched = new Map<Condition, () => boolean>()
  private readonly replays: boolean

  constructor(
    planned: PlannedCase,
    attempt: number,
    parts: { site: StageSite; recorder: Recorder; fences: Fences; stop: AbortSignal; patience: Patience },
    onStep: (step: { step: string; action: string }) => void,
  ) {
    this.onStep = onStep
    this.planned = planned
    this.site = parts.site
    this.recorder = parts.recorder
    this.fences = parts.fences
    this.stop = parts.stop
    this.patience = parts.patience
    this.subject = { case: planned.id, attempt }
    this.programs = new Programs(parts.site, parts.recorder, this.subject, parts.patience)
    this.exporters = new Exporters(parts.site, parts.recorder, this.subject)
    this.replays = planned.steps.flatMap(allSteps).some(step => step.action === 'replay')
  }

  async run(): Promise<void> {
    await this.witness('start')
    const offsetNs = clockOffsetNs()
    const failures: unknown[] = []
    const attempt = async (part: () => unknown): Promise<void> => {
      try {
        await part()
      } catch (error) {
        failures.push(error)
      }
    }
    await attempt(() => this.steps())
    for (const part of this.takingBack()) await attempt(part)
    await this.witness('end')
    const stepNs = clockStepNs(offsetNs, clockOffsetNs())
    if (stepNs !== 0n) this.recorder.observe({ kind: 'clock', stepNs: String(stepNs) }, this.subject)
    if (failures.length > 0) throw failures.length === 1 ? failures[0] : new AggregateError(failures)
  }

  private async steps(): Promise<void> {
    this.watchFrames()
    await this.leaseGroups()
    this.site.site.replay?.keep(this.replays)
    await this.observeXfrm('start')
    for (const step of this.planned.steps) await this.step(step)
  }

  private async witness(phase: 'start' | 'end'): Promise<void> {
    this.recorder.observe({ kind: 'witness', phase, counters: await this.site.site.witness() }, this.subject)
  }

  private async leaseGroups(): Promise<void> {
    await Promise.all(this.planned.groups.filter(group => group.enabled).map(group => this.enable(group.address)))
  }

  private async enable(group: number): Promise<void> {
    await Promise.all(this.site.map.nodes.map(node => this.site.site.enableGroup(node.name, group)))
    this.enabled.add(group)
  }

  /** What the case set is taken back part by part: one that fails leaves the next cases the rest. */
  private takingBack(): (() => unknown)[] {
    const { site } = this.site
    return [
      () => this.exporters.stopAll(),
      () => this.programs.stopAll(),
      () => this.observeXfrm('end'),
      ...[...this.joined.values()].map(({ pod, group, hosts }) => async () => {
        if (!site.unreachable().has(pod)) await this.site.endpoint(pod).leave({ group, hosts })
      }),
      ...[...this.enabled].flatMap(group => this.site.map.nodes.map(node => () => this.release(node.name, group))),
      async () => {
        if (this.planned.exclusive && (await site.restore())) await this.fences.raise(this.stop)
      },
    ]
  }

  private release(node: string, group: number): Promise<void> {
    const { site } = this.site
    return site.releaseGroup ? site.releaseGroup(node, group) : site.disableGroup(node, group)
  }

  private async step(step: PlannedStep): Promise<void> {
    this.stop.throwIfAborted()
    const about = { step: step.id, action: step.action }
    this.onStep(about)
    this.recorder.observe({ kind: 'step', ...about, phase: 'start', ok: true }, this.subject)
    if (this.replays) this.site.site.replay?.begin(step.id)
    const outcome = await this.outcomeOf(step)
    if (this.replays) this.site.site.replay?.end(step.id)
    this.recorder.observe({ kind: 'step', ...about, phase: 'end', ...outcome.told }, this.subject)
    if (outcome.broken !== undefined) throw outcome.broken
  }

  /** A step that throws has ended too: without its end the judge could not say why. */
  private async outcomeOf(step: PlannedStep): Promise<{ told: Outcome; broken?: unknown }> {
    try {
      return { told: await this.act(step) }
    } catch (error) {
      const broken = error ?? new Error('the step threw nothing')
      const detail = error instanceof Error ? error.message : String(error)
      return { told: { ok: false, detail, threw: true }, broken }
    }
  }

  private act(step: PlannedStep): Outcome | Promise<Outcome> {
    switch (step.action) {
      case 'join':
        return this.join(step)
      case 'leave':
        return this.leave(step)
      case 'send':
        return this.send(step)
      case 'wait':
        return this.wait(step)
      case 'link':
        return this.link(step)
      case 'kill':
        return this.kill(step)
      case 'revive':
        return this.revive(step)
      case 'group':
        return this.group(step)
      case 'run':
        return this.programs.start(step, this.stop)
      case 'stop':
        return this.programs.stop(step.program)
      case 'snapshot':
        return this.snapshot(step)
      case 'agent':
        return this.restartAgent(step)
      case 'exporter':
        return this.exporters.start(step)
      case 'flush':
        return this.exporters.flush(step)
      case 'encryption':
        return this.encrypted(encryption => switchEncryption(encryption, step))
      case 'xfrm':
        return this.encrypted(encryption => changeXfrm(encryption, step))
      case 'sysctl':
        return this.sysctl(step)
      case 'replay':
        return this.replay(step)
    }
  }

  private async join(step: StepOf<'join'>): Promise<Outcome> {
    const { igmpVersion, robustness, via, answers, hosts = [] } = step
    for (const group of step.groups ?? [step.group]) {
      for (const pod of step.pods) {
        const filter = step.filter ? { filter: step.filter } : {}
        await this.site.endpoint(pod).join({ group, igmpVersion, robustness, via, answers, hosts, ...filter })
        this.joined.set(`${pod} ${group} ${hosts}`, { pod, group, hosts })
      }
    }
    return DONE
  }

  private async leave(step: StepOf<'leave'>): Promise<Outcome> {
    const hosts = step.hosts ?? []
    for (const group of step.groups ?? [step.group]) {
      for (const pod of step.pods) {
        await this.site.endpoint(pod).leave({ group, hosts })
        this.joined.delete(`${pod} ${group} ${hosts}`)
      }
    }
    return DONE
  }

  private async send(step: StepOf<'send'>): Promise<Outcome> {
    const specs = step.pods.map(pod => this.streamOf(step, pod))
    this.streams.set(step.id, specs)
    const outcome = await this.prime(step, specs)
    const sending = Promise.all(
      specs.map((spec, i) => this.site.send(podOf(step, i), [spec], 'test', undefined, this.subject, this.stop)),
    )
    // A failure in `meanwhile` must not leave the stream's own failure unobserved.
    const meanwhile = this.meanwhile(step)
    // The stream is not left to run on into the next case when `meanwhile` fails.
    await Promise.allSettled([sending, meanwhile])
    await Promise.all([sending, meanwhile])
    for (const [i, spec] of specs.entries()) {
      if (spec.stamped) await this.fences.close(spec, podOf(step, i), this.receivers(step.id), this.subject, this.stop)
    }
    return outcome
  }

  private async meanwhile(step: StepOf<'send'>): Promise<void> {
    for (const inner of step.meanwhile) await this.step(inner)
  }

  private get stretch(): number {
    return Math.max(this.site.site.stretch ?? 1, this.patience.slowness)
  }

  private streamOf(step: StepOf<'send'>, pod: string): StreamSpec {
    const name = step.pods.length > 1 ? `${step.id}/${pod}` : step.id
    const spec = step.meanwhile.length > 0 ? stretched(step.stream, this.stretch) : step.stream
    return this.site.fill(pod, { ...spec, number: this.recorder.nextStreamNumber(), name })
  }

  /** Pods that some `delivered` of this case expects the stream at: they get the unicast control. */
  private receivers(stream: string): string[] {
    const pods = new Set<string>()
    for (const { check, want } of this.planned.expect) {
      if (check === 'delivered' && 'to' in want && 'stream' in want && want.stream === stream)
        for (const pod of want.to) pods.add(pod)
    }
    return [...pods]
  }

  private async prime(step: StepOf<'send'>, specs: readonly StreamSpec[]): Promise<Outcome> {
    const late = await Promise.all(specs.map((spec, i) => this.primeOne(step, spec, podOf(step, i))))
    const missing = late.flat()
    return missing.length === 0
      ? DONE
      : { ok: false, detail: `not primed within ${this.patience.primeMs} ms: ${missing.join(', ')}` }
  }

  /** Probes until every pod has got one; gives back those that never did. */
  private async primeOne(step: StepOf<'send'>, spec: StreamSpec, sender: string): Promise<string[]> {
    const wanted = (step.primeOf?.[sender] ?? step.prime).filter(pod => pod !== sender)
    const group = spec.frame.ipv4?.dst
    if (wanted.length === 0 || group === undefined) return []
    return this.probeUntil(sender, { of: spec, group }, wanted, this.patience.primeMs)
  }

  private async probeUntil(
    sender: string,
    probe: { of?: StreamSpec; group: number; port?: number },
    wanted: readonly string[],
    limitMs: number,
  ): Promise<string[]> {
    const number = this.recorder.nextStreamNumber()
    const role = probe.of ? 'prime' : 'probe'
    const name = probe.of ? `${probe.of.name}.prime` : 'probe'
    const port = probe.port ?? probe.of?.frame.udp?.dstPort ?? this.planned.port
    const base = this.site.datagram(sender, {
      number,
      name,
      group: probe.group,
      port,
      durationMs: limitMs,
      pps: PROBE_PPS,
    })
    const source = probe.of?.frame.ipv4?.src
    const spec =
      source === undefined ? base : { ...base, frame: { ...base.frame, ipv4: { ...base.frame.ipv4, src: source } } }
    const enough = new AbortController()
    const sending = this.site.send(
      sender,
      [spec],
      role,
      probe.of?.number,
      this.subject,
      AbortSignal.any([enough.signal, this.stop]),
    )
    await this.fences.arrived(number, wanted, limitMs, this.stop, this.site.site.settleFrames)
    enough.abort()
    await sending
    return wanted.filter(pod => this.recorder.seen(number, this.site.podTap(pod), DIRECTION.in) === 0)
  }

  private wait(step: StepOf<'wait'>): Promise<Outcome> {
    const { until: condition } = step
    const { slowness, waitMs = Number.POSITIVE_INFINITY } = this.patience
    const allowedMs = step.timeoutMs * (condition.until === 'sent' ? this.stretch : slowness)
    const timeoutMs = OF_NO_SUT.has(condition.until) ? allowedMs : Math.min(allowedMs, waitMs)
    switch (condition.until) {
      case 'delivered':
        return this.waitDelivered(condition, timeoutMs)
      case 'stopped':
        return this.waitStopped(condition, timeoutMs)
      default:
        return this.waitUntil(condition, timeoutMs)
    }
  }

  private async waitDelivered(
    condition: Extract<Condition, { until: 'delivered' }>,
    limitMs: number,
  ): Promise<Outcome> {
    const { from, group, port, to } = condition
    const missing = await this.probeUntil(from, { group, port }, to, limitMs)
    return missing.length === 0
      ? DONE
      : { ok: false, detail: `no probe arrived at ${missing.join(', ')} within ${limitMs} ms` }
  }

  /** One probe with its fence at a time: where the fence came and the probe did not, delivery has stopped. */
  private async waitStopped(condition: Extract<Condition, { until: 'stopped' }>, limitMs: number): Promise<Outcome> {
    const { from, group, port, to } = condition
    const endMs = performance.now() + limitMs
    while (performance.now() < endMs) {
      const number = this.recorder.nextStreamNumber()
      const spec = this.site.datagram(from, { number, name: 'probe', group, port, count: 1 })
      await this.site.send(from, [spec], 'probe', undefined, this.subject, this.stop)
      await this.fences.close(spec, from, [], this.subject, this.stop)
      if (to.every(pod => this.recorder.seen(number, this.site.podTap(pod), DIRECTION.in) === 0)) return DONE
      await this.recorder.linger(PROBE_INTERVAL_MS, this.stop)
    }
    return { ok: false, detail: `probes still arrive at ${to.join(', ')} after ${limitMs} ms` }
  }

  private async waitUntil(condition: WaitableCondition, limitMs: number): Promise<Outcome> {
    const sentAlready = condition.until === 'sent' ? this.sentFrames(condition.stream) : 0
    const held = await this.recorder.until(this.conditionOf(condition), limitMs, this.stop)
    if (!held) return { ok: false, detail: `${condition.until} did not come true within ${limitMs} ms` }
    if (condition.until !== 'sent' || this.stretch === 1 || sentAlready < condition.frames) return DONE
    const { frames, stream } = condition
    return {
      ok: false,
      detail: `the steps before took longer than ${frames} frames of ${stream}: it was at ${sentAlready}`,
    }
  }

  /** Frames are counted from the start of the case: what is waited for may come while something else is. */
  private watchFrames(): void {
    for (const step of this.planned.steps.flatMap(allSteps)) {
      if (step.action !== 'wait') continue
      if (step.until.until === 'frame') this.watched.set(step.until, this.frameSeen(step.until))
      if (step.until.until === 'pim') this.watched.set(step.until, this.pimSeen(step.until))
    }
  }

  private conditionOf(condition: WaitableCondition): () => boolean | Promise<boolean> {
    switch (condition.until) {
      case 'subscribed':
      case 'unsubscribed':
        return () => this.areTables(condition)
      case 'sent':
        return () => this.sentFrames(condition.stream) >= condition.frames
      case 'output':
        return () => this.programs.linesWith(condition.program, condition.contains) >= condition.count
      case 'frame':
      case 'pim':
        return this.watched.get(condition) ?? (() => false)
    }
  }

  private async areTables(condition: TableCondition): Promise<boolean> {
    const nodes = nodesOf(condition)
    const subscribed = await Promise.all(nodes.map(node => this.isSubscribed(condition, node)))
    return subscribed.every(one => one === (condition.until === 'subscribed'))
  }

  private async isSubscribed(condition: TableCondition, node: string): Promise<boolean> {
    const { subscriber } = condition
    const address =
      'pod' in subscriber
        ? this.site.address(subscriber.pod)
        : (this.site.map.nodes.find(node => node.name === subscriber.node)?.address ?? 0)
    const tables = await this.site.site.tables(node)
    const table = tables.find(entry => entry.group === formatIpv4(condition.group))
    return table?.subscribers.some(entry => entry.subscriber === formatIpv4(address)) ?? false
  }

  /** Each sender's frames as its node's tap saw them come in. */
  private sentFrames(step: string): number {
    const streams = this.streams.get(step) ?? []
    const pods = this.planned.steps.flatMap(allSteps).find(found => found.id === step)
    if (pods?.action !== 'send' || streams.length === 0) return 0
    return Math.min(
      ...streams.map((spec, i) =>
        this.recorder.seen(spec.number, this.site.podSite(podOf(pods, i)).nodeTap, DIRECTION.in),
      ),
    )
  }

  private frameSeen(condition: Extract<Condition, { until: 'frame' }>): () => boolean {
    const direction = condition.direction === 'in' ? DIRECTION.in : DIRECTION.out
    const count = this.recorder.count(this.site.podTap(condition.pod), direction, { match: condition.match })
    return () => count() >= condition.count
  }

  private pimSeen(condition: Extract<Condition, { until: 'pim' }>): () => boolean {
    const direction = condition.direction === 'in' ? DIRECTION.in : DIRECTION.out
    const wanted = { match: {}, pim: condition }
    const count = this.recorder.count(`${condition.node}/${condition.interface}`, direction, wanted)
    return () => count() >= condition.count
  }

  private async link(step: StepOf<'link'>): Promise<Outcome> {
    const what = step.pod === undefined ? { node: step.node ?? '' } : { pod: step.pod }
    await this.site.site.setLink(what, step.up)
    return DONE
  }

  private async kill(step: StepOf<'kill'>): Promise<Outcome> {
    for (const pod of step.pods) {
      await this.site.site.kill(pod)
      for (const [key, membership] of this.joined) if (membership.pod === pod) this.joined.delete(key)
    }
    return DONE
  }

  /** A pod made anew is in no group: without the guard, nothing could be proved absent at it. */
  private async revive(step: StepOf<'revive'>): Promise<Outcome> {
    for (const pod of step.pods) await this.site.site.revive(pod)
    const unguarded = await this.fences.raise(this.stop)
    const deaf = step.pods.filter(pod => unguarded.includes(pod))
    return deaf.length === 0 ? DONE : { ok: false, detail: `no guard datagram gets to ${deaf.join(', ')}` }
  }

  /** Enables or disables groups; how many the SUT refused must be what the step says. */
  private async group(step: StepOf<'group'>): Promise<Outcome> {
    let refused = 0
    for (const node of step.nodes)
      for (const group of step.groups) if (!(await this.tryGroup(node, group, step.enable))) refused++
    const wanted = step.refused * step.nodes.length
    return refused === wanted ? DONE : { ok: false, detail: `${refused} groups were refused, expected ${wanted}` }
  }

  private async tryGroup(node: string, group: number, enable: boolean): Promise<boolean> {
    if (!enable) {
      await this.site.site.disableGroup(node, group)
      return true
    }
    const accepted = await this.site.site.tryEnableGroup(node, group)
    if (accepted) this.enabled.add(group)
    return accepted
  }

  private async snapshot({ id: step }: StepOf<'snapshot'>): Promise<Outcome> {
    const { site } = this.site
    const silent = await Promise.all(
      this.site.map.nodes.map(async ({ name: node }) => {
        this.recorder.observe({ kind: 'tables', step, node, groups: await site.tables(node) }, this.subject)
        this.recorder.observe({ kind: 'drops', step, node, reasons: await site.drops(node) }, this.subject)
        return this.scrape(step, node)
      }),
    )
    await this.observeXfrm(step, 'with states')
    const detail = silent.filter(why => why !== undefined).join('; ')
    return detail === '' ? DONE : { ok: false, detail }
  }

  /** Or why not: an agent that does not answer is a find. What is dropped meanwhile is in the drop counters of one of the two readings. */
  private async scrape(step: string, node: string): Promise<string | undefined> {
    const { site } = this.site
    if (!site.metrics || !this.planned.needs.includes('metrics')) return undefined
    const answer = await site.metrics(node).then(
      text => ({ text }),
      (error: Error) => ({ why: `metrics of ${node}: ${error.message}` }),
    )
    if ('why' in answer) return answer.why
    this.recorder.observe({ kind: 'scrape', step, node, text: answer.text }, this.subject)
    this.recorder.observe({ kind: 'drops', step, node, reasons: await site.drops(node) }, this.subject)
    return undefined
  }

  private async encrypted(change: (encryption: SiteEncryption) => Promise<void>): Promise<Outcome> {
    const { encryption } = this.site.site
    if (!encryption) return { ok: false, detail: 'the site has no encryption' }
    await change(encryption)
    return DONE
  }

  private async observeXfrm(at: string, states: 'with states' | 'without' = 'without'): Promise<void> {
    const { encryption } = this.site.site
    if (!encryption) return
    for (const { name: node } of this.site.map.nodes) {
      const fact = { kind: 'xfrm' as const, at, node, errors: await encryption.errors(node) }
      const more = states === 'with states' ? { states: await encryption.states(node) } : {}
      this.recorder.observe({ ...fact, ...more }, this.subject)
    }
  }

  private sysctl(step: StepOf<'sysctl'>): Outcome {
    const { site } = this.site
    if (!site.setSysctl) return { ok: false, detail: 'the target sets no sysctls' }
    const place = step.pod === undefined ? { node: step.node ?? '' } : { pod: step.pod }
    site.setSysctl(place, step.interface, step.name, step.value)
    return DONE
  }

  private async replay(step: StepOf<'replay'>): Promise<Outcome> {
    const { site, map } = this.site
    const uplink = map.nodes.find(node => node.name === step.peer)?.uplinkTap
    if (!site.replay || uplink === undefined) return { ok: false, detail: 'the target replays no ESP' }
    const match = { ethernet: { src: this.site.podSite(step.pod).mac }, ipv4: { protocol: IP_PROTOCOL.ESP } }
    const arrived = this.recorder.count(uplink, DIRECTION.in, { match })
    const sent = await site.replay.replay(step)
    if (sent === 0) return { ok: false, detail: `no ESP of ${step.of} had left ${step.node} for ${step.peer}` }
    const all = await this.recorder.until(() => arrived() >= sent, this.patience.arrivalMs, this.stop)
    return all ? DONE : { ok: false, detail: `${arrived()} of ${sent} packets came in at ${step.peer}` }
  }

  private async restartAgent(step: StepOf<'agent'>): Promise<Outcome> {
    await this.site.site.restartAgent(step.node)
    return DONE
  }
}

/** Waits whose length the test itself or a protocol's timer decides. */
const OF_NO_SUT: ReadonlySet<Condition['until']> = new Set(['sent', 'pim'])

type WaitableCondition = Exclude<Condition, { until: 'delivered' | 'stopped' }>
type TableCondition = Extract<Condition, { until: 'subscribed' | 'unsubscribed' }>

function nodesOf({ node, nodes }: TableCondition): readonly string[] {
  return nodes ?? [node]
}

function podOf(step: StepOf<'send'>, i: number): string {
  const pod = step.pods[i]
  if (pod === undefined) throw new RangeError(`${step.id} has no sender ${i}`)
  return pod
}

function allSteps(step: PlannedStep): PlannedStep[] {
  return step.action === 'send' ? [step, ...step.meanwhile.flatMap(allSteps)] : [step]
}
