import { FlowExporter } from '../../bpf/flow-exporter.ts'
import { type FaultyInterface, ROUTER_FAULTS, RouterFaults } from '../../bpf/router-faults.ts'
import { DIRECTION } from '../../captures/record.ts'
import { Tap } from '../../captures/tap.ts'
import { inNetns, interfaceIndex, type Netns } from '../../generators/linux/netns.ts'
import { formatIpv4 } from '../../generators/wire/address.ts'
import { IP_PROTOCOL } from '../../generators/wire/ipv4.ts'
import type { SiteMap } from '../check/check.ts'
import type { Endpoint } from '../endpoint.ts'
import { LocalEndpoint } from '../endpoint-local.ts'
import type { GroupTable } from '../observation.ts'
import { type Capability, probe } from '../probe.ts'
import { UserError } from '../suite/errors.ts'
import type { ExporterWanted, RouterSetup, Topology } from '../suite/plan-types.ts'
import { LocalTap } from './local-tap.ts'
import { ip, setDeviceUp } from './namespaces.ts'
import type { Daemons } from './router/daemon.ts'
import { groupTables, readMroute } from './router/mroute.ts'
import { startSoftflowd, startUacctd } from './router/packaged-exporter.ts'
import { untilReady } from './router/ready.ts'
import { type BedHost, macOf, RouterBed } from './router/router-bed.ts'
import {
  COLLECTOR,
  COLLECTOR_ADDRESS,
  COLLECTOR_PORT,
  EXPORTER_ADDRESS,
  FIRST_HOP,
  ROUTERS,
} from './router/topology.ts'
import { startRouting } from './router/variants.ts'
import type { SiteTap } from './site-tap.ts'
import type { BringUpOptions, Site, SiteExporter, TapsWanted, Target } from './target.ts'
import { witnessCounters } from './witness.ts'

/** At 500 a second, 40 ms: FRR changes to the source's own tree within 20. */
const SETTLE_FRAMES = 20
const TO_COLLECTOR = {
  destination: COLLECTOR_ADDRESS,
  port: COLLECTOR_PORT,
  sourcePort: 0,
}
const IP_PROTOCOL_AT = 14 + 9
/** Unless a profile says otherwise. */
const DEFAULT_SETUP: RouterSetup = { multicast: 'static', exporter: 'reference' }

/** The network of the NetFlow document: real daemons over the kernel's multicast routing, in namespaces. */
export const router: Target = {
  name: 'router',
  description: "Linux multicast routing with real PIM-SM daemons in the NetFlow document's topology",
  labTopology: {
    nodes: ROUTERS.map(({ name }) => name),
    pods: ROUTERS.map(({ name }) => ({ name: `${name}-1`, node: name })),
  },
  async probe(): Promise<Capability[]> {
    return (await probe()).filter(capability => capability.neededFor.includes('router'))
  },
  async bringUp(topology: Topology, options: BringUpOptions, stop: AbortSignal): Promise<Site> {
    requireDocument(topology)
    const bed = await RouterBed.create(
      topology.pods.map(pod => pod.name),
      options.prefix,
    )
    const site = new RouterSite(bed, topology.router ?? DEFAULT_SETUP, options.faults)
    try {
      await site.start(stop)
      return site
    } catch (error) {
      await site.close()
      throw error
    }
  },
}

/** The topology is the document's: a suite chooses among its places. */
function requireDocument(topology: Topology): void {
  const places = ROUTERS.map(({ name }) => name)
  const strange = [
    ...topology.nodes.filter(node => !places.includes(node)),
    ...topology.pods.map(pod => pod.name).filter(pod => !places.some(place => pod === `${place}-1`)),
  ]
  if (strange.length === 0) return
  throw new UserError('not-in-topology', `the router target has no ${strange.join(', ')}`, {
    hint: `nodes are ${places.join(', ')}, with one endpoint on each; on r1 it is the source`,
  })
}

class RouterSite implements Site {
  private readonly bed: RouterBed
  private readonly setup: RouterSetup
  private readonly faults: readonly string[]
  private readonly faultyRouters: RouterFaults[] = []
  private readonly daemons: Daemons[] = []
  private readonly endpoints = new Map<string, LocalEndpoint>()
  private readonly killed = new Set<string>()
  private readonly down = new Map<string, { pod: string } | { node: string }>()

