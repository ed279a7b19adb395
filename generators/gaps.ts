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

// A float's exponent and first four bits of mantissa are the bucket: logarithms would cost more than sending.
const double = new Float64Array(1)
const words = new Uint32Array(double.buffer)
const HIGH = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 1 : 0
const BUCKET_OF_ONE = 0x3ff0

function bucketOf(ns: number): number {
  if (ns < 1) return 0
  double[0] = ns
  return Math.min(BUCKETS - 1, (words[HIGH]! >>> 16) - BUCKET_OF_ONE)
}

function upperEndNs(bucket: number): number {
  words[1 - HIGH] = 0
  words[HIGH] = (bucket + 1 + BUCKET_OF_ONE) << 16
  return double[0]!
}
