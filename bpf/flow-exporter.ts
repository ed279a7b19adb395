import { inNetns, interfaceIndex, type Netns } from '../generators/linux/netns.ts'
import { UdpSender } from '../generators/linux/udp-sender.ts'
import { V9_SCOPE } from '../generators/wire/flow-fields.ts'
import { type FlowTemplate, flowTemplate, templateField } from '../generators/wire/flow-template.ts'
import type { FlowSetSpec, FlowValues } from '../generators/wire/flow-write.ts'
import { buildNetflow9 } from '../generators/wire/netflow9.ts'
import { FlowCache, type FlowDelta, type FlowKey, MONITOR } from './flow-cache.ts'
import { type FlowExportConfig, type FlowMonitor, matchMask, RECORD_FIELDS } from './flow-config.ts'

/** Longer than a packet takes through the kernel, shorter than any timeout that somebody sets. */
const EPOCH_MS = 20
const TEMPLATE_ID = 256
const OPTIONS_TEMPLATE_ID = 257
/** Message, IP and UDP fit an Ethernet frame. */
const MESSAGE_BYTES = 1400
/** samplingAlgorithm: 2 is random (RFC 3954 §8). */
const RANDOM_SAMPLING = 2
const NS_PER_MS = 1_000_000n

interface Flow extends FlowDelta {
  key: FlowKey
  /** When the record that is being gathered began, and when the flow last had a packet. */
  sinceNs: bigint
  idleSinceNs: bigint
}

export interface ExportTotals {
  messages: number
  records: number
  bytes: number
  /** Packets that the full cache had no room for. */
  refused: number
}

/** Flow records of a router's interfaces as NetFlow v9 (RFC 3954), from `start` until `close`. */
export class FlowExporter {
  readonly totals: ExportTotals = { messages: 0, records: 0, bytes: 0, refused: 0 }
  private readonly config: FlowExportConfig
  private readonly faults: ReadonlySet<string>
  private readonly cache: FlowCache
  private readonly sender: UdpSender
  private readonly template: FlowTemplate
  private readonly options: FlowTemplate
  private readonly flows = new Map<string, Flow>()
  private readonly bootNs: bigint
  private sequence = 0
  private templatesSentMs = Number.NEGATIVE_INFINITY
  private messagesSinceTemplates = 0
  private timer: NodeJS.Timeout | undefined

  private constructor(config: FlowExportConfig, faults: readonly string[], cache: FlowCache, sender: UdpSender) {
    this.config = config
    this.faults = new Set(faults)
    this.cache = cache
    this.sender = sender
    this.bootNs = process.hrtime.bigint() - BigInt(config.exporter.upTimeMs) * NS_PER_MS
    this.template = templateOf(config)
    const scope = templateField(1, V9_SCOPE, 4)
    this.options = flowTemplate(
      OPTIONS_TEMPLATE_ID,
      [scope, ['samplingInterval', 4], ['samplingAlgorithm', 1], ['ignoredPacketTotalCount', 8]],
      1,
    )
  }

  /** Counts from now on. `interfaces` are all that the router forwards by, monitored or not. */
  static start(
    ns: Netns,
    interfaces: readonly string[],
    config: FlowExportConfig,
    faults: readonly string[],
  ): FlowExporter {
    const { exporter, sampling, outputCounters, cache } = config
    const flows = FlowCache.load(ns, {
      match: matchMask(config.record),
      outputCounters,
      sampling,
      entries: cache.entries,
      faults,
    })
    try {
      const source = { address: exporter.source, port: exporter.sourcePort }
      const sender = new UdpSender(ns, source, { address: exporter.destination, port: exporter.port })
      const started = new FlowExporter(config, faults, flows, sender)
      for (const name of interfaces)
        flows.attach(
          inNetns(ns, () => interfaceIndex(name)),
          monitorBits(name, config.monitors),
        )
      if (started.faults.has('template-late')) started.templatesSentMs = performance.now()
      else started.sendTemplates()
      started.schedule()
      return started
    } catch (error) {
      flows.close()
      throw error
    }
  }

