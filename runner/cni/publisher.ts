import { setTimeout as sleep } from 'node:timers/promises'

const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [100, 5_000]

/** Writes the newest state after each change, one write at a time: changes during a write make one more, not one each. */
export class Publisher {
  readonly #write: () => Promise<void>
  readonly #trouble: (error: Error) => void
  readonly #stop: AbortSignal
  #stale = false
  #running: Promise<void> | undefined

  constructor(write: () => Promise<void>, trouble: (error: Error) => void, stop: AbortSignal) {
    this.#write = write
    this.#trouble = trouble
    this.#stop = stop
  }

  changed(): void {
    this.#stale = true
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
  }

  async ended(): Promise<void> {
    await this.#running
  }

  async #run(): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS
    while (this.#stale && !this.#stop.aborted) {
      this.#stale = false
      try {
        await this.#write()
        pauseMs = FIRST_PAUSE_MS
      } catch (error) {
        this.#stale = true
        this.#trouble(error as Error)
        await sleep(pauseMs, undefined, { signal: this.#stop }).catch(() => {})
        pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
      }
    }
  }
}
