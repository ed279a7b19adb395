import { type Metric, Registry } from 'prom-client'

export const CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE

export type Labels = Readonly<Record<string, string>>

export interface Sample {
  labels: Labels
  value: number
  /** Of a histogram: `_bucket`, `_sum` or `_count`. */
  suffix?: string
}

/** All samples of one name, as they are now. */
export interface Family {
  name: string
  type: 'counter' | 'gauge' | 'histogram'
  help: string
  samples: Sample[]
}

/** Prometheus' text format; the samples were counted elsewhere, so that the library's own counters have nothing to add. */
export async function exposition(families: readonly Family[]): Promise<string> {
  const registry = new Registry()
  for (const family of families) registry.registerMetric(metricOf(family))
  return `${await registry.metrics()}`
}

function metricOf({ name, type, help, samples }: Family): Metric {
  const values = samples.map(({ labels, value, suffix = '' }) => ({ metricName: name + suffix, labels, value }))
  return { name, get: async () => ({ name, help, type, values, aggregator: 'sum' }) } as unknown as Metric
}

/** What a histogram's rows are made of: `counts[n]` of what is at most `boundsS[n]` and more than the bound before, the last of all others. */
export function histogram(
  labels: Labels,
  counts: readonly number[],
  boundsS: readonly number[],
  sumS: number,
): Sample[] {
  let total = 0
  const buckets = counts.map((count, n): Sample => {
    total += count
    return { suffix: '_bucket', labels: { ...labels, le: String(boundsS[n] ?? '+Inf') }, value: total }
  })
  return [...buckets, { suffix: '_sum', labels, value: sumS }, { suffix: '_count', labels, value: total }]
}
