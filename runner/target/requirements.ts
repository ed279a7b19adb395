import { caseKey } from '../case-key.ts'
import { type Capability, probe } from '../probe.ts'
import type { Plan, PlannedCase, Stage, Topology } from '../suite/plan-types.ts'
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

/** Cases that need something their target, or this machine, was found to lack: caseKey → reason. */
export async function skipsOf(
  plan: Plan,
  targets: ReadonlyMap<string, Target>,
  stop: AbortSignal,
  /** Capabilities that there will be where the cases run. */
  elsewhere: readonly string[] = [],
): Promise<Record<string, string>> {
  const skips: Record<string, string> = {}
  const machine = plan.stages.some(stage => stage.cases.some(item => item.needs.length > 0)) ? await probe() : []
  for (const [name, target] of targets) {
    const here = machine.filter(({ name }) => !elsewhere.includes(name))
    const capabilities = new Map(
      [...here, ...((await target.capabilities?.(stop)) ?? [])].map(capability => [capability.name, capability]),
    )
    for (const stage of plan.stages.filter(item => item.target === name)) {
      for (const item of stage.cases) {
        const reason = lackOf(item, capabilities) ?? target.refusal?.(topologyOf(stage, [item]))
        if (reason !== undefined) skips[caseKey(name, item.id)] = reason
      }
    }
  }
  return skips
}

function lackOf({ needs }: PlannedCase, capabilities: ReadonlyMap<string, Capability>): string | undefined {
  const lacking = needs.map(need => capabilities.get(need)).find(capability => capability && !capability.ok)
  return lacking && skipReason(lacking)
}

/** The stage's topology with the pods of these cases alone. */
export function topologyOf({ topology }: Stage, cases: readonly PlannedCase[]): Topology {
  const used = new Set(cases.flatMap(item => Object.values(item.endpoints).flat()))
  return { ...topology, pods: topology.pods.filter(pod => used.has(pod.name)) }
}

function skipReason({ name, found, remedy }: Capability): string {
  return `needs ${name}: ${found}${remedy ? ` (${remedy})` : ''}`
}
