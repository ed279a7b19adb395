/** Gaps between frames in microseconds. */
export interface GapsUs {
  min: number
  mean: number
  p99: number
  max: number
}

// Sixteen steps to each power of two: a percentile is at most 6 % too high.
const STEPS = 16
const BUCKETS = 64 * STEPS

/** Collects gaps in constant memory, however many there are. */
export class GapMeter {
  readonly #buckets = new Uint32Array(BUCKETS)
  #count = 0
  #sumNs = 0
  #minNs = Number.POSITIVE_INFINITY
  #maxNs = 0

  add(gapNs: number): void {
    this.#count++
    this.#sumNs += gapNs
    if (gapNs < this.#minNs) this.#minNs = gapNs
    if (gapNs > this.#maxNs) this.#maxNs = gapNs
    const bucket = bucketOf(gapNs)
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1
  }

  /** undefined when there was no gap: fewer than two frames. */
  read(): GapsUs | undefined {
    if (this.#count === 0) return undefined
    const [min, mean, max] = [this.#minNs / 1000, this.#sumNs / this.#count / 1000, this.#maxNs / 1000]
    return { min, mean, p99: Math.min(max, this.#percentileNs(0.99) / 1000), max }
  }

  #percentileNs(share: number): number {
    let left = Math.ceil(this.#count * share)
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= this.#buckets[bucket] ?? 0
      if (left <= 0) return upperEndNs(bucket)
    }
    return this.#maxNs
  }
}

function bucketOf(ns: number): number {
  if (ns < STEPS) return Math.max(0, Math.floor(ns))
  const power = Math.floor(Math.log2(ns))
  return Math.min(BUCKETS - 1, (power - 3) * STEPS + Math.floor((ns / 2 ** power - 1) * STEPS))
}

function upperEndNs(bucket: number): number {
  if (bucket < STEPS) return bucket
  const power = Math.floor(bucket / STEPS) + 3
  return 2 ** power * (1 + ((bucket % STEPS) + 1) / STEPS)
}
