import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openRecording } from '../../captures/recording.ts'
import { type Netns, openNetns } from '../../generators/linux/netns.ts'
import { formatIpv4, parseIpv4 } from '../../generators/wire/address.ts'
import { datagramsAt, type WireDatagram } from '../../runner/check/socket-wire.ts'
import { type RunningProgram, startProgram } from '../../runner/programs-run.ts'
import type { Topology } from '../../runner/suite/plan-types.ts'
import { reference } from '../../runner/target/reference.ts'
import type { Site } from '../../runner/target/target.ts'
import { Prometheus } from './prometheus.ts'

const TRAFFIC = fileURLToPath(new URL('traffic.py', import.meta.url))
const METRICS_PORT = 2112
const READY_MS = 30_000

const NOT_ENABLED = '233.252.0.13'
export const GROUPS = { steady: '233.252.0.11', bursts: '233.252.0.12' } as const

const TOPOLOGY: Topology = {
  nodes: ['n1', 'n2'],
  pods: ['n1-1', 'n1-2', 'n1-3', 'n2-1', 'n2-2', 'n2-3'].map(name => ({ name, node: name.slice(0, 2) })),
  metrics: true,
}

/** Who takes and who sends: payloads of the founding document's, one receiver that is too slow, a group that is not enabled; and some unicast. */
const RECEIVERS: Record<string, string[][]> = {
  'n1-2': [[GROUPS.steady, '5001']],
  'n2-1': [
    [GROUPS.steady, '5001'],
    [GROUPS.bursts, '5002'],
    ['0.0.0.0', '6000'],
  ],
  'n2-2': [[GROUPS.bursts, '5002', '4096', '60']],
}
const SENDERS: Record<string, string[]> = {
  'n1-1': [GROUPS.steady, '5001', '18', '1', '5'],
  'n2-3': [GROUPS.bursts, '5002', '35', '10', '100'],
  'n2-2': [NOT_ENABLED, '5003', '100', '1', '50'],
}

/** Two nodes under real traffic, tcpdump at every pod, and a Prometheus that scrapes both agents over the underlay. */
export class PrometheusBed {
  readonly site: Site
  readonly prometheus: Prometheus
  readonly #folder: string
  readonly #taps: readonly Dump[]
  readonly #senders: readonly RunningProgram[]
  readonly #receivers: readonly RunningProgram[]
  readonly #namespaces: readonly Netns[]

  private constructor(
    site: Site,
    prometheus: Prometheus,
    parts: {
      folder: string
      taps: readonly Dump[]
      senders: RunningProgram[]
      receivers: RunningProgram[]
      namespaces: readonly Netns[]
    },
  ) {
    this.site = site
    this.prometheus = prometheus
    this.#folder = parts.folder
    this.#taps = parts.taps
    this.#senders = parts.senders
    this.#receivers = parts.receivers
    this.#namespaces = parts.namespaces
  }

  static async start(folder: string, everyS: number, stop: AbortSignal): Promise<PrometheusBed> {
    const prefix = `cp-prom${process.pid % 10_000}`
    const site = await reference.bringUp(TOPOLOGY, { faults: [], prefix }, stop)
    const namespaces: Netns[] = []
    const receivers: RunningProgram[] = []
    const senders: RunningProgram[] = []
    const taps: Dump[] = []
    const ns = (name: string): Netns => {
      const opened = openNetns(`/run/netns/${prefix}-${name}`)
      namespaces.push(opened)
      return opened
    }
    try {
      for (const node of TOPOLOGY.nodes)
        for (const group of Object.values(GROUPS)) await site.enableGroup(node, parseIpv4(group))
      for (const { name } of TOPOLOGY.pods) taps.push(await dump(ns(name), name, folder))
      const targets = site.map.nodes.map(({ address }) => `${formatIpv4(address)}:${METRICS_PORT}`)
      const prometheus = await Prometheus.start(ns('n1'), { folder: join(folder, 'prometheus'), targets, everyS })
      for (const [pod, all] of Object.entries(RECEIVERS))
        for (const words of all) receivers.push(await traffic(ns(pod), ['receive', ...words]))
      for (const [pod, words] of Object.entries(SENDERS)) senders.push(await traffic(ns(pod), ['send', ...words]))
      const to = formatIpv4(site.map.pods.find(({ name }) => name === 'n2-1')?.address ?? 0)
      senders.push(await traffic(ns('n1-3'), ['send', to, '6000', '400', '1', '20']))
      return new PrometheusBed(site, prometheus, { folder, taps, senders, receivers, namespaces })
    } catch (error) {
      for (const program of [...senders, ...receivers, ...taps]) await program.stop()
      await site.close()
      throw error
    }
  }

