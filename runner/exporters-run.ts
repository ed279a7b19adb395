import type { Recorder, Subject } from './recorder.ts'
import type { StageSite } from './stage-site.ts'
import type { PlannedStep } from './suite/plan-types.ts'
import type { SiteExporter } from './target/target.ts'
import { Unsupported } from './unsupported.ts'

type StepOf<Name extends PlannedStep['action']> = Extract<PlannedStep, { action: Name }>

interface Running {
  node: string
  exporter: SiteExporter
}

/** The flow exporters of one case: started on routers, told in the observations, ended at the latest with the case. */
export class Exporters {
  private readonly site: StageSite
  private readonly recorder: Recorder
  private readonly subject: Subject
  private readonly running = new Map<string, Running>()

  constructor(site: StageSite, recorder: Recorder, subject: Subject) {
    this.site = site
    this.recorder = recorder
    this.subject = subject
  }

  async start({ id, node, config }: StepOf<'exporter'>): Promise<{ ok: boolean; detail?: string }> {
    const { site } = this.site
    if (!site.startExporter) return { ok: false, detail: 'nothing here exports flows' }
    try {
      const running = { node, exporter: await site.startExporter(node, config) }
      this.running.set(id, running)
      this.tell(id, running, 'start')
      return { ok: true }
    } catch (error) {
      if (!(error instanceof Unsupported)) throw error
      return { ok: false, detail: error.message }
    }
  }

  async flush({ exporter }: StepOf<'flush'>): Promise<{ ok: boolean; detail?: string }> {
    const running = this.running.get(exporter)
    if (!running) return { ok: false, detail: `${exporter} does not run` }
    await running.exporter.flush()
    this.tell(exporter, running, 'flushed')
    return { ok: true }
  }

  async stopAll(): Promise<void> {
    for (const [id, running] of this.running) {
      await running.exporter.close()
      this.tell(id, running, 'end')
    }
    this.running.clear()
  }

  private tell(step: string, { node, exporter }: Running, phase: 'start' | 'flushed' | 'end'): void {
    this.recorder.observe({ kind: 'exporter', step, node, phase, product: exporter.product }, this.subject)
  }
}
