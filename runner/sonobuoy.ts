import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { type Progress, progressOf } from '../reports/progress.ts'
import type { RunResult } from '../reports/result.ts'
import { sonobuoyFailure, sonobuoyResults } from '../reports/sonobuoy.ts'
import { makeFolder } from './folder.ts'
import type { Io } from './io.ts'

const RESULTS = 'sonobuoy_results.yaml'
const ARCHIVE = 'castproof.tar.gz'
const POST_LIMIT_MS = 2_000

/** A plugin's side of Sonobuoy: posts progress to the worker beside it, and hands it one archive by way of a `done` file. */
export class SonobuoyPlugin {
  readonly directory: string
  readonly #port: string
  #last: Promise<unknown> = Promise.resolve()
  #next: string | undefined
  #result: RunResult | undefined

  constructor({ env }: Io) {
    this.directory = env['SONOBUOY_RESULTS_DIR'] ?? env['RESULTS_DIR'] ?? '/tmp/sonobuoy/results'
    this.#port = env['SONOBUOY_PROGRESS_PORT'] ?? '8099'
    makeFolder(this.directory)
  }

  /** Whoever asks `sonobuoy status` sees how far the run is, and what failed. */
  progress(): Progress {
    const update = { msg: '', total: 0, completed: 0, failures: [] as string[], errors: [] as string[] }
    const post = (msg: string) => this.#post({ ...update, msg })
    return progressOf({
      runStarted: ({ cases }) => {
        update.total = cases
        post(`${cases} cases`)
      },
      stageStarted: ({ stage, cases }) => post(`${stage}: ${cases} cases`),
      caseFinished: ({ id, status }) => {
        if (status === 'fail') update.failures.push(id)
        else update.completed++
        if (status === 'inconclusive') update.errors.push(id)
        post(`${id}: ${status}`)
      },
      runFinished: result => {
        this.#result = result
      },
    })
  }

  /** Everything below the folder, in one archive; the worker takes it when `done` names it. */
  async finish(error?: unknown): Promise<void> {
    const why = error instanceof Error ? error.message : String(error ?? 'the run came to no result')
    const text = this.#result && error === undefined ? sonobuoyResults(this.#result) : sonobuoyFailure(why)
    writeFileSync(join(this.directory, RESULTS), text)
    const archive = join(this.directory, ARCHIVE)
    // By name: the folder itself changes while the archive is written into it, which tar takes for a failure.
    const names = readdirSync(this.directory).filter(name => ![ARCHIVE, 'done'].includes(name))
    await execa('tar', ['-C', this.directory, '-czf', archive, ...names])
    await this.#last
    writeFileSync(join(this.directory, 'done'), archive)
  }

  /**
   * One at a time, and never in the way of the run: while one is under way only the newest waits, for it says what those before it said. A
   * worker that does not listen, or does not answer, costs nothing but what it would have shown.
   */
  #post(update: object): void {
    const isWaiting = this.#next !== undefined
    this.#next = JSON.stringify(update)
    if (!isWaiting) this.#last = this.#last.then(() => this.#send())
  }

  async #send(): Promise<void> {
    const body = this.#next
    this.#next = undefined
    const signal = AbortSignal.timeout(POST_LIMIT_MS)
    await fetch(`http://localhost:${this.#port}/progress`, { method: 'POST', body: body ?? '', signal }).catch(() => {})
  }
}
