import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { buildFrame, matchFrame } from './frame.ts'
import type { FrameSpec, IgmpFields } from './frame-spec.ts'
import { type IgmpHostSpec, IgmpHosts } from './igmp-host.ts'
import { parseIpv4 } from './wire/address.ts'

const test = suite('IGMP hosts on one interface')

const HOST = parseIpv4('192.0.2.10')
const G = parseIpv4('233.252.0.1')

let sent: Uint8Array[]
let hosts: IgmpHosts
test.beforeEach(() => {
  sent = []
  hosts = new IgmpHosts({
    send: frame => sent.push(frame),
    onError(error) {
      throw error
    },
  })
})
test.afterEach(() => hosts.close())

/** A member of G with nothing left to tell. */
function member(spec: Partial<IgmpHostSpec> = {}): void {
  hosts.add({ address: HOST, robustness: 1, ...spec })
  hosts.join(HOST, G)
}

/** Whether the frame makes the host owe an answer. */
function answers(frame: Uint8Array): boolean {
  hosts.receive(frame)
  return hosts.state(HOST).deadlineMs() < Number.POSITIVE_INFINITY
}

const ALL_SYSTEMS = parseIpv4('224.0.0.1')
const GENERAL: IgmpFields = { qrv: 2 }
const query = (igmp: IgmpFields, ipv4: FrameSpec['ipv4'] = {}) => buildFrame({ ipv4, igmp })

for (const [name, frame, want] of [
  ['a General Query to 224.0.0.1', query(GENERAL), true],
  ["one to the host's own address", query(GENERAL, { dst: HOST }), true],
  ['one to a group', query(GENERAL, { dst: G }), false],
  ['one behind a VLAN tag', buildFrame({ vlan: [{ vid: 5 }], igmp: GENERAL }), true],
  ['one with trailing octets', query({ ...GENERAL, trailing: '0011223344556677' }), true],
  ['one with a wrong checksum', query({ ...GENERAL, checksumXor: 1 }), false],
  ['a Query of ten octets', query({ type: 0x11, trailing: '0000' }), false],
  ['a Query of seven octets', query({ type: 0x11 }, { totalLength: 31 }), false],
  ['a fragment', query(GENERAL, { flags: 1 }), false],
  ['a Query for a unicast group', query({ qrv: 2, group: parseIpv4('10.0.0.1') }, { dst: HOST }), false],
  ['a Query for its group', query({ qrv: 2, group: G }), true],
  ['one for its group to 224.0.0.1, as bridges send it', query({ qrv: 2, group: G }, { dst: ALL_SYSTEMS }), true],
  ['one for its group to another group', query({ qrv: 2, group: G }, { dst: G + 1 }), false],
  ['a Query for another group', query({ qrv: 2, group: G + 1 }), false],
  ['a Query whose sources are not there', query({ group: G, numberOfSources: 1 }), false],
  ['a v2 Query', query({ type: 0x11, maxRespCode: 10 }), true],
  ['a v1 Query', query({ type: 0x11, maxRespCode: 0 }), true],
  ['a type nobody knows', query({ type: 0x99, group: G }), false],
  ['its own Query', query(GENERAL, { src: HOST }), false],
] as const) {
  test(`${name} is ${want ? 'answered' : 'ignored'}`, () => {
    member()
    assert.is(answers(frame), want)
  })
}

test('who answers nothing owes nothing', () => {
  member({ answers: false })
  assert.not(answers(query(GENERAL)))
})

test('reports have the address and MAC of their host and the defaults of the interface', () => {
  const tagged = new IgmpHosts({
    send: frame => sent.push(frame),
    onError() {},
    defaults: { ethernet: { src: 1 }, vlan: [{ vid: 9 }] },
  })
  tagged.add({ address: HOST, mac: 7 })
  tagged.add({ address: HOST + 1 })
  for (const address of [HOST, HOST + 1]) tagged.join(address, G, { mode: 'include', sources: [3] })
  tagged.close()
  const records = [{ recordType: 5, multicastAddress: G, sources: [3] }]
  const want = (src: number, mac: number): FrameSpec => ({
    ethernet: { src: mac },
    vlan: [{ vid: 9 }],
    ipv4: { src, ttl: 1 },
    igmp: { records },
  })
  assert.equal(matchFrame(want(HOST, 7), sent[0] ?? new Uint8Array()), [])
  assert.equal(matchFrame(want(HOST + 1, 1), sent[1] ?? new Uint8Array()), [])
})

test("another host's v2 report quiets a v2 host", () => {
  member({ version: 2 })
  assert.ok(answers(query({ type: 0x11, maxRespCode: 100 })))
  assert.not(answers(buildFrame({ igmp: { type: 0x16, group: G } })))
})

test('timers send what is owed, and nothing after close', async () => {
  member()
  sent.length = 0
  hosts.receive(query({ ...GENERAL, maxRespCode: 1 }))
  for (const limitMs = performance.now() + 5000; sent.length === 0 && performance.now() < limitMs; ) {
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  assert.equal(
    matchFrame({ igmp: { records: [{ recordType: 2, multicastAddress: G }] } }, sent[0] ?? new Uint8Array()),
    [],
  )
  hosts.receive(query({ ...GENERAL, maxRespCode: 1 }))
  hosts.close()
  await new Promise(resolve => setTimeout(resolve, 200))
  assert.is(sent.length, 1)
})

test('an address twice, an address not there', () => {
  member()
  assert.throws(() => hosts.add({ address: HOST }), /already/)
  assert.throws(() => hosts.join(1, G), /no host/)
})

test.run()
