import { closeSync, existsSync, openSync, readdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { execa } from 'execa'
import { inNetns, type Netns, openNetns } from '../generators/linux/netns.ts'
import { asIpv4, isMulticast, parseIpv4, parseMac } from '../generators/wire/address.ts'
import { UserError } from './suite/errors.ts'

const NAMED = '/run/netns'

/** The namespace that the user named, by path or by its name in iproute2; undefined is the one we are in. */
export function namedNamespace(netns: string | undefined): Netns | undefined {
  if (netns === undefined) return undefined
  const path = netns.includes('/') ? netns : `${NAMED}/${netns}`
  if (existsSync(path)) return openNetns(path)
  const names = existsSync(NAMED) ? readdirSync(NAMED) : []
  const hint = names.length > 0 ? `there are ${names.slice(0, 12).join(', ')}` : 'there is none with a name here'
  throw new UserError('no-namespace', `no network namespace ${netns}`, { hint })
}

/** An interface that a person named, as the kernel describes it. */
export interface NamedInterface {
  name: string
  index: number
  mac: number
  /** Its first IPv4 address. */
  address: number | undefined
  up: boolean
}

interface IpLink {
  ifname: string
  ifindex: number
  address?: string
  flags: string[]
  addr_info: { family: string; local: string }[]
}

export async function namedInterface(name: string, namespace: Netns | undefined): Promise<NamedInterface> {
  const list = () => execa('ip', ['-json', 'address', 'show'])
  const { stdout } = await (namespace ? inNetns(namespace, list) : list())
  const links = JSON.parse(stdout) as IpLink[]
  const link = links.find(one => one.ifname === name)
  if (link === undefined) {
    const names = links.map(one => one.ifname).slice(0, 12)
    throw new UserError('no-interface', `no interface ${name} there`, { hint: `there are ${names.join(', ')}` })
  }
  const local = link.addr_info.find(one => one.family === 'inet')?.local
  return {
    name,
    index: link.ifindex,
    mac: link.address === undefined ? 0 : parseMac(link.address),
    address: local === undefined ? undefined : parseIpv4(local),
    up: link.flags.includes('UP'),
  }
}

/** As namedInterface, for those that must be able to send. */
export async function sendingInterface(name: string, namespace: Netns | undefined): Promise<NamedInterface> {
  const found = await namedInterface(name, namespace)
  if (found.up) return found
  throw new UserError('interface-down', `interface ${name} is down`, { hint: `ip link set dev ${name} up` })
}

/** An address from the command line. */
export function givenAddress(option: string, text: string): number {
  const address = asIpv4(text)
  if (address !== undefined) return address
  throw new UserError('bad-address', `${option} ${text} is no IPv4 address`, { hint: 'for example 233.252.0.1' })
}

/** A group from the command line: 224.0.0.0/4 (RFC 1112 section 4). */
export function givenGroup(option: string, text: string): number {
  const address = givenAddress(option, text)
  if (isMulticast(address)) return address
  throw new UserError('not-a-group', `${option} ${text} is not a multicast group`, {
    hint: 'groups are 224.0.0.0 to 239.255.255.255; 233.252.0.0/24 is for tests',
  })
}

/** The absolute path of a file that can be written; a name that cannot is the user's mistake, found before anything starts. */
export function writablePath(path: string, cwd: string): string {
  const absolute = resolve(cwd, path)
  try {
    closeSync(openSync(absolute, 'a'))
    return absolute
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    const why = { ENOENT: 'there is no such folder', ENOTDIR: 'a file is in the way', EISDIR: 'it is a folder' }[code]
    if (why === undefined) throw error
    throw new UserError('cannot-write', `cannot write ${path}: ${why}`)
  }
}