  private schedule(): void {
    this.timer = setTimeout(() => {
      this.gather()
      this.exportDue()
      this.schedule()
    }, EPOCH_MS)
  }

  /** Everything that is in the cache leaves, as when a monitor is cleared. */
  async flush(): Promise<void> {
    clearTimeout(this.timer)
    // What is counted now ends with this epoch, and the next call reads it.
    for (let i = 0; i < 2; i++) {
      await new Promise(resolve => setTimeout(resolve, EPOCH_MS))
      this.gather()
    }
    this.sendRecords([...this.flows.values()])
    this.flows.clear()
    this.sendTemplates()
    this.schedule()
  }

  private gather(): void {
    for (const { id, key, delta } of this.cache.endEpoch()) {
      const flow = this.flows.get(id)
      if (flow) addTo(flow, delta)
      else this.flows.set(id, { key, ...delta, sinceNs: delta.firstNs, idleSinceNs: delta.lastNs })
    }
    this.totals.refused = this.cache.refused
  }

  private exportDue(): void {
    const { activeTimeoutMs, inactiveTimeoutMs } = this.config.cache
    const nowNs = process.hrtime.bigint()
    const due: Flow[] = []
    for (const [id, flow] of this.flows) {
      const isIdle = nowNs - flow.idleSinceNs >= BigInt(inactiveTimeoutMs) * NS_PER_MS
      const isLong = nowNs - flow.sinceNs >= BigInt(activeTimeoutMs) * NS_PER_MS
      if (!isIdle && (!isLong || this.faults.has('active-timeout-ignored'))) continue
      due.push({ ...flow })
      if (isIdle) {
        this.flows.delete(id)
        this.cache.forget(id)
      } else this.beginAnew(flow, nowNs)
    }
    if (due.some(flow => flow.packets > 0n)) this.sendRecords(due)
    if (this.isTemplateDue()) this.sendTemplates()
  }

  private beginAnew(flow: Flow, nowNs: bigint): void {
    flow.sinceNs = nowNs
    if (this.faults.has('active-timeout-cumulative')) return
    Object.assign(flow, { packets: 0n, bytes: 0n, replicatedPackets: 0n, replicatedBytes: 0n, firstNs: 0n, factor: 0 })
  }

  private isTemplateDue(): boolean {
    if (this.faults.has('template-once') && this.templatesSentMs > 0) return false
    const { templateRefreshMs, templateRefreshMessages } = this.config.exporter
    const isOld = performance.now() - this.templatesSentMs >= templateRefreshMs
    return isOld || this.messagesSinceTemplates >= templateRefreshMessages
  }

  /** The template, and with it what the options say. */
  private sendTemplates(): void {
    if (this.faults.has('template-once') && this.templatesSentMs > 0) return
    const sets: FlowSetSpec[] = [{ templates: [this.template] }]
    if (this.config.exporter.options && !this.faults.has('options-missing'))
      sets.push({ templates: [this.options] }, { data: { template: this.options, records: [this.optionValues()] } })
    this.templatesSentMs = performance.now()
    this.messagesSinceTemplates = 0
    this.sendMessage(sets, 0)
  }

  private optionValues(): FlowValues {
    const isSilent = this.faults.has('cache-full-silent')
    return {
      samplingInterval: this.config.sampling,
      samplingAlgorithm: RANDOM_SAMPLING,
      ignoredPacketTotalCount: isSilent ? 0 : this.totals.refused,
    }
  }

  private sendRecords(flows: readonly Flow[]): void {
    const records = flows.filter(flow => flow.packets > 0n).map(flow => this.valuesOf(flow))
    const most = Math.floor((MESSAGE_BYTES - 28) / this.template.recordBytes)
    for (let at = 0; at < records.length; at += most) {
      const some = records.slice(at, at + most)
      const set: FlowSetSpec = { data: { template: this.template, records: some } }
      this.sendMessage([set], some.length)
      if (this.faults.has('message-doubled')) this.sendMessage([set], some.length)
    }
  }

