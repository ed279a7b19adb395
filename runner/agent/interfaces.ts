import { execa } from 'execa'
import type { AgentInterface } from './protocol.ts'

interface IpLink {
  ifname: string
  ifindex: number
  link_index?: number
  address?: string
  mtu: number
  flags: string[]
  addr_info: { family: string; local?: string }[]
  linkinfo?: { info_kind?: string; info_data?: { id?: number; port?: number } }
}

/** Interfaces of the namespace this process is in, as iproute2 tells them. */
export async function interfacesHere(): Promise<AgentInterface[]> {
  const { stdout } = await execa('ip', ['-json', '-details', 'addr', 'show'], { timeout: 10_000, stdin: 'ignore' })
  return (JSON.parse(stdout) as IpLink[]).map(interfaceOf)
}

function interfaceOf({
  ifname,
  ifindex,
  link_index,
  address,
  mtu,
  flags,
  addr_info,
  linkinfo,
}: IpLink): AgentInterface {
  const isMac = address !== undefined && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(address)
  return {
    name: ifname,
    index: ifindex,
    ...(link_index === undefined ? {} : { peerIndex: link_index }),
    ...(isMac ? { mac: address } : {}),
    ...(linkinfo?.info_kind === 'vxlan' ? { vxlan: vxlanOf(linkinfo.info_data ?? {}) } : {}),
    mtuBytes: mtu,
    up: flags.includes('UP'),
    addresses: addr_info.flatMap(({ family, local }) => (family === 'inet' && local !== undefined ? [local] : [])),
  }
}

/** A device that takes the VNI from each packet's tunnel key has none of its own. */
function vxlanOf({ id, port }: { id?: number; port?: number }): { vni?: number; udpPort?: number } {
  return { ...(id === undefined ? {} : { vni: id }), ...(port === undefined ? {} : { udpPort: port }) }
}
