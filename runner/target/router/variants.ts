import { formatIpv4, parseIpv4 } from '../../../generators/wire/address.ts'
import type { RouterSetup } from '../../suite/plan-types.ts'
import { Daemons } from './daemon.ts'
import { frrVersion, startFrr } from './frr.ts'
import { makePimdLoopback, PIMD_LOOPBACK, pimdVersion, startPimd } from './pimd.ts'
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
    case 'bsr':
      return startBsr(bed, started)
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

/** The Bootstrap message that first carries the Rendezvous Point is one of the first three, 30 s apart. */
const BSR_LIMIT_MS = 180_000

/** As in the document: R1 is candidate BSR and candidate RP (pimd, for FRR 8 cannot be), the others learn it (FRR). */
async function startBsr(bed: RouterBed, started: Daemons[]): Promise<Routing> {
  const first = bed.router(FIRST_HOP)
  await makePimdLoopback(first)
  const pairs = [...bed.routers.values()].map(router => ({ router, daemons: new Daemons(router.name, router.ns) }))
  started.push(...pairs.map(({ daemons }) => daemons))
  await Promise.all(
    pairs.map(async ({ router, daemons }) => {
      if (router !== first) return startFrr(daemons, router.place, { pim: true, staticRp: false })
      await startFrr(daemons, router.place, { pim: false, staticRp: false, loopback: PIMD_LOOPBACK })
      return startPimd(daemons, router)
    }),
  )
  const edges = pairs.filter(({ router }) => router !== first)
  return {
    daemons: started,
    conditions: [
      ...unicastRoutes(bed, '1.1.1.0'),
      ...edges.flatMap(({ router, daemons }) => [
        ...coreInterfaces(router).map(name => neighborThere(router, daemons, name)),
        rpKnown(router, daemons, formatIpv4(RP_ADDRESS)),
      ]),
    ],
    limitMs: BSR_LIMIT_MS,
    version: pimdVersion,
  }
}

function coreInterfaces({ place }: BedRouter): string[] {
  return place.interfaces.filter(({ kind }) => kind === 'core').map(({ name }) => name)
}

/** Every router knows the way to every network with a host, and to the Rendezvous Point. */
function unicastRoutes(bed: RouterBed, rpNetwork = formatIpv4(RP_ADDRESS)): Condition[] {
  const lans = [1, 2, 3, 4].map(n => `192.168.${n}.0`)
  return [...bed.routers.values()].flatMap(router => {
    const wanted = router.name === FIRST_HOP ? lans : [...lans, rpNetwork]
    return wanted.map(network => routeThere(router, kernelHex(network), network))
  })
}

/** As /proc/net/route shows it: the octets in memory order of a little-endian machine. */
function kernelHex(network: string): string {
  const octets = Buffer.alloc(4)
  octets.writeUInt32LE(parseIpv4(network))
  return octets.toString('hex').toUpperCase()
}
