import { writeFileSync } from 'node:fs'
import { execa } from 'execa'
import { createNetns, inNetns, type Netns, openNetns } from '../../generators/linux/netns.ts'

/** Network namespaces that a bed is made of: without a name and held by file descriptors, or named `<prefix>-<name>`. */
export class QuietNamespaces {
  private readonly prefix: string | undefined
  private readonly held: { ns: Netns; name: string | undefined }[] = []

  constructor(prefix: string | undefined) {
    this.prefix = prefix
  }

  async make(name: string): Promise<Netns> {
    const full = this.prefix ? `${this.prefix}-${name}` : undefined
    if (full) await execa('ip', ['netns', 'add', full])
    const ns = full ? openNetns(`/run/netns/${full}`) : createNetns()
    this.held.push({ ns, name: full })
    inNetns(ns, quiet)
    return ns
  }

  async close(): Promise<void> {
    await Promise.all(this.held.splice(0).map(release))
  }
}

async function release(held: { ns: Netns; name: string | undefined }): Promise<void> {
  held.ns.close()
  if (held.name) await execa('ip', ['netns', 'del', held.name])
}

export async function setDeviceUp(ns: Netns, name: string, up: boolean): Promise<void> {
  await ip(ns, [`link set ${name} ${up ? 'up' : 'down'}`])
}

/** iproute2 in one process for any number of commands; its message names the command that failed. */
export async function ip(ns: Netns, lines: readonly string[]): Promise<void> {
  await inNetns(ns, () => execa('ip', ['-batch', '-'], { input: lines.join('\n'), timeout: 60_000 }))
}

/**
 * Sysctls of the current namespace: a new one inherits some from the first, so every one that matters is set. The
 * host's own are never touched.
 */
function quiet(): void {
  const settings: [path: string, value: string, optional?: boolean][] = [
    ['ipv6/conf/all/disable_ipv6', '1', true],
    ['ipv6/conf/default/disable_ipv6', '1', true],
    ['ipv4/ip_forward', '0'],
    ['ipv4/conf/all/rp_filter', '0'],
    ['ipv4/conf/default/rp_filter', '0'],
    ['ipv4/conf/all/accept_local', '0'],
    ['ipv4/conf/default/accept_local', '0'],
    ['ipv4/conf/all/force_igmp_version', '0'],
    ['ipv4/conf/default/force_igmp_version', '0'],
    ['ipv4/igmp_link_local_mcast_reports', '0', true],
    ['ipv4/igmp_max_memberships', '1024', true],
    ['ipv4/igmp_qrv', '2', true],
    ['core/rps_default_mask', '0', true],
  ]
  for (const [path, value, optional] of settings) writeSysctl(`/proc/sys/net/${path}`, value, optional === true)
}

export function writeSysctl(path: string, value: string, optional = false): void {
  try {
    writeFileSync(path, value)
  } catch (error) {
    // A kernel without IPv6, or older than the setting, is as quiet without it.
    if (!optional || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
