import { release } from 'node:os'
import { type Listener, recordStage, type StageJob, type StageOutcome } from '../stage-record.ts'
import type { Stage } from '../suite/plan-types.ts'
import { targetNamed } from '../target/registry.ts'
import type { Site, Target } from '../target/target.ts'
import type { Sandbox } from './sandbox.ts'

/** What a stage does with its site: `done` in place of closing it, for the site may be wanted again. */
export interface Lent {
  site: Site
  done(): Promise<void>
}

export type SiteOf = (stage: Stage, faults: readonly string[], stop: AbortSignal) => Promise<Lent>

/** On this kernel, in this process. */
export class HostSandbox implements Sandbox {
  readonly kind = 'host'
  readonly kernel = release()
  readonly description = 'host'
  readonly #siteOf: SiteOf

  constructor(siteOf: SiteOf = freshSites()) {
    this.#siteOf = siteOf
  }

  async record(job: StageJob, listener: Listener, stop: AbortSignal): Promise<StageOutcome> {
    const startMs = performance.now()
    const { site, done } = await this.#siteOf(job.stage, job.faults, stop)
    try {
      listener.progress.stageReady({ stage: job.stage.name, tookMs: performance.now() - startMs })
      return await recordStage(job, site, listener, stop)
    } finally {
      await done()
    }
  }

  async close(): Promise<void> {}
}

/** A site for each stage, gone with it. */
export function freshSites(targetOf: (name: string) => Target = targetNamed): SiteOf {
  return async (stage, faults, stop) => {
    const site = await targetOf(stage.target).bringUp(stage.topology, { faults }, stop)
    return { site, done: () => site.close() }
  }
}

/** Sites that stay up between stages of the same name where they can: only the SUT's programs change with the faults. */
export class KeptSites {
  readonly #sites = new Map<string, Site>()

  readonly siteOf: SiteOf = async (stage, faults, stop) => {
    const known = this.#sites.get(stage.name)
    if (known?.setFaults) {
      await known.setFaults(faults)
      return { site: known, done: async () => {} }
    }
    this.#sites.delete(stage.name)
    await known?.close()
    const site = await targetNamed(stage.target).bringUp(stage.topology, { faults }, stop)
    this.#sites.set(stage.name, site)
    return { site, done: async () => {} }
  }

  async close(): Promise<void> {
    for (const site of this.#sites.values()) await site.close()
    this.#sites.clear()
  }
}
