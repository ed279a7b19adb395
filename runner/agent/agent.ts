import type { Socket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { hostname, release } from 'node:os'
import { realtimeNs } from '../../generators/linux/libc.ts'
import { OWN_NETNS } from '../../generators/linux/netns.ts'
import { compile } from '../../generators/stream.ts'
import { parseIpv4, parseMac } from '../../generators/wire/address.ts'
import { clockOffsetNs } from '../clock-step.ts'
import { LocalEndpoint } from '../endpoint-local.ts'
import { isBug } from '../exit.ts'
import type { RunningProgram } from '../programs-run.ts'
import { witnessCounters } from '../target/witness.ts'
import { castproofVersion } from '../version.ts'
import { AgentTap } from './agent-tap.ts'
import { openEcho, roundTripMs } from './echo.ts'
import { interfacesHere } from './interfaces.ts'
import { nextHopMacs } from './next-hops.ts'
import {
  AGENT_PROTOCOL,
  type AgentAnswer,
  type AgentHello,
  type AgentNews,
  type AgentRequest,
  type AgentRequests,
  type AgentTrouble,
  type SendAsked,
} from './protocol.ts'
import { ColumnRecord } from './sent-columns.ts'

type Asks<Name extends keyof AgentRequests> = AgentRequests[Name]['asks'] & { id: number }
type Handlers = {
  [Name in keyof AgentRequests]: (asks: Asks<Name>) => Promise<AgentRequests[Name]['answer']>
}

/** As the recorder's own rhythm while frames come; a host where nothing happens wakes less often. */
const DRAIN_MS = 2
const IDLE_DRAIN_MS = 10
const IDLE_AFTER_MS = 200
const NEWS_INTERVAL_MS = 4

/** The far end of a command prefix: acts in the namespace it was started in, for whoever sends it requests. */
export class Agent {
  private readonly tell: (line: AgentHello | AgentAnswer | AgentNews) => void
  private endpoint: LocalEndpoint | undefined
  private readonly sending = new Map<number, AbortController>()
  private readonly programs = new Map<number, RunningProgram>()
  private programNumber = 0
  private readonly taps = new Map<number, AgentTap>()
  private readonly open = new Set<AgentTap>()
  private readonly record = new ColumnRecord()
  private timer: NodeJS.Timeout | undefined
  private echoes: Socket | undefined
  private lastFrameMs = 0
  private lastNewsMs = 0

  constructor(tell: (line: AgentHello | AgentAnswer | AgentNews) => void) {
    this.tell = tell
  }

  async greet(): Promise<void> {
    this.tell({
      hello: AGENT_PROTOCOL,
      version: castproofVersion(),
      bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim(),
      hostname: hostname(),
      kernel: release(),
      node: process.version,
      interfaces: await interfacesHere(),
    })
  }

  /** Answers one request; never throws. */
  async hear(request: AgentRequest): Promise<void> {
    const { id } = request
    try {
      const handler = (this.handlers as Partial<Record<string, (asks: AgentRequest) => Promise<unknown>>>)[request.op]
      if (!handler) throw new RangeError(`no request is called ${request.op}`)
      this.tell({ id, ok: true, answer: await handler(request) })
    } catch (error) {
      this.tell({ id, ok: false, error: troubleOf(error) })
    }
  }

  private readonly handlers: Handlers = {
    host: async ({ pod, interface: podInterface, address, mac }) => {
      const host = { name: pod, address: parseIpv4(address), mac: parseMac(mac), ns: OWN_NETNS, podInterface }
      await this.endpoint?.close()
      this.endpoint = new LocalEndpoint(host)
      return null
    },
    interfaces: () => interfacesHere(),
    'next-hops': async ({ interface: device, addresses }) => ({ macs: await nextHopMacs(device, addresses) }),
    join: async ({ membership }) => {
      await this.host().join(membership)
      return null
    },
    leave: async ({ membership }) => {
      await this.host().leave(membership)
      return null
    },
    send: asks => this.send(asks.id, asks),
    stop: async ({ of }) => {
      this.sending.get(of)?.abort()
      return null
    },
    run: async ({ program }) => {
      const number = ++this.programNumber
      const running = await this.host().run(program, ({ event, text }) =>
        this.tell({ news: 'program', program: number, event, text, tNs: String(realtimeNs()) }),
      )
      this.programs.set(number, running)
      return { program: number }
    },
    'stop-program': async ({ program }) => {
      await this.programs.get(program)?.stop()
      return null
    },
    tap: async asks => {
      const tap = new AgentTap(asks, frame => this.endpoint?.heard(frame))
      const number = this.taps.size + 1
      this.taps.set(number, tap)
      this.open.add(tap)
      if (this.timer === undefined) this.schedule(DRAIN_MS)
      return { tap: number }
    },
    count: async ({ tap, name, direction, wanted }) => ({ count: this.tap(tap).count(name, direction, wanted) }),
    'close-tap': async ({ tap }) => {
      this.open.delete(this.tap(tap))
      return this.tap(tap).close()
    },
    fetch: async ({ tap, from }) => ({ piece: this.tap(tap).fetch(from) }),
    echo: async () => ({ port: await this.echo() }),
    'round-trips': async ({ to }) => ({ ms: await Promise.all(to.map(roundTripMs)) }),
    clock: async () => ({ realNs: String(realtimeNs()), aheadOfSteadyNs: String(clockOffsetNs()) }),
    stats: async () => ({ counters: witnessCounters([{ name: '', ns: OWN_NETNS }]) }),
  }

  private async send(id: number, { runId, runStartNs, streams }: SendAsked): Promise<AgentRequests['send']['answer']> {
    const stop = new AbortController()
    this.sending.set(id, stop)
    try {
      const context = { runId, runStartNs: BigInt(runStartNs) }
      const compiled = streams.map(({ spec, about }) => compile(spec, { ...context, about }))
      const reports = await this.host().send(compiled, this.record, stop.signal)
      return { reports, sent: this.record.take(compiled) }
    } finally {
      this.sending.delete(id)
    }
  }

  private async echo(): Promise<number> {
    this.echoes ??= await openEcho()
    return this.echoes.address().port
  }

  private host(): LocalEndpoint {
    if (!this.endpoint) throw new RangeError('this agent has not been told which host it is')
    return this.endpoint
  }

  private tap(number: number): AgentTap {
    const tap = this.taps.get(number)
    if (!tap) throw new RangeError(`there is no tap ${number}`)
    return tap
  }

  private schedule(ms: number): void {
    this.timer = setTimeout(() => this.drain(), ms)
  }

  private drain(): void {
    const nowMs = performance.now()
    for (const tap of this.open) if (tap.drain() > 0) this.lastFrameMs = nowMs
    if (nowMs - this.lastNewsMs >= NEWS_INTERVAL_MS) {
      this.lastNewsMs = nowMs
      for (const [number, tap] of this.taps) this.tellNews(number, tap)
    }
    this.schedule(nowMs - this.lastFrameMs > IDLE_AFTER_MS ? IDLE_DRAIN_MS : DRAIN_MS)
  }

  private tellNews(number: number, tap: AgentTap): void {
    const news = tap.news(number)
    if (news) this.tell(news)
  }

  /** Leaves every group, ends every program and tap: what of it is left afterwards is a bug. */
  async close(): Promise<void> {
    clearTimeout(this.timer)
    for (const stop of this.sending.values()) stop.abort()
    await this.endpoint?.leaveAll()
    await this.endpoint?.close()
    this.echoes?.close()
    for (const tap of this.taps.values()) tap.discard()
    this.taps.clear()
    this.open.clear()
  }
}

function troubleOf(error: unknown): AgentTrouble {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) }
  const { code } = error as NodeJS.ErrnoException
  const { name, message, stack } = error
  return { name, message, ...(code === undefined ? {} : { code }), ...(isBug(error) && stack ? { stack } : {}) }
}
