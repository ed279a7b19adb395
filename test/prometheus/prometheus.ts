import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Netns } from '../../generators/linux/netns.ts'
import { type RunningProgram, startProgram } from '../../runner/programs-run.ts'
import { readMetrics } from '../../runner/read-metrics.ts'
import { packaged } from '../../runner/target/router/debian.ts'

const PORT = 9090
const READY_MS = 60_000

/** A series of an answer: labels, and values by time in seconds. */
export interface Series {
  metric: Record<string, string>
  values: [timeS: number, value: number][]
}

/** Debian's Prometheus in a namespace, with its data in a folder; it scrapes what `targets` lists. */
export class Prometheus {
  readonly #ns: Netns
  readonly #program: RunningProgram

  private constructor(ns: Netns, program: RunningProgram) {
    this.#ns = ns
    this.#program = program
  }

  static async start(
    ns: Netns,
    { folder, targets, everyS }: { folder: string; targets: readonly string[]; everyS: number },
  ): Promise<Prometheus> {
    mkdirSync(folder, { recursive: true })
    const config = join(folder, 'prometheus.yaml')
    const job = { job_name: 'castproof', honor_labels: true, static_configs: [{ targets }] }
    const content = { global: { scrape_interval: `${everyS}s`, scrape_timeout: `${everyS}s` }, scrape_configs: [job] }
    writeFileSync(config, JSON.stringify(content))
    const said: string[] = []
    const argv = [
      packaged('prometheus', '/usr/bin/prometheus'),
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=0.0.0.0:${PORT}`,
    ]
    const program = await startProgram(ns, argv, undefined, ({ text }) => said.push(text))
    const prometheus = new Prometheus(ns, program)
    try {
      await prometheus.#ready(said)
      return prometheus
    } catch (error) {
      await program.stop()
      throw error
    }
  }

  async #ready(said: readonly string[]): Promise<void> {
    const endMs = performance.now() + READY_MS
    for (;;) {
      const ready = await readMetrics(this.#ns, PORT, '/-/ready').catch(() => undefined)
      if (ready !== undefined) return
      if (performance.now() > endMs) throw new Error(`Prometheus is not ready: ${said.slice(-3).join('; ')}`)
      await new Promise(resolve => setTimeout(resolve, 100))
    }
  }

  /** Values of an expression at one time, in seconds. */
  async query(expression: string, timeS: number): Promise<Series[]> {
    const answer = await this.#ask('query', { query: expression, time: String(timeS) })
    return answer.map(({ metric, value }) => ({ metric, values: value ? [numbers(value)] : [] }))
  }

  async queryRange(expression: string, fromS: number, toS: number, stepS: number): Promise<Series[]> {
    const range = { query: expression, start: String(fromS), end: String(toS), step: String(stepS) }
    const answer = await this.#ask('query_range', range)
    return answer.map(({ metric, values = [] }) => ({ metric, values: values.map(numbers) }))
  }

  async #ask(what: string, parameters: Record<string, string>): Promise<Answer[]> {
    const path = `/api/v1/${what}?${new URLSearchParams(parameters)}`
    const { data } = JSON.parse(await readMetrics(this.#ns, PORT, path)) as { data: { result: Answer[] } }
    return data.result
  }

  async stop(): Promise<void> {
    await this.#program.stop()
  }
}

interface Answer {
  metric: Record<string, string>
  value?: [number, string]
  values?: [number, string][]
}

function numbers([timeS, value]: [number, string]): [number, number] {
  return [timeS, Number(value)]
}
