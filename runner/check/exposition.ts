/** A sample of Prometheus' text format 0.0.4. */
export interface Sample {
  name: string
  labels: Readonly<Record<string, string>>
  value: number
}

export interface Exposition {
  samples: Sample[]
  /** Metric name → counter, gauge, histogram, summary, untyped. */
  types: ReadonlyMap<string, string>
  /** Lines that the format does not allow, and samples that are there twice: `line 7: …`. */
  problems: string[]
}

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?[ \t]+(\S+)(?:[ \t]+-?\d+)?[ \t]*$/
const TYPE = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary|untyped)$/
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)/y
const WORDS: Readonly<Record<string, number>> = { '+Inf': Infinity, '-Inf': -Infinity, Inf: Infinity, NaN: Number.NaN }

export function parseExposition(text: string): Exposition {
  const types = new Map<string, string>()
  const samples = new Map<string, Sample>()
  const problems: string[] = []
  for (const [i, line] of text.split('\n').entries()) {
    const type = TYPE.exec(line)
    if (type) types.set(type[1]!, type[2]!)
    if (line.trim() === '' || line.startsWith('#')) continue
    const sample = sampleOf(line)
    const key = sample && keyOf(sample)
    if (!sample || key === undefined) problems.push(`line ${i + 1}: no sample: ${line.slice(0, 80)}`)
    else if (samples.has(key)) problems.push(`line ${i + 1}: ${sample.name} is there twice with the same labels`)
    else samples.set(key, sample)
  }
  return { samples: [...samples.values()], types, problems }
}

/** The same for two samples of one series, in whatever order their labels stand. */
export function keyOf({ name, labels }: Pick<Sample, 'name' | 'labels'>): string {
  return `${name} ${JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)))}`
}

function sampleOf(line: string): Sample | undefined {
  const [, name, inner = '', written = ''] = SAMPLE.exec(line) ?? []
  const labels = labelsOf(inner)
  const value = WORDS[written] ?? (/^[+-]?(\d|\.\d)/.test(written) ? Number(written) : Number.NaN)
  if (name === undefined || !labels || (Number.isNaN(value) && written !== 'NaN')) return undefined
  return { name, labels, value }
}

function labelsOf(inner: string): Record<string, string> | undefined {
  const labels: Record<string, string> = {}
  LABEL.lastIndex = 0
  while (LABEL.lastIndex < inner.length) {
    const found = LABEL.exec(inner)
    if (!found) return undefined
    labels[found[1]!] = found[2]!.replace(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c))
  }
  return labels
}
