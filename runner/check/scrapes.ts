import type { Seen } from './check.ts'
import { type Exposition, keyOf, parseExposition, type Sample } from './exposition.ts'

/** What a node's agent said at two snapshots, and the time between them. */
export interface Scrapes {
  before: Exposition
  after: Exposition
  /** When the first snapshot had ended and the second began. */
  fromNs: number
  toNs: number
  /** Of the snapshots themselves: what passes then may or may not be counted. */
  unsure: { fromNs: number; toNs: number }[]
}

/** For what passed these taps; or why there is nothing to compare. */
export function scrapesOf(
  seen: Seen,
  node: string,
  between: readonly [string, string],
  taps: readonly string[],
): Scrapes | string {
  const texts = between.map(step => textAt(seen, node, step))
  const missing = between.find((_, i) => texts[i] === undefined)
  if (missing !== undefined) return `the metrics of ${node} were not read at ${missing}`
  const [begun, from, to, ended] = [
    seen.stepTimeNs(between[0], 'start'),
    seen.stepTimeNs(between[0], 'end'),
    seen.stepTimeNs(between[1], 'start'),
    seen.stepTimeNs(between[1], 'end'),
  ]
  if (begun === undefined || from === undefined || to === undefined || ended === undefined)
    return `${between.join(' or ')} has not come to its end`
  const errorNs = seen.clockErrorNs({ taps, runner: true })
  return {
    before: parseExposition(texts[0] ?? ''),
    after: parseExposition(texts[1] ?? ''),
    fromNs: from,
    toNs: to,
    unsure: [
      { fromNs: begun - errorNs, toNs: from + errorNs },
      { fromNs: to - errorNs, toNs: ended + errorNs },
    ],
  }
}

function textAt(seen: Seen, node: string, step: string): string | undefined {
  const found = seen.observations.find(one => one.kind === 'scrape' && one.step === step && one.node === node)
  return found?.kind === 'scrape' ? found.text : undefined
}

/** By how much a series grew: one that was not there before began at 0. */
export function growth({ before }: Scrapes, sample: Sample): number {
  const key = keyOf(sample)
  return sample.value - (before.samples.find(one => keyOf(one) === key)?.value ?? 0)
}

/** What is wrong with the texts themselves: the format, the type, a counter that fell. */
export function troubleOf(scrapes: Scrapes, counters: (name: string) => boolean): string[] {
  const { before, after } = scrapes
  const of = after.samples.filter(({ name }) => counters(name))
  const untyped = new Set(of.map(({ name }) => name).filter(name => after.types.get(name) !== 'counter'))
  const known = new Map(after.samples.map(sample => [keyOf(sample), sample.value]))
  const fell = before.samples.filter(
    sample => counters(sample.name) && (known.get(keyOf(sample)) ?? -Infinity) < sample.value,
  )
  return [
    ...after.problems,
    ...[...untyped].map(name => `${name} is a ${after.types.get(name) ?? 'metric without a type'}, not a counter`),
    ...fell.map(sample => `${shortOf(sample)} fell from ${sample.value} to ${known.get(keyOf(sample)) ?? 'nothing'}`),
  ]
}

function shortOf({ name, labels }: Sample): string {
  return labels['pod'] === undefined ? name : `${name} of ${labels['pod']}`
}
