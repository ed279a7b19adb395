import { formatIpv4, parseIpv4 } from '../../../generators/wire/address.ts'
import type { RouterSetup } from '../../suite/plan-types.ts'
import { Daemons } from './daemon.ts'
import { frrVersion, startFrr } from './frr.ts'
import { type Condition, neighborThere, routeThere, rpKnown } from './ready.ts'
import type { BedRouter, RouterBed } from './router-bed.ts'
import { FIRST_HOP, RP_ADDRESS } from './topology.ts'

/** The daemons that route, and what must be true before anything is sent. */
export interface Routing {
  daemons: Daemons[]
  conditions: Condition[]
  limitMs: number
  /** Of the daemon on R1. */
  version(): Promise<string>
}

export async function startRouting(bed: RouterBed, { multicast }: RouterSetup, started: Daemons[]): Promise<Routing> {
  switch (multicast) {
    case 'static':
      return startStatic(bed, started)
  }
}

const STATIC_LIMIT_MS = 60_000

/** FRR everywhere; each router is told that 1.1.1.1 is the Rendezvous Point. */
async function startStatic(bed: RouterBed, started: Daemons[]): Promise<Routing> {
  const pairs = [...bed.routers.values()].map(router => ({ router, daemons: new Daemons(router.name, router.ns) }))
  started.push(...pairs.map(({ daemons }) => daemons))
  await Promise.all(pairs.map(({ router, daemons }) => startFrr(daemons, router.place, { pim: true, staticRp: true })))
  return {
    daemons: started,
    conditions: [
      ...unicastRoutes(bed),
      ...pairs.flatMap(({ router, daemons }) => [
        ...coreInterfaces(router).map(name => neighborThere(router, daemons, name)),
        rpKnown(router, daemons, formatIpv4(RP_ADDRESS)),
      ]),
    ],
    limitMs: STATIC_LIMIT_MS,
    version: () => frrVersion(started[0]),
  }
}

function coreInterfaces({ place }: BedRouter): string[] {
  return place.interfaces.filter(({ kind }) => kind === 'core').map(({ name }) => name)
}

/** Every router knows the way to every network with a host, and to the Rendezvous Point. */
function unicastRoutes(bed: RouterBed): Condition[] {
  const lans = [1, 2, 3, 4].map(n => `192.168.${n}.0`)
  return [...bed.routers.values()].flatMap(router => {
    const wanted = router.name === FIRST_HOP ? lans : [...lans, formatIpv4(RP_ADDRESS)]
    return wanted.map(network => routeThere(router, kernelHex(network), network))
  })
}

/** As /proc/net/route shows it: the octets in memory order of a little-endian machine. */
function kernelHex(network: string): string {
  const octets = Buffer.alloc(4)
  octets.writeUInt32LE(parseIpv4(network))
  return octets.toString('hex').toUpperCase()
}
