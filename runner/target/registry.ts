import { UserError } from '../suite/errors.ts'
import { didYouMean } from '../suite/suggest.ts'
import { reference } from './reference.ts'
import { router } from './router.ts'
import type { Target } from './target.ts'

const TARGETS: readonly Target[] = [reference, router]

export const TARGET_NAMES: readonly string[] = TARGETS.map(target => target.name)

/** A driver by the name that `--target` gives, before any `:FILE`. */
export function targetNamed(text: string): Target {
  const name = text.split(':')[0] ?? text
  const found = TARGETS.find(target => target.name === name)
  if (found) return found
  throw new UserError('unknown-target', `no target is called ${name}`, { hint: didYouMean(name, TARGET_NAMES) })
}