  private valuesOf(flow: Flow): FlowValues {
    const { key } = flow
    const scale = this.faults.has('sampling-scaled') ? BigInt(this.config.sampling) : 1n
    const [first, last] = [this.upTimeMs(flow.firstNs), this.upTimeMs(flow.lastNs)]
    const isSwapped = this.faults.has('times-swapped')
    return {
      sourceIPv4Address: key.src,
      destinationIPv4Address: key.dst,
      sourceTransportPort: key.srcPort,
      destinationTransportPort: key.dstPort,
      protocolIdentifier: key.protocol,
      ipClassOfService: key.tos,
      ingressInterface: key.input,
      egressInterface: key.direction === 1 ? key.output : 0,
      isMulticast: key.isMulticast,
      flowDirection: key.direction,
      multicastReplicationFactor: flow.factor,
      octetDeltaCount: flow.bytes * scale,
      packetDeltaCount: flow.packets * scale,
      postMCastOctetDeltaCount: flow.replicatedBytes * scale,
      postMCastPacketDeltaCount: flow.replicatedPackets * scale,
      flowStartSysUpTime: isSwapped ? last : first,
      flowEndSysUpTime: isSwapped ? first : last,
    }
  }

  /** Modulo 2^32, as it is on the wire. */
  private upTimeMs(monotonicNs: bigint): number {
    const ms = (monotonicNs - this.bootNs) / NS_PER_MS
    return Number(BigInt.asUintN(32, this.faults.has('uptime-seconds') ? ms / 1000n : ms))
  }

  private sendMessage(flowSets: readonly FlowSetSpec[], records: number): void {
    const sets = this.faults.has('padding-garbage') ? flowSets.map(withGarbage) : flowSets
    const bytes = buildNetflow9({
      sysUpTimeMs: Number(BigInt.asUintN(32, (process.hrtime.bigint() - this.bootNs) / NS_PER_MS)),
      unixSeconds: Math.floor(Date.now() / 1000),
      sequence: this.sequence,
      sourceId: this.config.exporter.sourceId,
      flowSets: sets,
      ...(this.faults.has('header-count-flowsets') ? { count: flowSets.length } : {}),
    })
    const isLost = this.faults.has('message-lost') && records > 0 && this.totals.messages % 3 === 2
    this.totals.messages++
    this.messagesSinceTemplates++
    if (isLost) return
    this.sequence = (this.sequence + (this.faults.has('sequence-counts-flows') ? records : 1)) >>> 0
    this.totals.records += records
    this.totals.bytes += bytes.length
    this.sender.send(bytes)
  }

  close(): void {
    clearTimeout(this.timer)
    this.cache.close()
    this.sender.close()
  }
}

function addTo(flow: Flow, delta: FlowDelta): void {
  if (flow.packets === 0n) flow.firstNs = delta.firstNs
  flow.packets += delta.packets
  flow.bytes += delta.bytes
  flow.replicatedPackets += delta.replicatedPackets
  flow.replicatedBytes += delta.replicatedBytes
  flow.factor = Math.max(flow.factor, delta.factor)
  flow.output = delta.output
  flow.lastNs = delta.lastNs
  flow.idleSinceNs = delta.lastNs
}

function templateOf({ record }: FlowExportConfig): FlowTemplate {
  const fields = [...record.match, ...record.collect].map(name => RECORD_FIELDS[name])
  return flowTemplate(
    TEMPLATE_ID,
    fields.map(({ field, bytes }) => [field, bytes] as const),
  )
}

function monitorBits(name: string, monitors: readonly FlowMonitor[]): number {
  return monitors
    .filter(monitor => monitor.interface === name)
    .reduce((bits, { direction, multicastOnly }) => {
      const only = direction === 'input' ? MONITOR.inputMulticastOnly : MONITOR.outputMulticastOnly
      return bits | MONITOR[direction] | (multicastOnly ? only : 0)
    }, 0)
}

/** Padding that is not zero (RFC 3954 §5.3 wants zeros). */
function withGarbage(set: FlowSetSpec): FlowSetSpec {
  return set.data ? { ...set, paddingBytes: 0, raw: Uint8Array.of(0xde, 0xad, 0xbe) } : set
}
