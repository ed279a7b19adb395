import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { parseAllDocuments } from 'yaml'
import { probe } from '../../runner/probe.ts'
import { findPackaged } from '../../runner/target/router/debian.ts'
import { skip } from '../skip.ts'
import { suite } from '../suite.ts'
import { PrometheusBed } from './bed.ts'
import { compareRates } from './compare.ts'
import { DASHBOARD, expressionsOf } from './dashboard.ts'

const test = suite('a real Prometheus', { timeoutMs: 120_000 })

const EVERY_S = 2
const RANGE_S = 14
/** Traffic goes on for this long: the range of a rate, and what comes before its first scrape. */
const TRAFFIC_MS = (RANGE_S + 4) * 1000

const promtool = findPackaged('prometheus', '/usr/bin/promtool')
let folder: string
let bed: PrometheusBed | undefined

test.before(async () => {
  if (promtool === undefined) return
  folder = mkdtempSync(join(tmpdir(), 'castproof-prometheus-'))
  bed = await PrometheusBed.start(folder, EVERY_S, new AbortController().signal)
  await new Promise(resolve => setTimeout(resolve, TRAFFIC_MS))
})

test.after(async () => {
  await bed?.close()
  if (folder) rmSync(folder, { recursive: true, force: true })
})

function running(): PrometheusBed | undefined {
  if (!bed) skip('prometheus', 'Debian’s prometheus is not unpacked')
  return bed
}

test('promtool finds nothing wrong with what agents serve', async () => {
  const { site } = running() ?? {}
  for (const node of ['n1', 'n2']) {
    const input = await site?.metrics?.(node)
    if (input !== undefined && promtool) await execa(promtool, ['check', 'metrics'], { input })
  }
})

test('every query of the dashboard has an answer', async () => {
  const up = running()
  if (!up) return
  const [tracing] = await probe(['tracing'])
  const nowS = Date.now() / 1000
  for (const { panel, expr } of expressionsOf(DASHBOARD)) {
    if (/latency/.test(expr) && !tracing?.ok) continue
    const series = await up.prometheus.query(PrometheusBed.expressionOf(expr, RANGE_S), nowS)
    assert.ok(series.length > 0, `${panel}: ${expr}`)
    for (const { values } of series)
      assert.ok(
        values.every(([, value]) => Number.isFinite(value)),
        `${panel}: ${expr}`,
      )
  }
})

test('rate() agrees with the taps within one scrape, and counters exactly, row by row; each agent tells of its own pods', async () => {
  const up = running()
  if (!up) return
  const { prometheus } = up
  const nowS = Date.now() / 1000
  const targets = await prometheus.query('up', nowS)
  assert.equal(
    targets.map(({ values }) => values[0]?.[1]),
    [1, 1],
  )
  const pods = await prometheus.query(
    'count by (pod) (count by (pod, instance) (tetragon_socket_stats_udp_mcast_rxsegs_total))',
    nowS,
  )
  assert.ok(pods.length >= 5)
  for (const { values } of pods) assert.is(values[0]?.[1], 1)
  const rows = await compareRates(up, { rangeS: RANGE_S, everyS: EVERY_S, fromS: nowS - 1, toS: nowS, stepS: 1 })
  assert.ok(rows.length >= 7, JSON.stringify(rows.map(({ row }) => row)))
  for (const { row, scrapes, counted, passed } of rows) {
    assert.is(counted.segments + counted.dropped, passed.segments, row)
    if (counted.dropped === 0) assert.is(counted.bytes, passed.bytes, row)
    assert.ok(scrapes <= 1, `${row}: ${scrapes} scrapes apart`)
  }
  assert.ok(rows.some(({ counted }) => counted.dropped > 0))
})

test('the ServiceMonitor is for a service without an address, whose port it names', () => {
  const text = readFileSync(new URL('../../deploy/metrics/servicemonitor.yaml', import.meta.url), 'utf8')
  const [service, monitor] = parseAllDocuments(text).map(document => document.toJS())
  assert.is(service.spec.clusterIP, 'None')
  assert.equal(monitor.spec.selector.matchLabels, service.metadata.labels)
  assert.is(monitor.spec.endpoints[0].port, service.spec.ports[0].name)
  assert.equal([service.spec.ports[0].port, monitor.spec.endpoints[0].honorLabels], [2112, true])
})

test.run()