  /** As if Grafana asked: its variables put in. */
  static expressionOf(expr: string, rateIntervalS: number): string {
    return expr.replaceAll('$__rate_interval', `${rateIntervalS}s`).replaceAll('$group', '2(2[4-9]|3[0-9])[.].*')
  }

  /** Receivers stay: what is on its way finds its socket. */
  async stopSenders(): Promise<void> {
    await Promise.all(this.#senders.map(program => program.stop()))
  }

  /** Ends the captures and gives what they have: datagrams at a pod. */
  async wire(): Promise<(pod: string) => { baseNs: bigint; datagrams: readonly WireDatagram[] }> {
    await Promise.all(this.#taps.map(tap => tap.stop()))
    const lossy = this.#taps.filter(({ said }) => !said.some(line => line.startsWith('0 packets dropped by kernel')))
    if (lossy.length > 0) throw new Error(`tcpdump lost frames: ${lossy.flatMap(({ said }) => said).join('; ')}`)
    const recordings = new Map(this.#taps.map(({ pod, file }) => [pod, openRecording(this.#folder, [file])]))
    return pod => {
      const recording = recordings.get(pod)
      if (!recording) throw new RangeError(`no pod ${pod}`)
      return { baseNs: recording.baseNs, datagrams: datagramsAt(recording, 0) }
    }
  }

  async close(): Promise<void> {
    await this.stopSenders()
    await Promise.all([...this.#receivers, ...this.#taps].map(program => program.stop()))
    await this.prometheus.stop()
    for (const ns of this.#namespaces) ns.close()
    await this.site.close()
    rmSync(join(this.#folder, 'prometheus'), { recursive: true, force: true })
  }
}

/** A capture of all UDP at a pod, by a process of its own: this one may be kept waiting for longer than a ring holds. */
interface Dump extends RunningProgram {
  pod: string
  file: string
  said: readonly string[]
}

async function dump(ns: Netns, pod: string, folder: string): Promise<Dump> {
  const said: string[] = []
  const file = `${pod}.pcap`
  const argv = [
    'tcpdump',
    '-Z',
    'root',
    '-B',
    '16384',
    '-i',
    'eth0',
    '--time-stamp-precision=nano',
    '-w',
    join(folder, file),
    'udp',
  ]
  const program = await startProgram(ns, argv, undefined, ({ text }) => said.push(text))
  const endMs = performance.now() + READY_MS
  while (!said.some(line => line.includes('listening on'))) {
    if (performance.now() > endMs) throw new Error(`tcpdump at ${pod}: ${said.join('; ')}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  return { pid: program.pid, stop: () => program.stop(), pod, file, said }
}

/** Resolves when it is ready: a receiver has joined. */
async function traffic(ns: Netns, words: readonly string[]): Promise<RunningProgram> {
  const said: string[] = []
  let tell: (said: string) => void = () => {}
  const first = new Promise<string>(resolve => {
    tell = resolve
  })
  const program = await startProgram(ns, ['python3', TRAFFIC, ...words], undefined, ({ event, text }) => {
    said.push(`${event} ${text}`)
    tell(text)
  })
  if ((await first) !== 'ready') throw new Error(`traffic ${words.join(' ')}: ${said.join('; ')}`)
  return program
}