  /** Of the daemon on R1, which is the Rendezvous Point and makes the copies. */
  version = ''
  /** Routers learn a source from its first datagrams and may lose some of those while the tree changes (RFC 7761 §4.2.1). */
  readonly settleFrames = SETTLE_FRAMES

  constructor(bed: RouterBed, setup: RouterSetup, faults: readonly string[]) {
    this.bed = bed
    this.setup = setup
    this.faults = faults
  }

  async start(stop: AbortSignal): Promise<void> {
    const { daemons, conditions, limitMs, version } = await startRouting(this.bed, this.setup, this.daemons)
    await untilReady(conditions, daemons, limitMs, stop)
    this.version = await version()
    this.breakRouters()
  }

  get map(): SiteMap {
    return {
      collector: { tap: `${COLLECTOR}/eth0`, port: COLLECTOR_PORT },
      nodes: [...this.bed.routers.values()].map(({ name, place, indices }) => ({
        name,
        address: place.loopback,
        interfaceTaps: place.interfaces.map(item => `${name}/${item.name}`),
        interfaceIndices: Object.fromEntries(indices),
      })),
      pods: [...this.bed.hosts.values()].map(host => ({
        name: host.name,
        node: host.router.name,
        address: host.address,
        mac: host.mac,
        gatewayMac: macOf(host.gateway.address),
        podTap: `${host.name}/eth0`,
        nodeTap: `${host.router.name}/${host.gateway.name}`,
      })),
    }
  }

  endpoint(name: string): Endpoint {
    const known = this.endpoints.get(name)
    if (known) return known
    const endpoint = new LocalEndpoint(this.host(name))
    this.endpoints.set(name, endpoint)
    return endpoint
  }

  async openTaps({ directory, prefix }: TapsWanted): Promise<SiteTap[]> {
    const open = (place: string, ns: Netns, names: ReadonlyMap<number, string>): Tap =>
      Tap.open({ ns, directory, file: `taps/${prefix}-${place}.pcapng`, nameOf: index => names.get(index) })
    const routers = [...this.bed.routers.values()].map(({ name, ns, indices }) =>
      open(name, ns, new Map([...indices].map(([item, index]) => [index, `${name}/${item}`]))),
    )
    const hosts = [...this.bed.hosts.values()].map(({ name, ns }) => {
      const tap = open(name, ns, ethernetOf(ns, name))
      tap.watch((frame, _, direction) => this.hear(name, frame, direction))
      return tap
    })
    const { collector } = this.bed
    const all = [...routers, ...hosts, open(COLLECTOR, collector, ethernetOf(collector, COLLECTOR))]
    return all.map(tap => new LocalTap(tap))
  }

  /** Emulated hosts hear their querier through the tap. */
  private hear(host: string, frame: Uint8Array, direction: number): void {
    if (direction === DIRECTION.in && frame[IP_PROTOCOL_AT] === IP_PROTOCOL.IGMP) this.endpoints.get(host)?.heard(frame)
  }

  // Routers forward any group that somebody has joined: there is nothing to enable.
  async enableGroup(): Promise<void> {}

  async tryEnableGroup(): Promise<boolean> {
    return true
  }

  async disableGroup(): Promise<void> {}

  async tables(node: string): Promise<GroupTable[]> {
    return groupTables(inNetns(this.bed.router(node).ns, readMroute))
  }

  async drops(node: string): Promise<Record<string, number>> {
    const entries = inNetns(this.bed.router(node).ns, readMroute)
    return { 'wrong-interface': entries.reduce((sum, { wrongInterface }) => sum + wrongInterface, 0) }
  }

  async witness(): Promise<Record<string, number>> {
    return witnessCounters(this.bed.routers.values())
  }

  async startExporter(node: string, config: ExporterWanted): Promise<SiteExporter> {
    const router = this.bed.router(node)
    if (this.setup.exporter === 'softflowd') return startSoftflowd(router, config)
    if (this.setup.exporter === 'uacctd') return startUacctd(router, config)
    const { ns, place } = router
    const source = node === FIRST_HOP ? EXPORTER_ADDRESS : place.loopback
    const exporter = { ...config.exporter, ...TO_COLLECTOR, source }
    const interfaces = place.interfaces.map(item => item.name)
    const running = FlowExporter.start(ns, interfaces, { ...config, exporter }, this.faults)
    return { product: 'reference exporter', flush: () => running.flush(), close: async () => running.close() }
  }

