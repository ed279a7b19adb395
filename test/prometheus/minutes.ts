/**
 * By hand: `node --import tsx test/prometheus/minutes.ts [--minutes 10] [--series FILE]`. Real traffic, a real Prometheus; prints how
 * rate() and the taps compare in each row, and keeps what the dashboard's queries gave for `picture.ts`.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { PrometheusBed } from './bed.ts'
import { type ComparedRow, compareRates } from './compare.ts'
import { type Answered, DASHBOARD } from './dashboard.ts'

const EVERY_S = 5
const RANGE_S = 60

const { values } = parseArgs({ options: { minutes: { type: 'string' }, series: { type: 'string' } } })
const minutes = Number(values.minutes ?? 10)
const stop = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort())

const folder = mkdtempSync(join(tmpdir(), 'castproof-minutes-'))
const bed = await PrometheusBed.start(folder, EVERY_S, stop.signal)
try {
  const fromS = Date.now() / 1000
  await pause(minutes * 60_000)
  const toS = Date.now() / 1000
  if (values.series !== undefined) writeFileSync(values.series, JSON.stringify(await answers(fromS, toS)))
  const times = { rangeS: RANGE_S, everyS: EVERY_S, fromS: fromS + RANGE_S + 2 * EVERY_S, toS, stepS: EVERY_S }
  print(await compareRates(bed, times))
} finally {
  await bed.close()
  rmSync(folder, { recursive: true, force: true })
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms)
    stop.signal.addEventListener('abort', () => {
      clearTimeout(timer)
      reject(stop.signal.reason)
    })
  })
}

async function answers(fromS: number, toS: number): Promise<Answered[]> {
  const stepS = Math.max(EVERY_S, Math.round((toS - fromS) / 240))
  return Promise.all(
    DASHBOARD.panels.map(async ({ title, targets }) => ({
      title,
      targets: await Promise.all(
        targets.map(async ({ expr, legendFormat }) => ({
          legendFormat,
          series: await bed.prometheus.queryRange(PrometheusBed.expressionOf(expr, 4 * EVERY_S), fromS, toS, stepS),
        })),
      ),
    })),
  )
}

function print(rows: readonly ComparedRow[]): void {
  console.log(`${minutes} minutes, a scrape every ${EVERY_S} s, rate() over ${RANGE_S} s, compared every ${EVERY_S} s`)
  for (const { row, points, segments, scrapes, counted, passed } of rows) {
    const exact = counted.segments + counted.dropped === passed.segments ? 'exactly' : 'NOT'
    console.log(
      `${row}: ${passed.segments} datagrams at the tap, ${counted.segments} taken or sent and ${counted.dropped} dropped, ${exact} as many; ` +
        `rate() off by at most ${segments.toFixed(1)} datagrams, ${scrapes.toFixed(2)} scrapes, at ${points} times`,
    )
  }
}
