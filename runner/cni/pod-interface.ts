import { createHash } from 'node:crypto'
import { execa } from 'execa'
import { setFeatures } from '../../generators/linux/ethtool.ts'
import { inNetns, type Netns } from '../../generators/linux/netns.ts'
import { formatIpv4, formatMac, parseIpv4 } from '../../generators/wire/address.ts'
import { GATEWAY } from '../target/bed.ts'
import { ip } from '../target/namespaces.ts'
import { noIpv6 } from './node-network.ts'

/** A pod's veth as its node knows it. The node end's alias says whose it is, so nothing about pods is kept in files. */
export interface PodInterface {
  containerId: string
  ifName: string
  address: number
  mac: number
  nodeMac: number
  nodeInterface: string
  ifindex: number
}

const ALIAS = 'castproof'
/** Names that `nodeInterfaceOf` makes. */
const OWN_NAME = /^lxc[0-9a-f]{12}$/

/** Unlikely to meet another's, and found again without a search. */
export function nodeInterfaceOf(containerId: string, ifName: string): string {
  return `lxc${createHash('sha256').update(`${containerId}/${ifName}`).digest('hex').slice(0, 12)}`
}

const podMac = (address: number) => 0x0200_0000_0000 + address
const nodeMac = (address: number) => 0x0201_0000_0000 + address

interface Link {
  ifname: string
  ifindex: number
  ifalias?: string
}

/** Every pod that has a veth on this node now, whoever made it and when. */
export async function listPods(node: Netns): Promise<PodInterface[]> {
  return (await links(node)).flatMap(link => podOf(link) ?? [])
}

/** Those that a killed agent had not finished. */
export async function removeUnfinished(node: Netns): Promise<void> {
  for (const link of await links(node))
    if (OWN_NAME.test(link.ifname) && podOf(link) === undefined) await ip(node, [`link del ${link.ifname}`])
}

async function links(node: Netns): Promise<Link[]> {
  const { stdout } = await inNetns(node, () => execa('ip', ['-json', 'link', 'show', 'type', 'veth']))
  return JSON.parse(stdout || '[]') as Link[]
}

function podOf({ ifname, ifindex, ifalias = '' }: Link): PodInterface | undefined {
  const [mark, containerId, ifName, text] = ifalias.split(' ')
  if (mark !== ALIAS || !containerId || !ifName || !text) return undefined
  const address = parseIpv4(text)
  return {
    containerId,
    ifName,
    address,
    mac: podMac(address),
    nodeMac: nodeMac(address),
    nodeInterface: ifname,
    ifindex,
  }
}

export interface WantedPod {
  containerId: string
  ifName: string
  address: number
  mtuBytes: number
  /** What the node's own programs have as source towards the pod. */
  nodeAddress: number
}

/** Makes the veth with both ends up; its alias comes last, for it says that all before it was done. */
export async function addPod(node: Netns, pod: Netns, wanted: WantedPod): Promise<PodInterface> {
  const { containerId, ifName, address, mtuBytes } = wanted
  const name = nodeInterfaceOf(containerId, ifName)
  const [own, other, text] = [formatMac(nodeMac(address)), formatMac(podMac(address)), formatIpv4(address)]
  try {
    await ip(node, [
      `link add ${name} address ${own} mtu ${mtuBytes} type veth peer name ${ifName} address ${other} mtu ${mtuBytes} netns ${pod.path}`,
      `link set ${name} up`,
      `neigh add ${text} lladdr ${other} dev ${name} nud permanent`,
      `route replace ${text}/32 dev ${name} src ${formatIpv4(wanted.nodeAddress)}`,
    ])
    inNetns(node, () => {
      // Without both this and gro at the pod's end, copies for many pods overflow the CPU's backlog.
      setFeatures([name], 'tso', false)
      noIpv6(name)
    })
    inNetns(pod, () => noIpv6(ifName))
    await ip(pod, podLines(wanted))
    inNetns(pod, () => setFeatures([ifName], 'gro', true))
    await ip(node, [`link set ${name} alias "${ALIAS} ${containerId} ${ifName} ${text}"`])
  } catch (error) {
    await ip(node, [`link del ${name}`]).catch(() => {})
    throw error
  }
  const made = (await listPods(node)).find(one => one.nodeInterface === name)
  if (!made) throw new Error(`${name} is gone as soon as it was made`)
  return made
}

function podLines({ ifName, address }: WantedPod): string[] {
  return [
    'link set lo up',
    `addr add ${formatIpv4(address)}/32 dev ${ifName}`,
    `link set ${ifName} up`,
    `route add ${GATEWAY} dev ${ifName} scope link`,
    `neigh add ${GATEWAY} lladdr ${formatMac(nodeMac(address))} dev ${ifName} nud permanent`,
    `route add default via ${GATEWAY} dev ${ifName}`,
  ]
}

/** The pod's end goes with it. */
export async function removePod(node: Netns, nodeInterface: string): Promise<void> {
  await ip(node, [`link del ${nodeInterface}`]).catch((error: unknown) => {
    if (!String((error as { stderr?: string }).stderr).includes('Cannot find device')) throw error
  })
}

/** What a CHECK finds wrong at the pod's end; undefined: nothing. */
export async function faultOfPod(pod: Netns, wanted: PodInterface): Promise<string | undefined> {
  const { stdout } = await inNetns(pod, () => execa('ip', ['-json', 'addr', 'show'], { reject: false }))
  const found = (JSON.parse(stdout || '[]') as AddressedLink[]).find(link => link.ifname === wanted.ifName)
  if (!found) return `the pod has no interface ${wanted.ifName}`
  if (found.address !== formatMac(wanted.mac)) return `${wanted.ifName} has MAC ${found.address}`
  const addresses = found.addr_info.map(({ local }) => local)
  if (!addresses.includes(formatIpv4(wanted.address)))
    return `${wanted.ifName} has ${addresses.join(', ') || 'no address'}, not ${formatIpv4(wanted.address)}`
  return found.flags.includes('UP') ? undefined : `${wanted.ifName} is down`
}

interface AddressedLink {
  ifname: string
  address: string
  flags: string[]
  addr_info: { local: string }[]
}
