import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { parseExposition } from '../check/exposition.ts'
import type { ProgramEvent } from '../programs-run.ts'
import type { Topology } from '../suite/plan-types.ts'
import { reference } from './reference.ts'
import type { Site } from './target.ts'

const test = suite('metrics of the reference target', { timeoutMs: 60_000 })

const TOPOLOGY: Topology = {
  nodes: ['n1', 'n2'],
  pods: ['n1-1', 'n1-2', 'n2-1'].map(name => ({ name, node: name.slice(0, 2) })),
  metrics: true,
}
let site: Site
const stop = new AbortController().signal

test.before(async () => {
  site = await reference.bringUp(TOPOLOGY, { faults: [] }, stop)
})

test.after(() => site?.close())

async function metricsOf(node: string) {
  const text = await site.metrics?.(node)
  assert.ok(text)
  const { samples, problems } = parseExposition(text)
  assert.equal(problems, [])
  return samples
}

function talk(): Promise<void> {
  const params = { to: '233.252.0.9', port: 5001, text: 'hello', count: 12 }
  return new Promise((resolve, reject) => {
    const ended = ({ event }: ProgramEvent) => (event === 'exit' ? resolve() : undefined)
    site.endpoint('n1-1').run({ program: 'socat-send', params }, ended).catch(reject)
  })
}

const sent = async (node: string): Promise<[string | undefined, number][]> =>
  (await metricsOf(node))
    .filter(({ name, value }) => name === 'tetragon_socket_stats_udp_mcast_txsegs_total' && value > 0)
    .map(({ labels, value }) => [labels['pod'], value])

test('each agent tells of its own node, and goes on after a restart, also with other programs in the kernel', async () => {
  await talk()
  assert.equal(await sent('n1'), [['n1-1', 12]])
  assert.equal(await sent('n2'), [])
  await site.restartAgent('n1')
  await talk()
  assert.equal(await sent('n1'), [['n1-1', 24]])
  await site.setFaults?.(['bytes-ip'])
  assert.equal(await sent('n1'), [])
  await talk()
  assert.equal(await sent('n1'), [['n1-1', 12]])
})

test('groups that are enabled have subscribers, drops have reasons', async () => {
  await site.enableGroup('n1', 0xe9fc0009)
  const samples = await metricsOf('n1')
  const memberships = samples.filter(({ name }) => name === 'castproof_datapath_memberships')
  assert.equal(
    memberships.map(({ labels, value }) => [labels['group'], labels['type'], value]),
    [
      ['233.252.0.9', 'local', 0],
      ['233.252.0.9', 'remote', 0],
    ],
  )
  const reasons = samples.filter(({ name }) => name === 'castproof_datapath_drops_total')
  assert.equal(
    reasons.map(({ labels }) => labels['reason']),
    Object.keys(await site.drops('n1')),
  )
})

test.run()
