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
    if (!this.#running) this.#start()
  }

  async ended(): Promise<void> {
    while (this.#running) await this.#running
  }

  /** A change may come between the loop's last look and the end of its promise. */
  #start(): void {
    this.#running = this.#run().finally(() => {
      this.#running = undefined
      if (this.#stale && !this.#stop.aborted) this.#start()
    })
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
