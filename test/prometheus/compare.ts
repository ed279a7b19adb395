import { formatIpv4 } from '../../generators/wire/address.ts'
import type { WireDatagram } from '../../runner/check/socket-wire.ts'
import type { PrometheusBed } from './bed.ts'
import type { Series } from './prometheus.ts'

/** How rate() of one row and the tap at its pod compare. */
export interface ComparedRow {
  row: string
  /** Rates that were compared. */
  points: number
  /** The most that they were apart over the range: in segments, and in scrapes' worth. */
  segments: number
  scrapes: number
  /** After the traffic: what the counters say, and what passed the tap, in segments and bytes; a receiver's bytes leave out what it dropped. */
  counted: { segments: number; dropped: number; bytes: number }
  passed: { segments: number; bytes: number }
}

interface Times {
  rangeS: number
  everyS: number
  fromS: number
  toS: number
  stepS: number
}

interface Row {
  pod: string
  src: string
  dst: string
  direction: 'in' | 'out'
  rates: Series['values']
  counted: ComparedRow['counted']
}

/**
 * Each row that saw traffic, taken and dropped together, against the datagrams at the pod's tap: rate() against those of the same
 * time, and once the senders have stopped and that was scraped, all against all.
 */
export async function compareRates(bed: PrometheusBed, times: Times): Promise<ComparedRow[]> {
  const rated = await ratesOf(bed, times)
  await bed.stopSenders()
  const rows = await withCounters(bed, rated, times.everyS)
  const wire = await bed.wire()
  return rows.map(row => {
    const { baseNs, datagrams } = wire(row.pod)
    return comparedRow(
      row,
      times,
      baseNs,
      datagrams.filter(datagram => isOf(datagram, row)),
    )
  })
}

function comparedRow(row: Row, times: Times, baseNs: bigint, passed: readonly WireDatagram[]): ComparedRow {
  const apart = row.rates.map(([timeS, rate]) => {
    const endNs = Number(BigInt(Math.round(timeS * 1e9)) - baseNs)
    const rangeNs = times.rangeS * 1e9
    const segments = Math.abs(rate * times.rangeS - within(passed, endNs, rangeNs).length)
    return { segments, scrapes: segments / mostInAScrape(passed, endNs, rangeNs, times.everyS * 1e9) }
  })
  return {
    row: `${row.pod} ${row.src} ${row.direction === 'in' ? 'from' : 'to'} ${row.dst}`,
    points: apart.length,
    segments: Math.max(...apart.map(({ segments }) => segments)),
    scrapes: Math.max(...apart.map(({ scrapes }) => scrapes)),
    counted: row.counted,
    passed: { segments: passed.length, bytes: passed.reduce((sum, { bytes }) => sum + bytes, 0) },
  }
}

const KINDS = [
  { prefix: 'tetragon_socket_stats_udp_mcast_', src: 'srcmcast', dst: 'dstmcast' },
  { prefix: 'tetragon_socket_stats_udp_', src: 'srcip', dst: 'dstip' },
] as const
type Kind = (typeof KINDS)[number]

type RatedRow = Omit<Row, 'counted'> & { kind: Kind }

async function ratesOf({ prometheus }: PrometheusBed, { rangeS, fromS, toS, stepS }: Times): Promise<RatedRow[]> {
  const rows: RatedRow[] = []
  for (const kind of KINDS) {
    const { prefix, src, dst } = kind
    const of = (counter: string) => `sum by (pod, ${src}, ${dst}) (rate(${prefix}${counter}_total[${rangeS}s]))`
    for (const direction of ['in', 'out'] as const) {
      const expression = direction === 'in' ? `${of('rxsegs')} + ${of('drops')}` : of('txsegs')
      for (const { metric, values } of await prometheus.queryRange(expression, fromS, toS, stepS)) {
        const row = { kind, pod: metric['pod'] ?? '', src: metric[src] ?? '', dst: metric[dst] ?? '', direction }
        if (values.some(([, value]) => value > 0)) rows.push({ ...row, rates: values })
      }
    }
  }
  return rows
}

/** By then two scrapes have begun and ended. */
async function withCounters({ prometheus }: PrometheusBed, rows: readonly RatedRow[], everyS: number): Promise<Row[]> {
  await new Promise(resolve => setTimeout(resolve, 3000 * everyS))
  const nowS = Date.now() / 1000
  return Promise.all(
    rows.map(async row => {
      const { prefix, src, dst } = row.kind
      const value = async (counter: string) => {
        const labels = `pod="${row.pod}",${src}="${row.src}",${dst}="${row.dst}"`
        const [series] = await prometheus.query(`sum(${prefix}${counter}_total{${labels}})`, nowS)
        return series?.values[0]?.[1] ?? 0
      }
      const [segments, bytes] = row.direction === 'in' ? ['rxsegs', 'rxbytes'] : ['txsegs', 'txbytes']
      const dropped = row.direction === 'in' ? await value('drops') : 0
      return { ...row, counted: { segments: await value(segments), dropped, bytes: await value(bytes) } }
    }),
  )
}

/** A receiver's labels are the other way round: its side is where the datagram went. */
function isOf(datagram: WireDatagram, { src, dst, direction }: Row): boolean {
  const [from, to] = direction === 'in' ? [dst, src] : [src, dst]
  return formatIpv4(datagram.src) === from && formatIpv4(datagram.dst) === to
}

function within(datagrams: readonly WireDatagram[], endNs: number, rangeNs: number): WireDatagram[] {
  return datagrams.filter(({ timeNs }) => timeNs > endNs - rangeNs && timeNs <= endNs)
}

/** Of the range: rate() knows it only to the scrapes at its ends. */
function mostInAScrape(datagrams: readonly WireDatagram[], endNs: number, rangeNs: number, everyNs: number): number {
  const inRange = within(datagrams, endNs, rangeNs)
  let [most, first] = [1, 0]
  for (const [last, { timeNs }] of inRange.entries()) {
    while (timeNs - (inRange[first]?.timeNs ?? 0) > everyNs) first++
    most = Math.max(most, last - first + 1)
  }
  return most
}
