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
}

/** Interfaces of the namespace this process is in, as iproute2 tells them. */
export async function interfacesHere(): Promise<AgentInterface[]> {
  const { stdout } = await execa('ip', ['-json', 'addr', 'show'], { timeout: 10_000, stdin: 'ignore' })
  return (JSON.parse(stdout) as IpLink[]).map(interfaceOf)
}

function interfaceOf({ ifname, ifindex, link_index, address, mtu, flags, addr_info }: IpLink): AgentInterface {
  const isMac = address !== undefined && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(address)
  return {
    name: ifname,
    index: ifindex,
    ...(link_index === undefined ? {} : { peerIndex: link_index }),
    ...(isMac ? { mac: address } : {}),
    mtuBytes: mtu,
    up: flags.includes('UP'),
    addresses: addr_info.flatMap(({ family, local }) => (family === 'inet' && local !== undefined ? [local] : [])),
  }
}
