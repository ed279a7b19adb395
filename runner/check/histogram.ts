import type { Sample } from './exposition.ts'

/**
 * What is wrong with the growth of a histogram's samples, all of one series: buckets, sum and count must fit each other. Nothing has
 * waited longer than `longestS`.
 */
export function histogramTrouble(name: string, samples: readonly Sample[], longestS: number): string | undefined {
  const value = (suffix: string) => samples.find(sample => sample.name === name + suffix)?.value
  const [sum, count] = [value('_sum'), value('_count')]
  const buckets = samples
    .filter(sample => sample.name === `${name}_bucket`)
    .map(({ labels, value }) => ({ bound: Number(labels['le']?.replace('+Inf', 'Infinity')), value }))
    .sort((a, b) => a.bound - b.bound)
  if (sum === undefined || count === undefined || buckets.length === 0) return `${name} is not there`
  if (buckets.at(-1)?.bound !== Infinity || buckets.at(-1)?.value !== count)
    return `the last bucket of ${name} has ${buckets.at(-1)?.value} of ${count}`
  if (buckets.some(({ value }, i) => value < (buckets[i - 1]?.value ?? 0)))
    return `buckets of ${name} are not cumulative`
  return sumTrouble(name, buckets, sum, longestS)
}

/** What is in a bucket is above the bound before and at most its own. */
function sumTrouble(
  name: string,
  buckets: readonly { bound: number; value: number }[],
  sum: number,
  longestS: number,
): string | undefined {
  let [least, most] = [0, 0]
  for (const [i, { bound, value }] of buckets.entries()) {
    const before = buckets[i - 1]
    const here = value - (before?.value ?? 0)
    least += here * (before?.bound ?? 0)
    if (here > 0) most += here * Math.min(bound, longestS)
  }
  const doubt = 1e-9 + most * 1e-9
  if (sum >= least - doubt && sum <= most + doubt) return undefined
  return `the sum of ${name} is ${sum}, its buckets allow ${least} to ${most}`
}
