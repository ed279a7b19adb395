import { resolve } from 'node:path'
import { UserError } from '../suite/errors.ts'
import { didYouMean } from '../suite/suggest.ts'
import { execTarget } from './exec.ts'
import { kubernetesTarget } from './kubernetes.ts'
import { reference } from './reference.ts'
import { router } from './router.ts'
import type { Target, TargetOptions } from './target.ts'

/** Drivers by name; `given` is what `--target` has behind the colon. */
const TARGETS: Readonly<Record<string, (given: string | undefined, options: TargetOptions) => Target>> = {
  reference: file => withoutFile(reference, file),
  router: file => withoutFile(router, file),
  exec: (file, { cwd = process.cwd() }) => execTarget(resolve(cwd, requireFile(file)), file),
  kubernetes: kubernetesTarget,
}

export const TARGET_NAMES: readonly string[] = Object.keys(TARGETS)

/** A driver by what `--target` says: its name, and a file where it takes one. */
export function targetNamed(text: string, options: TargetOptions = {}): Target {
  const [name = '', ...rest] = text.split(':')
  const make = TARGETS[name]
  if (make) return make(rest.length > 0 ? rest.join(':') : undefined, options)
  throw new UserError('unknown-target', `no target is called ${name}`, { hint: didYouMean(name, TARGET_NAMES) })
}

function withoutFile(target: Target, file: string | undefined): Target {
  if (file === undefined) return target
  throw new UserError('target-file', `target ${target.name} takes no file, found ${file}`)
}

function requireFile(file: string | undefined): string {
  if (file !== undefined && file !== '') return file
  throw new UserError('target-file', 'target exec needs its inventory', { hint: '--target exec:inventory.yaml' })
}
