import { setFeatures } from '../../../generators/linux/ethtool.ts'
import { inNetns, interfaceIndex, type Netns } from '../../../generators/linux/netns.ts'
import { formatIpv4, formatMac } from '../../../generators/wire/address.ts'
import type { LocalHost } from '../../endpoint-local.ts'
import { ip, QuietNamespaces, writeSysctl } from '../namespaces.ts'
import {
  COLLECTOR,
  COLLECTOR_ADDRESS,
  hostAddress,
  ROUTERS,
  type RouterInterface,
  type RouterPlace,
} from './topology.ts'

export interface BedRouter {
  name: string
  place: RouterPlace
  ns: Netns
  /** By name. */
  indices: Map<string, number>
}

export interface BedHost extends LocalHost {
  router: BedRouter
  /** The router's interface on the host's network. */
  gateway: RouterInterface
}

/** One end of a link as it is made. */
interface End {
  ns: Netns
  name: string
  address: number
  mac: number
  prefixBits: number
}

/** Routers, hosts and the collector of the document as network namespaces, linked and addressed, before any daemon runs. */
export class RouterBed {
  readonly routers = new Map<string, BedRouter>()
  readonly hosts = new Map<string, BedHost>()
  private collectorNs: Netns | undefined
  private readonly namespaces: QuietNamespaces

  private constructor(prefix: string | undefined) {
    this.namespaces = new QuietNamespaces(prefix)
  }

  /** Brings everything up, or nothing. Of the hosts, those that are named: `r1-1` is the source. */
  static async create(hosts: readonly string[], prefix?: string): Promise<RouterBed> {
    const bed = new RouterBed(prefix)
    try {
      for (const place of ROUTERS) await bed.makeRouter(place)
      bed.collectorNs = await bed.namespaces.make(COLLECTOR)
      await bed.linkAll(new Set(hosts))
      return bed
    } catch (error) {
      await bed.close()
      throw error
    }
  }

  get collector(): Netns {
    if (!this.collectorNs) throw new RangeError('the bed is closed')
    return this.collectorNs
  }

  router(name: string): BedRouter {
    const found = this.routers.get(name)
    if (!found) throw new RangeError(`there is no router ${name}`)
    return found
  }

  private async makeRouter(place: RouterPlace): Promise<void> {
    const ns = await this.namespaces.make(place.name)
    inNetns(ns, () => writeSysctl('/proc/sys/net/ipv4/ip_forward', '1'))
    await ip(ns, ['link set lo up', `addr add ${formatIpv4(place.loopback)}/32 dev lo`])
    this.routers.set(place.name, { name: place.name, place, ns, indices: new Map() })
  }

  private async linkAll(hosts: ReadonlySet<string>): Promise<void> {
    for (const router of this.routers.values()) {
      for (const item of router.place.interfaces) await this.linkOne(router, item, hosts)
    }
    for (const { ns, place, indices } of this.routers.values())
      inNetns(ns, () => {
        for (const { name } of place.interfaces) indices.set(name, interfaceIndex(name))
      })
  }

  private async linkOne(router: BedRouter, item: RouterInterface, hosts: ReadonlySet<string>): Promise<void> {
    const { peer } = item
    const near = endOf(router, item)
    if ('collector' in peer) return link(near, hostEnd(this.collector, COLLECTOR_ADDRESS))
    if ('host' in peer) return this.linkHost(router, item, hosts.has(peer.host) ? peer.host : undefined)
    // Each link once, from the side that is named first.
    if (router.name > peer.router) return
    const far = this.router(peer.router)
    await link(near, endOf(far, interfaceOf(far.place, peer.interface)))
  }

  /** A network without its host is there all the same: a router's interface that leads nowhere. */
  private async linkHost(router: BedRouter, item: RouterInterface, name: string | undefined): Promise<void> {
    const ns = await this.namespaces.make(name ?? `${router.name}-nobody`)
    const end = hostEnd(ns, hostAddress(item))
    await link(endOf(router, item), end)
    await ip(ns, [`route add default via ${formatIpv4(item.address)} dev eth0`])
    if (name === undefined) return
    const { address, mac } = end
    this.hosts.set(name, { name, address, mac, ns, podInterface: 'eth0', router, gateway: item })
  }

  async close(): Promise<void> {
    this.routers.clear()
    this.hosts.clear()
    this.collectorNs = undefined
    await this.namespaces.close()
  }
}

export function macOf(address: number): number {
  return 0x0200_0000_0000 + address
}

function hostEnd(ns: Netns, address: number): End {
  return { ns, name: 'eth0', address, mac: macOf(address), prefixBits: 24 }
}

function endOf({ ns }: BedRouter, { name, address, prefixBits }: RouterInterface): End {
  return { ns, name, address, mac: macOf(address), prefixBits }
}

function interfaceOf(place: RouterPlace, name: string): RouterInterface {
  const found = place.interfaces.find(item => item.name === name)
  if (!found) throw new RangeError(`${place.name} has no interface ${name}`)
  return found
}

/** A veth pair, addressed, with the neighbour fixed at both ends. */
async function link(near: End, far: End): Promise<void> {
  await ip(near.ns, [
    `link add ${near.name} address ${formatMac(near.mac)} type veth peer name ${far.name} address ${formatMac(far.mac)} netns ${far.ns.path}`,
  ])
  await Promise.all([configure(near, far), configure(far, near)])
}

async function configure(end: End, peer: End): Promise<void> {
  await ip(end.ns, [
    `addr add ${formatIpv4(end.address)}/${end.prefixBits} dev ${end.name}`,
    `link set ${end.name} up`,
    `neigh add ${formatIpv4(peer.address)} lladdr ${formatMac(peer.mac)} dev ${end.name} nud permanent`,
  ])
  inNetns(end.ns, () => {
    // A queue of its own for each veth: a burst does not overflow the CPU's backlog.
    setFeatures([end.name], 'gro', true)
    setFeatures([end.name], 'tso', false)
  })
}
