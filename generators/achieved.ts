import { GapMeter } from './gaps.ts'
import type { Variant } from './template.ts'
import type { SentReport } from './transmit/engine.ts'

/** Adds up what left of one stream, in the order it left. */
export class Achieved {
  readonly #gaps = new GapMeter()
  #count = 0
  #frames = 0
  #bytes = 0
  #firstNs = 0
  #lastNs = 0

  /** One sequence number, taken by the kernel at `tookNs`. */
  add(variant: Variant, tookNs: number): void {
    for (let i = 0; i < variant.length; i++) this.#bytes += variant[i]!.bytes.length
    this.#frames += variant.length
    if (this.#count++ > 0) this.#gaps.add(tookNs - this.#lastNs)
    else this.#firstNs = tookNs
    this.#lastNs = tookNs
  }

  /** Rates are over the gaps: n frames have n - 1, so a stream of one frame has no rate. */
  report(number: number, name: string): SentReport {
    const seconds = (this.#lastNs - this.#firstNs) / 1e9
    const share = seconds > 0 ? (this.#count - 1) / this.#count / seconds : 0
    return {
      number,
      name,
      count: this.#count,
      frames: this.#frames,
      bytes: this.#bytes,
      firstNs: this.#firstNs,
      lastNs: this.#lastNs,
      pps: this.#frames * share,
      bitsPerSecond: this.#bytes * 8 * share,
      gapsUs: this.#gaps.read(),
    }
  }
}
