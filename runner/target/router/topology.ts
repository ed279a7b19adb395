import { parseIpv4 } from '../../../generators/wire/address.ts'

/**
 * The network of the founding document "Multicast Traffic Monitoring and NetFlow", its contradictions resolved as the
 * folder's README says. Interface names are the document's with `/` written `-`: GigabitEthernet1/0 is gi1-0.
 */
export interface RouterInterface {
  name: string
  address: number
  prefixBits: number
  /** `lan` has hosts and IGMP, `core` a router at the far end, `collector` neither PIM nor IGMP. */
  kind: 'lan' | 'core' | 'collector'
  /** What is at the far end: a host `<router>-<k>`, another router's interface, the collector. */
  peer: { host: string } | { router: string; interface: string } | { collector: true }
}

export interface RouterPlace {
  name: string
  /** Loopback0, and the router id. */
  loopback: number
  interfaces: RouterInterface[]
}

/** Rendezvous Point and, in the BSR variant, candidate BSR: R1's Loopback0. */
export const RP_ADDRESS = parseIpv4('1.1.1.1')
export const COLLECTOR = 'collector'
export const COLLECTOR_ADDRESS = parseIpv4('192.168.5.1')
/** `transport udp 2055` of the document. */
export const COLLECTOR_PORT = 2055
export const EXPORTER_ADDRESS = parseIpv4('192.168.5.2')
export const FIRST_HOP = 'r1'

const CORE = ['gi2-0', 'gi3-0', 'gi5-0'] as const

/** R1: the source's first hop. */
function firstHop(): RouterPlace {
  const core = CORE.map(
    (name, i): RouterInterface => ({
      name,
      address: parseIpv4(`10.0.${i + 2}.2`),
      prefixBits: 30,
      kind: 'core',
      peer: { router: `r${i + 2}`, interface: 'gi0-1' },
    }),
  )
  const source: RouterInterface = {
    name: 'gi1-0',
    address: parseIpv4('192.168.1.2'),
    prefixBits: 24,
    kind: 'lan',
    peer: { host: 'r1-1' },
  }
  const collector: RouterInterface = {
    name: 'gi4-0',
    address: EXPORTER_ADDRESS,
    prefixBits: 24,
    kind: 'collector',
    peer: { collector: true },
  }
  return { name: FIRST_HOP, loopback: RP_ADDRESS, interfaces: [source, ...core, collector] }
}

/** R2, R3, R4: each has one listener behind it. */
function lastHop(n: number): RouterPlace {
  return {
    name: `r${n}`,
    loopback: parseIpv4(`${n}.${n}.${n}.${n}`),
    interfaces: [
      { name: 'gi0-0', address: parseIpv4(`192.168.${n}.2`), prefixBits: 24, kind: 'lan', peer: { host: `r${n}-1` } },
      {
        name: 'gi0-1',
        address: parseIpv4(`10.0.${n}.1`),
        prefixBits: 30,
        kind: 'core',
        peer: { router: FIRST_HOP, interface: CORE[n - 2] ?? '' },
      },
    ],
  }
}

export const ROUTERS: readonly RouterPlace[] = [firstHop(), lastHop(2), lastHop(3), lastHop(4)]

/** Hosts are at .1 of their network, their router at .2. */
export function hostAddress(lan: RouterInterface): number {
  return lan.address - 1
}
