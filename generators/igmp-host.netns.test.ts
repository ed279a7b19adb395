import * as assert from 'uvu/assert'
import { inside, type VethBed, vethBed } from '../captures/testdata/veth.ts'
import { suite } from '../test/suite.ts'
import type { IgmpHosts } from './igmp-host.ts'
import { openIgmpHosts } from './igmp-interface.ts'
import { parseIpv4 } from './wire/address.ts'

const test = suite('IGMP hosts behind a Linux bridge with snooping and querier', { timeoutMs: 60_000 })

const HOST = parseIpv4('192.0.2.10')
const OTHER = parseIpv4('192.0.2.11')
const GROUP = '233.252.0.1'
const G = parseIpv4(GROUP)
const [S1, S2] = [parseIpv4('192.0.2.1'), parseIpv4('192.0.2.2')]

let bed: VethBed
let hosts: IgmpHosts
const errors: unknown[] = []
test.beforeEach(() => {
  bed = vethBed()
  // Times in hundredths of a second: queries every 0.6 s, answers within 0.3 s.
  const timers = [
    'mcast_query_interval',
    '60',
    'mcast_query_response_interval',
    '30',
    'mcast_startup_query_interval',
    '60',
  ]
  // After a leave the bridge puts its next general query off by the last member's time, four seconds: an answer must hold for longer.
  const querier = ['mcast_snooping', '1', 'mcast_querier', '1', 'mcast_membership_interval', '550']
  const bridge = [
    'type',
    'bridge',
    'mcast_igmp_version',
    '3',
    // A host has four seconds to say that it stays: this process may have to wait for a CPU.
    'mcast_last_member_interval',
    '200',
    ...querier,
    ...timers,
  ]
  inside(bed.right, 'ip', 'link', 'add', 'br0', ...bridge)
  inside(bed.right, 'ip', 'link', 'set', 'right', 'master', 'br0')
  inside(bed.right, 'ip', 'addr', 'add', '192.0.2.254/24', 'dev', 'br0')
  inside(bed.right, 'ip', 'link', 'set', 'br0', 'up')
  hosts = openIgmpHosts({ ns: bed.left, interface: 'left', onError: error => errors.push(error) })
})
test.afterEach(() => {
  hosts.close()
  bed.close()
  assert.is(errors.splice(0).map(String).join(), '')
})

interface MdbEntry {
  grp: string
  src?: string
  filter_mode?: string
  source_list?: { address: string }[]
}

/** The bridge's own view of the group on the port: `exclude{}`, `include{192.0.2.1}`; empty = not subscribed. */
function subscribed(): string {
  const [{ mdb = [] }] = JSON.parse(inside(bed.right, 'bridge', '-d', '-j', 'mdb', 'show')) as [{ mdb: MdbEntry[] }]
  const entry = mdb.find(({ grp, src }) => grp === GROUP && src === undefined)
  if (!entry) return ''
  const sources = (entry.source_list ?? []).map(({ address }) => address).sort()
  return `${entry.filter_mode ?? 'v2'}{${sources}}`
}

async function becomes(want: string): Promise<void> {
  const limitMs = performance.now() + 15_000
  while (subscribed() !== want) {
    if (performance.now() > limitMs) assert.is(subscribed(), want)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

/** Nothing but answers to queries keeps an entry longer than the membership interval, 5.5 s, or the last member's time, 4 s. */
async function staysFor(ms: number, want: string): Promise<void> {
  for (const endMs = performance.now() + ms; performance.now() < endMs; ) {
    assert.is(subscribed(), want)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}

test('v3: joins, answers its queries, leaves', async () => {
  hosts.add({ address: HOST })
  hosts.join(HOST, G)
  await becomes('exclude{}')
  await staysFor(6500, 'exclude{}')
  hosts.leave(HOST, G)
  await becomes('')
})

test('v3: who does not answer ages out', async () => {
  hosts.add({ address: HOST, answers: false })
  hosts.join(HOST, G)
  await becomes('exclude{}')
  await becomes('')
})

test('v3: source filters and changes between them', async () => {
  hosts.add({ address: HOST })
  hosts.join(HOST, G, { mode: 'include', sources: [S1] })
  await becomes('include{192.0.2.1}')
  hosts.join(HOST, G, { mode: 'include', sources: [S1, S2] })
  await becomes('include{192.0.2.1,192.0.2.2}')
  hosts.join(HOST, G, { mode: 'include', sources: [S2] })
  await becomes('include{192.0.2.2}')
  await staysFor(6500, 'include{192.0.2.2}')
  hosts.join(HOST, G, { mode: 'exclude', sources: [S1] })
  await becomes('exclude{192.0.2.1}')
  hosts.leave(HOST, G)
  await becomes('')
})

test('two hosts, one v2: the first to leave does not take the group from the other', async () => {
  hosts.add({ address: HOST, version: 2, suppression: false })
  hosts.add({ address: OTHER, version: 2, suppression: false })
  for (const address of [HOST, OTHER]) hosts.join(address, G)
  await becomes('exclude{}')
  hosts.leave(HOST, G)
  await staysFor(6500, 'exclude{}')
  hosts.leave(OTHER, G)
  await becomes('')
})

test('a v2 querier makes v2 hosts of v3 ones', async () => {
  inside(bed.right, 'ip', 'link', 'set', 'br0', 'type', 'bridge', 'mcast_igmp_version', '2')
  hosts.add({ address: HOST })
  hosts.join(HOST, G)
  const limitMs = performance.now() + 5000
  while (hosts.state(HOST).version !== 2 && performance.now() < limitMs) {
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  assert.is(hosts.state(HOST).version, 2)
  await staysFor(6500, 'v2{}')
})

test.run()
