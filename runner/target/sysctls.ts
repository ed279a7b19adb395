import { readFileSync } from 'node:fs'
import { inNetns, type Netns } from '../../generators/linux/netns.ts'
import type { SysctlName } from '../suite/plan-types.ts'
import { writeSysctl } from './namespaces.ts'

/** Settings that a case changes in namespaces of the bed, and what they were before. */
export class Sysctls {
  private readonly before = new Map<string, { ns: Netns; path: string; value: string }>()

  set(ns: Netns, device: string, name: SysctlName, value: number): void {
    const path = `/proc/sys/net/ipv4/conf/${device}/${name}`
    inNetns(ns, () => {
      const key = `${ns.fd} ${path}`
      if (!this.before.has(key)) this.before.set(key, { ns, path, value: readFileSync(path, 'latin1').trim() })
      writeSysctl(path, String(value))
    })
  }

  /** True when there was anything to do. */
  restore(): boolean {
    const changed = [...this.before.values()]
    this.before.clear()
    for (const { ns, path, value } of changed) inNetns(ns, () => writeSysctl(path, value))
    return changed.length > 0
  }
}
