import type { Plan, Stage } from '../suite/plan-types.ts'
import { HostSandbox, type SiteOf } from './host.ts'
import type { Place } from './placement.ts'
import type { Sandbox } from './sandbox.ts'
import { type VmOptions, VmSandbox } from './vm.ts'

/** The sandboxes of a run: stages on this kernel, stages in a virtual machine, or some of both. */
export class Sandboxes {
  readonly #places: ReadonlyMap<string, Place>
  readonly #host: HostSandbox
  readonly #vm: VmSandbox | undefined

  private constructor(places: ReadonlyMap<string, Place>, host: HostSandbox, vm: VmSandbox | undefined) {
    this.#places = places
    this.#host = host
    this.#vm = vm
  }

  static async open(places: ReadonlyMap<string, Place>, siteOf: SiteOf, options: VmOptions): Promise<Sandboxes> {
    const needsVm = [...places.values()].some(({ kind }) => kind === 'vm')
    return new Sandboxes(places, new HostSandbox(siteOf), needsVm ? await VmSandbox.prepare(options) : undefined)
  }

  readonly of = (stage: Stage): Sandbox => (this.#places.get(stage.name)?.kind === 'vm' && this.#vm) || this.#host

  async close(): Promise<void> {
    await this.#vm?.close()
  }
}

/** Bounds on times bind nobody in a virtual machine: they are recorded, and fail no case there. */
export function withoutBounds(plan: Plan, places: ReadonlyMap<string, Place>): Plan {
  const unbound = (stage: Stage): Stage =>
    JSON.parse(JSON.stringify(stage), (key, value: unknown) => (key === 'enforced' ? false : value)) as Stage
  return {
    ...plan,
    stages: plan.stages.map(stage => (places.get(stage.name)?.kind === 'vm' ? unbound(stage) : stage)),
  }
}
