/** Where a sighting belongs, by its place in time order. */
interface Belonging {
  tap(i: number): number
  direction(i: number): number
  stream(i: number): number
}

const EMPTY = new Int32Array(0)

/** Sightings by (tap, stream, direction), each group in time order; made at the first question, eight bytes for each sighting. */
export class SightingIndex {
  readonly #count: number
  readonly #belonging: Belonging
  #groups: Map<number, Int32Array> | undefined

  constructor(count: number, belonging: Belonging) {
    this.#count = count
    this.#belonging = belonging
  }

  sightings(tap: number, stream: number, direction: number): Int32Array {
    this.#groups ??= this.#group()
    return this.#groups.get(keyOf(tap, stream, direction)) ?? EMPTY
  }

  /** A counting sort: number the groups, count them, then fill one array that all of them are views of. */
  #group(): Map<number, Int32Array> {
    const numbers = new Map<number, number>()
    const groupOf = new Uint32Array(this.#count)
    const ends: number[] = []
    for (let i = 0; i < this.#count; i++) {
      const group = this.#groupNumber(numbers, i)
      groupOf[i] = group
      ends[group] = (ends[group] ?? 0) + 1
    }
    return fill(numbers, groupOf, ends)
  }

  #groupNumber(numbers: Map<number, number>, i: number): number {
    const { tap, stream, direction } = this.#belonging
    const key = keyOf(tap(i), stream(i), direction(i))
    const known = numbers.get(key)
    if (known !== undefined) return known
    numbers.set(key, numbers.size)
    return numbers.size - 1
  }
}

/** A stream has 24 bits, a direction 2, so the key is exact for any number of taps. */
function keyOf(tap: number, stream: number, direction: number): number {
  return (tap * 4 + direction) * 0x100_0000 + stream
}

function fill(numbers: Map<number, number>, groupOf: Uint32Array, counts: readonly number[]): Map<number, Int32Array> {
  const members = new Int32Array(groupOf.length)
  const next = new Uint32Array(counts.length)
  const starts = new Uint32Array(counts.length)
  let start = 0
  for (const [group, count] of counts.entries()) {
    starts[group] = start
    next[group] = start
    start += count
  }
  for (let i = 0; i < groupOf.length; i++) {
    const group = groupOf[i] as number
    const place = next[group] as number
    members[place] = i
    next[group] = place + 1
  }
  const views = new Map<number, Int32Array>()
  for (const [key, group] of numbers) views.set(key, members.subarray(starts[group] as number, next[group] as number))
  return views
}
