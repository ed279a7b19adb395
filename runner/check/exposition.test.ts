import * as assert from 'uvu/assert'
import { exposition } from '../../bpf/exposition.ts'
import { suite } from '../../test/suite.ts'
import { keyOf, parseExposition } from './exposition.ts'

const test = suite('Prometheus text format')

test('a line of the founding document', () => {
  const line =
    'tetragon_socket_stats_udp_mcast_rxsegs_total{binary="/usr/bin/socat",dstmcast="10.1.0.181",dstpod="mcast-snd-2-779959d569-x9hxt",namespace="default",pod="mcast-rcv-2-7978487546-rmc55",srcmcast="225.0.0.12",workload="mcast-rcv-2"} 19870'
  const { samples, types, problems } = parseExposition(
    `# HELP tetragon_socket_stats_udp_mcast_rxsegs_total UDP socket RX segment statistics\n# TYPE tetragon_socket_stats_udp_mcast_rxsegs_total counter\n${line}\n`,
  )
  assert.equal(problems, [])
  assert.is(types.get('tetragon_socket_stats_udp_mcast_rxsegs_total'), 'counter')
  assert.is(samples[0]?.value, 19870)
  assert.is(samples[0]?.labels['srcmcast'], '225.0.0.12')
})

test('values, escapes, time stamps and spaces as the format has them', () => {
  const text = 'a 1e3\nb{} +Inf\nc{x="q\\"\\\\\\n",y="",} -2.5 1395066363000\nd\t NaN\n\n# a comment\n'
  const { samples, problems } = parseExposition(text)
  assert.equal(problems, [])
  assert.equal(
    samples.map(({ name, value }) => `${name} ${value}`),
    ['a 1000', 'b Infinity', 'c -2.5', 'd NaN'],
  )
  assert.equal(samples[2]?.labels, { x: 'q"\\\n', y: '' })
})

test('what is no sample, or there twice, is told with its line', () => {
  const { samples, problems } = parseExposition('ok 1\n1bad 2\nx{a=b} 3\ny one\nz{a="1",b="2"} 4\nz{b="2",a="1"} 5')
  assert.is(samples.length, 2)
  assert.equal(
    problems.map(problem => problem.split(':')[0]),
    ['line 2', 'line 3', 'line 4', 'line 6'],
  )
})

test('what agents write is read back, histograms too', async () => {
  const labels = { pod: 'a "b" \\ c\nd' }
  const text = await exposition([
    { name: 'n_total', type: 'counter', help: 'some', samples: [{ labels, value: 2 ** 53 - 1 }] },
    { name: 'h', type: 'histogram', help: 'some', samples: [{ suffix: '_bucket', labels: { le: '+Inf' }, value: 3 }] },
  ])
  const { samples, types, problems } = parseExposition(text)
  assert.equal(problems, [])
  assert.equal(
    [...types],
    [
      ['n_total', 'counter'],
      ['h', 'histogram'],
    ],
  )
  assert.equal(samples, [
    { name: 'n_total', labels, value: 2 ** 53 - 1 },
    { name: 'h_bucket', labels: { le: '+Inf' }, value: 3 },
  ])
  assert.is(keyOf({ name: 'a', labels: { x: '1', b: '2' } }), keyOf({ name: 'a', labels: { b: '2', x: '1' } }))
})

test.run()
