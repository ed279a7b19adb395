import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeWhole } from '../../reports/write.ts'
import { tryOut } from '../probe/capability.ts'
import { VM_TRIALS } from '../probe/virtual-machine.ts'
import { cacheFolder } from './cache.ts'

/** How QEMU runs the guest's instructions, and why not faster. */
export type Accelerator = { name: 'kvm' } | { name: 'tcg'; why: string }

/** KVM where a guest really boots with it: found out once per boot of this machine, for a /dev/kvm that hangs costs seconds. */
export async function accelerator(): Promise<Accelerator> {
  if (!existsSync('/dev/kvm')) return { name: 'tcg', why: 'there is no /dev/kvm' }
  const known = join(cacheFolder(), `accelerator-${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}`)
  if (existsSync(known)) return JSON.parse(readFileSync(known, 'utf8')) as Accelerator
  const trial = VM_TRIALS.find(one => one.name === 'kvm')
  if (trial === undefined) throw new Error('no trial is called kvm')
  const { ok, found } = await tryOut(trial)
  const result: Accelerator = ok ? { name: 'kvm' } : { name: 'tcg', why: found }
  mkdirSync(cacheFolder(), { recursive: true })
  writeWhole(known, JSON.stringify(result))
  return result
}
