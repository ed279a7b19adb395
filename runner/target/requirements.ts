import { caseKey } from '../case-key.ts'
import { type Capability, probe } from '../probe.ts'
import type { Plan } from '../suite/plan-types.ts'
import { Unsupported } from '../unsupported.ts'
import type { Target } from './target.ts'

/** Throws what stops a run when this machine cannot bring the target up, with every remedy. */
export async function requireTarget(target: Target): Promise<void> {
  const lacking = (await target.probe()).filter(capability => !capability.ok)
  if (lacking.length === 0) return
  throw new Unsupported({
    feature: `target ${target.name}`,
    needs: lacking.map(capability => capability.name).join(', '),
    found: lacking.map(capability => `${capability.name}: ${capability.found}`).join('; '),
    remedy: lacking.map(capability => capability.remedy).join('; '),
  })
}

/** Cases that need something this machine was probed for and lacks: caseKey → reason. */
export async function skipsOf(plan: Plan): Promise<Record<string, string>> {
  const cases = plan.stages.flatMap(({ target, cases }) =>
    cases.filter(({ needs }) => needs.length > 0).map(({ id, needs }) => ({ key: caseKey(target, id), needs })),
  )
  if (cases.length === 0) return {}
  const capabilities = new Map((await probe()).map(capability => [capability.name, capability]))
  return Object.fromEntries(
    cases.flatMap(({ key, needs }) => {
      const lacking = needs.map(need => capabilities.get(need)).find(capability => capability && !capability.ok)
      return lacking ? [[key, skipReason(lacking)]] : []
    }),
  )
}

function skipReason({ name, found, remedy }: Capability): string {
  return `needs ${name}: ${found}${remedy ? ` (${remedy})` : ''}`
}
