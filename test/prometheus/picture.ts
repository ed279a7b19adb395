/**
 * By hand: `node --import tsx test/prometheus/picture.ts SERIES.json [OUT.svg]`. Draws what `minutes.ts --series` kept of the
 * dashboard's queries, panel by panel as the dashboard lays them out.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { init } from 'echarts'
import { type Answered, DASHBOARD, type Panel } from './dashboard.ts'
import type { Series } from './prometheus.ts'

const COLUMN = 46
const ROW = 38
const GAP = 8
const TITLE = 44
const LEGEND_LINE = 15
const COLOURS = [
  '#1f77b4',
  '#ff7f0e',
  '#2ca02c',
  '#d62728',
  '#9467bd',
  '#8c564b',
  '#e377c2',
  '#7f7f7f',
  '#bcbd22',
  '#17becf',
]

const [from, to] = process.argv.slice(2)
if (from === undefined) throw new Error('usage: picture.ts SERIES.json [OUT.svg]')
const answered = JSON.parse(readFileSync(from, 'utf8')) as Answered[]
const out = to ?? fileURLToPath(new URL('../../docs/images/metrics.svg', import.meta.url))
writeFileSync(out, `${picture(answered)}\n`)

function picture(all: readonly Answered[]): string {
  const drawn = DASHBOARD.panels.flatMap(panel => {
    const answer = all.find(({ title }) => title === panel.title)
    return answer ? [drawPanel(panel, answer)] : []
  })
  const width = 24 * COLUMN
  const height = TITLE + ROW * Math.max(...DASHBOARD.panels.map(({ gridPos: { y, h } }) => y + h))
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif">`,
    `<rect width="${width}" height="${height}" fill="#f4f5f5"/>`,
    `<text x="${GAP}" y="29" font-size="20" fill="#222">${DASHBOARD.title}</text>`,
    ...drawn,
    '</svg>',
  ].join('\n')
}

function drawPanel(panel: Panel, { targets }: Answered): string {
  const { x, y, w, h } = panel.gridPos
  const [width, height] = [w * COLUMN - GAP, h * ROW - GAP]
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height })
  const lines = targets.flatMap(({ legendFormat, series }) =>
    series.map(one => ({ name: nameOf(legendFormat, one), data: one.values.map(([s, v]) => [s * 1000, v]) })),
  )
  const legend = legendOf(lines, width)
  chart.setOption({
    animation: false,
    backgroundColor: '#fff',
    title: { text: panel.title, left: 8, top: 6, textStyle: { fontSize: 14 } },
    color: COLOURS,
    grid: { left: 64, right: 16, top: 36, bottom: 26 + LEGEND_LINE * legend.length },
    xAxis: { type: 'time', splitNumber: 3, axisLabel: { fontSize: 10, hideOverlap: true } },
    yAxis: { type: 'value', min: 0, axisLabel: { fontSize: 10, formatter: (v: number) => withUnit(v, panel) } },
    series: lines.map(line => ({ ...line, type: 'line', showSymbol: false, lineStyle: { width: 1.2 } })),
    ...(lines.length === 0 ? { graphic: nothing(panel, width, height) } : {}),
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  const placed = svg.replace('<svg ', `<svg x="${x * COLUMN + GAP / 2}" y="${TITLE + y * ROW}" `)
  return placed.replace('</svg>', `${drawLegend(legend, height)}</svg>`)
}

interface LegendItem {
  name: string
  colour: string
  x: number
}

/** Lines of a legend. A letter is taken to be 5.7 wide. */
function legendOf(lines: readonly { name: string }[], width: number): LegendItem[][] {
  const rows: LegendItem[][] = []
  let x = width
  for (const [i, { name }] of lines.entries()) {
    const needed = 5.7 * name.length + 34
    if (x + needed > width) {
      rows.push([])
      x = 12
    }
    rows.at(-1)?.push({ name, colour: COLOURS[i % COLOURS.length] ?? '', x })
    x += needed
  }
  return rows
}

function drawLegend(rows: readonly LegendItem[][], height: number): string {
  const drawn = rows.flatMap((items, row) => {
    const y = height - LEGEND_LINE * (rows.length - row) + 4
    return items.map(
      ({ name, colour, x }) =>
        `<rect x="${x}" y="${y - 4}" width="12" height="3" fill="${colour}"/><text x="${x + 17}" y="${y}" font-size="10" fill="#444">${name}</text>`,
    )
  })
  return drawn.join('\n')
}

function nothing({ description }: Panel, width: number, height: number) {
  const style = { text: `no data. ${description}`, fill: '#888', font: '12px sans-serif', width: width - 80 }
  return { type: 'text', left: 40, top: height / 2 - 8, style }
}

function nameOf(format: string, { metric }: Series): string {
  return format.replace(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label]?.split('/').at(-1) ?? '')
}

function withUnit(value: number, { fieldConfig }: Panel): string {
  const { unit } = fieldConfig.defaults
  if (unit === 's')
    return value >= 1e-3 || value === 0 ? `${+(value * 1e3).toFixed(1)} ms` : `${+(value * 1e6).toFixed(0)} µs`
  const short =
    value >= 1e6
      ? `${+(value / 1e6).toFixed(2)} M`
      : value >= 1e3
        ? `${+(value / 1e3).toFixed(1)} k`
        : `${+value.toFixed(2)} `
  return { bps: `${short}b/s`, pps: `${short}/s` }[unit] ?? short.trim()
}
