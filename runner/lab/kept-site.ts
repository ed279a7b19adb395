import { faultsOfTarget } from '../faults.ts'
import type { Lent } from '../sandbox/host.ts'
import type { Stage } from '../suite/plan-types.ts'
import { targetNamed } from '../target/registry.ts'
import type { Site } from '../target/target.ts'
import type { LabStatus } from './protocol.ts'
import { processStartTicks, register, unregister } from './registry.ts'
import { holdLab, namespaceNames } from './supervisor.ts'

/** The last stage's site of `run --keep`: brought up under names, as a lab's, and held when the run has been reported. */
export class KeptSite {
  readonly id: string
  readonly #faults: string[]
  readonly #stop: AbortSignal
  #up: { site: Site; status: LabStatus } | undefined

  constructor(id: string, faults: readonly string[], stop: AbortSignal) {
    this.id = id
    this.#faults = [...faults]
    this.#stop = stop
  }

  /** As a `SiteOf`: only the stage that is to stay gets names; a repeated attempt gets the same site again. */
  async lend(stage: Stage, last: boolean): Promise<Lent> {
    const target = targetNamed(stage.target)
    if (!last) {
      const site = await target.bringUp(
        stage.topology,
        { faults: faultsOfTarget(this.#faults, target.name) },
        this.#stop,
      )
      return { site, done: () => site.close() }
    }
    this.#up ??= await this.#bringUp(stage)
    return { site: this.#up.site, done: async () => {} }
  }

  async #bringUp({ target, topology }: Stage): Promise<{ site: Site; status: LabStatus }> {
    const { id } = this
    const faults = faultsOfTarget(this.#faults, target)
    const namespaces = namespaceNames(id, topology)
    const pidStartTicks = processStartTicks(process.pid) ?? ''
    register({ id, pid: process.pid, pidStartTicks, target, faults, namespaces: Object.values(namespaces) })
    const site = await targetNamed(target).bringUp(topology, { faults, prefix: `cp-${id}` }, this.#stop)
    return { site, status: { id, target, faults, site: site.map, namespaces } }
  }

  /** Answers `lab` and `mcast` until `lab down` or a signal. False when no stage was brought up: there is nothing to hold. */
  async hold(onReady: () => void): Promise<boolean> {
    if (this.#up === undefined) return false
    await holdLab(this.#up.status, this.#up.site, this.#stop, onReady)
    return true
  }

  async close(): Promise<void> {
    try {
      await this.#up?.site.close()
    } finally {
      this.#up = undefined
      unregister(this.id)
    }
  }
}
