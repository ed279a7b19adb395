import { writeFileSync } from 'node:fs'
import { execa } from 'execa'
import { inNetns, interfaceIndex, type Netns } from '../../generators/linux/netns.ts'
import { formatIpv4, formatMac } from '../../generators/wire/address.ts'
import { UserError } from '../suite/errors.ts'
import { OVERLAY_UDP_PORT } from '../target/bed.ts'
import { ip } from '../target/namespaces.ts'

export const OVERLAY = 'cilium_vxlan'
const READY = 'castproof-ready'
const VXLAN_OVERHEAD_BYTES = 50
export const TUNNEL_TTL = 64

/** A network as text and numbers: `10.244.1.0/24`. */
export interface PodNetwork {
  text: string
  first: number
  last: number
}

export interface Uplink {
  name: string
  index: number
  mac: number
  mtuBytes: number
}

/** The interface that has the node's address. */
export async function findUplink(node: Netns, address: number): Promise<Uplink> {
  const { stdout } = await inNetns(node, () => execa('ip', ['-json', 'addr', 'show']))
  const all = JSON.parse(stdout) as AddressedLink[]
  const found = all.find(link => link.addr_info.some(({ local }) => local === formatIpv4(address)))
  if (!found) throw new UserError('uplink', `no interface of this node has its address ${formatIpv4(address)}`)
  const mac = Number.parseInt(found.address.replaceAll(':', ''), 16)
  return { name: found.ifname, index: found.ifindex, mac, mtuBytes: found.mtu }
}

interface AddressedLink {
  ifname: string
  ifindex: number
  address: string
  mtu: number
  addr_info: { local: string }[]
}

/** Of a node's own overlay device: known to the others without asking. */
export function overlayMac(nodeAddress: number): number {
  return 0x0202_0000_0000 + nodeAddress
}

export function podMtuBytes(uplink: Uplink): number {
  return uplink.mtuBytes - VXLAN_OVERHEAD_BYTES
}

/**
 * The overlay device, up, with the node's address in the pods' network: programs of the node that speak to pods of other
 * nodes go through the overlay there and back. Everything below goes with the device.
 */
export async function makeOverlay(node: Netns, address: number, pods: PodNetwork, mtuBytes: number): Promise<number> {
  await removeOverlay(node)
  await ip(node, [
    `link add ${OVERLAY} address ${formatMac(overlayMac(address))} mtu ${mtuBytes} type vxlan external dstport ${OVERLAY_UDP_PORT}`,
    `addr add ${formatIpv4(pods.first)}/32 dev ${OVERLAY}`,
  ])
  const index = inNetns(node, () => {
    noIpv6(OVERLAY)
    // Loose: a node's own address may come out of the overlay.
    writeFileSync(`/proc/sys/net/ipv4/conf/${OVERLAY}/rp_filter`, '2')
    writeFileSync('/proc/sys/net/ipv4/ip_forward', '1')
    return interfaceIndex(OVERLAY)
  })
  await ip(node, [`link set ${OVERLAY} up`])
  return index
}

export async function removeOverlay(node: Netns): Promise<void> {
  await ip(node, [`link del ${OVERLAY}`]).catch((error: unknown) => {
    if (!String((error as { stderr?: string }).stderr).includes('Cannot find device')) throw error
  })
}

/** The datapath is IPv4: router solicitations would only be drops to count. In the namespace of the caller. */
export function noIpv6(name: string): void {
  try {
    writeFileSync(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, '1')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

/** What a readiness probe looks for: a second name of the device, there while the node serves its pods. */
export async function markReady(node: Netns, ready: boolean): Promise<void> {
  await ip(node, [`link property ${ready ? 'add' : 'del'} dev ${OVERLAY} altname ${READY}`])
}

export interface PeerNetwork {
  address: number
  pods: PodNetwork
}

/** Before other routes to the same network, which stay and count again once the device is gone. */
export async function addPeerRoute(node: Netns, own: PodNetwork, vni: number, peer: PeerNetwork): Promise<void> {
  const via = formatIpv4(peer.pods.first)
  await ip(node, [
    `neigh replace ${via} lladdr ${formatMac(overlayMac(peer.address))} dev ${OVERLAY} nud permanent`,
    `route prepend ${routeTo(vni, peer)} via ${via} dev ${OVERLAY} onlink src ${formatIpv4(own.first)}`,
  ])
}

export async function removePeerRoute(node: Netns, peer: PeerNetwork): Promise<void> {
  const via = formatIpv4(peer.pods.first)
  await ip(node, [`route del ${peer.pods.text} dev ${OVERLAY}`, `neigh del ${via} dev ${OVERLAY}`])
}

function routeTo(vni: number, { address, pods }: PeerNetwork): string {
  return `${pods.text} encap ip id ${vni} dst ${formatIpv4(address)} ttl ${TUNNEL_TTL}`
}
