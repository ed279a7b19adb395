import { caseKey } from '../case-key.ts'
import { allSteps } from '../check/proof.ts'
import { type Capability, probe } from '../probe.ts'
import type { Place } from '../sandbox/placement.ts'
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
  places: ReadonlyMap<string, Place>,
  stop: AbortSignal,
): Promise<Record<string, string>> {
  const skips: Record<string, string> = {}
  let here: Capability[] | undefined
  for (const [name, target] of targets) {
    const own = (await target.capabilities?.(stop)) ?? []
    for (const stage of plan.stages.filter(item => item.target === name)) {
      const place = places.get(stage.name)
      // What is somewhere else has no use for what this machine can do.
      if (!place?.machine && !target.close) here ??= await probe()
      const capabilities = new Map([...(place?.machine ?? here ?? []), ...own].map(one => [one.name, one]))
      const lack = place?.kind === 'vm' ? lackOfTarget(target, capabilities) : undefined
      for (const item of stage.cases) {
        const reason = lack ?? lackOf(item, capabilities) ?? target.refusal?.(topologyOf(stage, [item]))
        if (reason !== undefined) skips[caseKey(name, item.id)] = reason
      }
    }
  }
  return skips
}

/** Under a kernel that the user chose the target may lack something, and the run goes on to say so of every case. */
function lackOfTarget({ name }: Target, capabilities: ReadonlyMap<string, Capability>): string | undefined {
  const lacking = [...capabilities.values()].find(one => !one.ok && one.neededFor.includes(name))
  return lacking && `target ${name} ${skipReason(lacking)}`
}

function lackOf(item: PlannedCase, capabilities: ReadonlyMap<string, Capability>): string | undefined {
  const lacking = [...item.needs, ...impliedNeeds(item)]
    .map(need => capabilities.get(need))
    .find(capability => capability && !capability.ok)
  return lacking && skipReason(lacking)
}

/** What a case needs by what it does, whether or not its suite says so. */
function impliedNeeds({ steps, expect }: PlannedCase): string[] {
  const ofSteps = allSteps(steps).flatMap(
    step => NEEDS_OF_STEPS[step.action === 'wait' ? step.until.until : step.action] ?? [],
  )
  return [...ofSteps, ...expect.flatMap(({ check }) => NEEDS_OF_CHECKS[check] ?? [])]
}

const NEEDS_OF_STEPS: Readonly<Record<string, string>> = {
  subscribed: 'tables',
  unsubscribed: 'tables',
  group: 'group-control',
  link: 'link-control',
  kill: 'pod-control',
  revive: 'pod-control',
  agent: 'agent-control',
}

const NEEDS_OF_CHECKS: Readonly<Partial<Record<string, string>>> = {
  membership: 'tables',
  drops: 'drops',
  encapsulated: 'overlay',
}

/** The stage's topology with the pods of these cases alone. */
export function topologyOf({ topology }: Stage, cases: readonly PlannedCase[]): Topology {
  const used = new Set(cases.flatMap(item => Object.values(item.endpoints).flat()))
  return { ...topology, pods: topology.pods.filter(pod => used.has(pod.name)) }
}

function skipReason({ name, found, remedy }: Capability): string {
  return `needs ${name}: ${found}${remedy ? ` (${remedy})` : ''}`
}
