import type { ClockRecord } from './run-directory.ts'

interface Clock {
  firstNs: number
  lastNs: number
  firstAheadNs: number
  lastAheadNs: number
  uncertaintyNs: number
}

/** A stage's clocks, for times in ns since `baseNs`; the runner's own is the one without a name. */
export class StageClocks {
  private readonly clocks: ReadonlyMap<string, Clock>

  constructor(records: readonly ClockRecord[], baseNs: bigint) {
    this.clocks = new Map(records.map(record => [record.name, clockOf(record, baseNs)]))
  }

  /** What the runner's clock showed when this one showed `ns`; a clock nobody measured is taken to agree. */
  runnerNs(name: string | undefined, ns: number): number {
    const clock = name === undefined ? undefined : this.clocks.get(name)
    return clock === undefined ? ns : ns - aheadNs(clock, ns)
  }

  /** How far times of all these clocks may be off against each other. */
  errorNs(names: Iterable<string | undefined>): number {
    const several = new Set(names)
    if (several.size < 2) return 0
    return [...several].reduce((sum, name) => sum + (this.clocks.get(name ?? '')?.uncertaintyNs ?? 0), 0)
  }
}

function clockOf({ first, last, uncertaintyNs }: ClockRecord, baseNs: bigint): Clock {
  return {
    firstNs: Number(BigInt(first.tNs) - baseNs),
    lastNs: Number(BigInt(last.tNs) - baseNs),
    firstAheadNs: Number(BigInt(first.aheadNs)),
    lastAheadNs: Number(BigInt(last.aheadNs)),
    uncertaintyNs,
  }
}

/** Whole nanoseconds, so that times keep their order. */
function aheadNs({ firstNs, lastNs, firstAheadNs, lastAheadNs }: Clock, ns: number): number {
  if (lastNs <= firstNs) return firstAheadNs
  const share = Math.min(1, Math.max(0, (ns - firstNs) / (lastNs - firstNs)))
  return Math.round(firstAheadNs + share * (lastAheadNs - firstAheadNs))
}
