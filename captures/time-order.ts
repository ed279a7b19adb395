/** Frames of one capture come at most this many places out of order: queues of several CPUs. */
const NEAR = 256

/**
 * The rows 0 … count-1 in order of `timeOf`, equal times in row order; undefined when that is how they are. Made for
 * a few captures one after another, each nearly in order: those runs are found and merged, so it costs about one comparison for each
 * row and doubling of the number of runs.
 */
export function timeOrder(count: number, timeOf: (row: number) => number): Uint32Array | undefined {
  if (isOrdered(count, timeOf)) return undefined
  const rows = new Uint32Array(count)
  for (let i = 0; i < count; i++) rows[i] = i
  const runs = settleRuns(rows, timeOf)
  return runs.length === 2 ? rows : mergeRuns(rows, new Uint32Array(count), runs, timeOf)
}

function isOrdered(count: number, timeOf: (row: number) => number): boolean {
  let last = -Infinity
  for (let i = 0; i < count; i++) {
    const time = timeOf(i)
    if (time < last) return false
    last = time
  }
  return true
}

/** Sorts what is nearly in place by insertion; returns where runs start, and the count as the end of the last. */
function settleRuns(rows: Uint32Array, timeOf: (row: number) => number): number[] {
  const starts = [0]
  let start = 0
  for (let i = 1; i < rows.length; i++) {
    const time = timeOf(rows[i] as number)
    if (time >= timeOf(rows[i - 1] as number)) continue
    const floor = Math.max(start, i - NEAR)
    let to = i
    while (to > floor && timeOf(rows[to - 1] as number) > time) to--
    if (to === floor && floor > start) {
      start = i
      starts.push(i)
    } else {
      const row = rows[i] as number
      rows.copyWithin(to + 1, to, i)
      rows[to] = row
    }
  }
  starts.push(rows.length)
  return starts
}

/** Bottom-up: neighbours are merged until one run is left. */
function mergeRuns(
  rows: Uint32Array,
  spare: Uint32Array,
  starts: readonly number[],
  timeOf: (row: number) => number,
): Uint32Array {
  let from = rows
  let to = spare
  let bounds = starts
  while (bounds.length > 2) {
    const next: number[] = []
    for (let r = 0; r + 1 < bounds.length; r += 2) {
      const begin = bounds[r] as number
      const middle = bounds[r + 1] as number
      next.push(begin)
      merge(from, to, begin, middle, bounds[r + 2] ?? middle, timeOf)
    }
    next.push(rows.length)
    bounds = next
    ;[from, to] = [to, from]
  }
  return from
}

function merge(
  from: Uint32Array,
  to: Uint32Array,
  begin: number,
  middle: number,
  end: number,
  timeOf: (row: number) => number,
): void {
  let left = begin
  let right = middle
  for (let i = begin; i < end; i++) {
    const takeLeft = right >= end || (left < middle && timeOf(from[left] as number) <= timeOf(from[right] as number))
    to[i] = from[takeLeft ? left++ : right++] as number
  }
}