  async setLink(what: { pod: string } | { node: string }, up: boolean): Promise<void> {
    const { ns, name } = this.linkOf(what)
    await setDeviceUp(ns, name, up)
    const key = JSON.stringify(what)
    if (up) this.down.delete(key)
    else this.down.set(key, what)
  }

  /** A node's link is its way to the Rendezvous Point. */
  private linkOf(what: { pod: string } | { node: string }): { ns: Netns; name: string } {
    if ('pod' in what) {
      const { router, gateway } = this.host(what.pod)
      return { ns: router.ns, name: gateway.name }
    }
    const { ns, place } = this.bed.router(what.node)
    const core = place.interfaces.filter(({ kind }) => kind === 'core')
    const [only] = core
    if (!only || core.length > 1) throw new RangeError(`${what.node} has more than one link: name an endpoint instead`)
    return { ns, name: only.name }
  }

  /** The host falls silent: its interface goes down, no leave is sent. */
  async kill(pod: string): Promise<void> {
    const { ns, podInterface } = this.host(pod)
    await this.endpoints.get(pod)?.close()
    this.endpoints.delete(pod)
    await setDeviceUp(ns, podInterface, false)
    this.killed.add(pod)
  }

  async restore(): Promise<boolean> {
    const changed = this.killed.size > 0 || this.down.size > 0
    for (const what of [...this.down.values()]) await this.setLink(what, true)
    for (const pod of [...this.killed]) await this.revive(pod)
    return changed
  }

  async revive(pod: string): Promise<void> {
    if (!this.killed.delete(pod)) return
    const { ns, podInterface, gateway } = this.host(pod)
    await setDeviceUp(ns, podInterface, true)
    // With the interface its routes went.
    await ip(ns, [`route add default via ${formatIpv4(gateway.address)} dev ${podInterface}`])
  }

  async restartAgent(node: string): Promise<void> {
    throw new RangeError(`${node}: routing daemons are not restarted`)
  }

  unreachable(): ReadonlySet<string> {
    const gone = new Set(this.killed)
    for (const what of this.down.values()) {
      if ('pod' in what) gone.add(what.pod)
      else for (const host of this.bed.hosts.values()) if (host.router.name === what.node) gone.add(host.name)
    }
    return gone
  }

  private breakRouters(): void {
    if (!ROUTER_FAULTS.some(({ name }) => this.faults.includes(name))) return
    for (const { name, ns, indices } of this.bed.routers.values()) {
      const interfaces = [...indices].map(([item, index]) => ({ index, ...faultPlaces(name, item, indices) }))
      this.faultyRouters.push(RouterFaults.attach(this.faults, ns, interfaces))
    }
  }

  async close(): Promise<void> {
    for (const faulty of this.faultyRouters.splice(0)) faulty.close()
    for (const endpoint of this.endpoints.values()) await endpoint.close()
    await Promise.all(this.daemons.map(daemons => daemons.stop()))
    await this.bed.close()
  }

  private host(name: string): BedHost {
    const host = this.bed.hosts.get(name)
    if (!host) throw new RangeError(`the site has no host ${name}`)
    return host
  }
}

/** Where a fault of routers has its copies leave: see router-faults.ts. */
function faultPlaces(
  router: string,
  item: string,
  indices: ReadonlyMap<string, number>,
): Omit<FaultyInterface, 'index'> {
  const to = (name: string) => indices.get(name) ?? 0
  if (router === FIRST_HOP && item === 'gi1-0')
    return { detours: { 'link-local-forwarded': to('gi2-0'), 'copy-unasked': to('gi2-0') } }
  if (router === 'r4' && item === 'gi0-0') return { detours: { 'rpf-ignored': to('gi0-1') } }
  return router === FIRST_HOP && item === 'gi5-0' ? { isThird: true } : {}
}

function ethernetOf(ns: Netns, place: string): Map<number, string> {
  return new Map([[inNetns(ns, () => interfaceIndex('eth0')), `${place}/eth0`]])
}
