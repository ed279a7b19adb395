import type { Patience } from './patience.ts'
import type { RunningProgram } from './programs-run.ts'
import type { Recorder, Subject } from './recorder.ts'
import type { StageSite } from './stage-site.ts'
import type { PlannedStep } from './suite/plan-types.ts'
import { Unsupported } from './unsupported.ts'

type RunStep = Extract<PlannedStep, { action: 'run' }>

/** How a program ends that was not there: setpriv's exit codes for it, or why setpriv itself was not. */
const NEVER_RAN = /^(126|127|not started|spawn .*)$/

const READY_LIMIT_MS = 5000

/** The ordinary programs of one case: started in their pods, every line an observation, stopped at the latest with the case. */
export class Programs {
  private readonly site: StageSite
  private readonly recorder: Recorder
  private readonly subject: Subject
  private readonly running = new Map<string, RunningProgram>()
  private readonly lines = new Map<string, string[]>()
  private readonly ended = new Set<string>()
  private readonly readyMs: number
  private readonly neverRan = new Map<string, string>()

  constructor(site: StageSite, recorder: Recorder, subject: Subject, { slowness }: Pick<Patience, 'slowness'>) {
    this.readyMs = READY_LIMIT_MS * slowness
    this.site = site
    this.recorder = recorder
    this.subject = subject
  }

  /** Resolves when the program does its work: it has ended, or listens (tcpdump says so), or simply runs. */
  async start(step: RunStep, stop: AbortSignal): Promise<{ ok: boolean; detail?: string }> {
    const { id, pod, program, params } = step
    this.lines.set(id, [])
    const about = { kind: 'program', step: id, pod, program } as const
    const child = await this.site.endpoint(pod).run({ program, params }, ({ event, text }) => {
      if (event === 'exit') this.ended.add(id)
      if (event === 'exit' && NEVER_RAN.test(text)) this.neverRan.set(id, text)
      else this.lines.get(id)?.push(text)
      this.recorder.observe({ ...about, event, text }, this.subject)
    })
    this.running.set(id, child)
    const ready = await this.recorder.until(() => this.isReady(step), this.readyMs, stop)
    const why = this.neverRan.get(id)
    if (why !== undefined)
      throw new Unsupported({ feature: `program ${program} in ${pod}`, needs: 'the program itself', found: why })
    return ready ? { ok: true } : { ok: false, detail: `${program} was not ready within ${this.readyMs} ms` }
  }

  private isReady({ id, program, params }: RunStep): boolean {
    if (this.ended.has(id)) return true
    switch (program) {
      case 'tcpdump':
        return this.linesWith(id, 'listening on') > 0
      case 'http-server':
        return this.linesWith(id, 'Serving HTTP') > 0
      // One that forks says nothing: it is waited for by what the suite waits for, the report that it sends.
      case 'socat-receive':
        return params['fork'] !== false || this.linesWith(id, 'starting data transfer loop') > 0
      default:
        return false
    }
  }

  linesWith(step: string, text: string): number {
    return (this.lines.get(step) ?? []).filter(line => line.includes(text)).length
  }

  async stop(step: string): Promise<{ ok: boolean; detail?: string }> {
    const child = this.running.get(step)
    if (!child) return { ok: false, detail: `${step} is not running` }
    this.running.delete(step)
    await child.stop()
    return { ok: true }
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.running.keys()].map(step => this.stop(step)))
  }
}
