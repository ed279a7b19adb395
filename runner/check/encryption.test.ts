import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { DIRECTION } from '../../captures/record.ts'
import { buildFrame } from '../../generators/frame.ts'
import { parseIpv4 } from '../../generators/wire/address.ts'
import { fillIpv4Checksum, ipv4 } from '../../generators/wire/ipv4.ts'
import type { CheckResult, RunResult } from '../../reports/result.ts'
import { suite } from '../../test/suite.ts'
import { judgeRun } from '../judge.ts'
import type { EncryptedWant, EspWant, ExpectationWants, XfrmWant } from '../suite/expectations.ts'
import { contentAsSent } from './content.ts'
import { EncryptedScenario, type Sealing } from './encryption-scenario.ts'
import { Scenario, type SeenFrame } from './scenario.ts'
import { writeRunDirectory } from './scenario-directory.ts'

const test = suite('checks encrypted, esp, xfrm')
let directory = ''
test.beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'castproof-encryption-'))
})
test.afterEach(() => rmSync(directory, { recursive: true }))

/** Through the files of a run and the judge that a run has. */
function judge(scenario: EncryptedScenario, wants: Partial<ExpectationWants>, spoil: () => void = () => {}): RunResult {
  rmSync(directory, { recursive: true })
  scenario.expect.length = 0
  for (const [check, want] of Object.entries(wants))
    scenario.expect.push({ check: check as keyof ExpectationWants, line: 1, want })
  writeRunDirectory(directory, scenario)
  spoil()
  return judgeRun(directory)
}

const ENCRYPTED: EncryptedWant = { stream: 's1', nodes: ['n1'], sanity: { stream: 'clear' } }
const ESP: EspWant = { stream: 's1', fromNodes: ['n1'], toNodes: ['n2'], spi: [3], keys: 'pair', layer: 'overlay' }

function check(scenario: EncryptedScenario, wants: Partial<ExpectationWants>, spoil?: () => void): CheckResult {
  const found = judge(scenario, wants, spoil).cases[0]?.checks[0]
  if (!found) throw new Error('nothing was judged')
  return found
}

function verdictOf(scenario: EncryptedScenario, wants: Partial<ExpectationWants>, spoil?: () => void): string {
  const { status, message, method = '' } = check(scenario, wants, spoil)
  return `${status} ${status === 'pass' ? method : message}`
}

const encrypted = (scenario: EncryptedScenario, change: Partial<EncryptedWant> = {}, spoil?: () => void) =>
  verdictOf(scenario, { encrypted: { ...ENCRYPTED, ...change } }, spoil)
const esp = (change?: (sealing: Sealing, frame: SeenFrame) => void, want: Partial<EspWant> = {}, members?: string[]) =>
  verdictOf(new EncryptedScenario(change, members && { members }), { esp: { ...ESP, ...want } })

test('a right run passes all, and what other checks say of an uplink holds through ESP', () => {
  const uplink = (node: string, direction: 'in' | 'out', copies: number) => ({
    place: 'uplink' as const,
    node,
    direction,
    copies,
  })
  const result = judge(new EncryptedScenario(), {
    encrypted: ENCRYPTED,
    esp: ESP,
    delivered: { stream: 's1', to: ['rx', 'far', 'far2'] },
    encapsulated: { stream: 's1', fromNodes: ['n1'], toNodes: ['n2'], levels: 1 },
    replication: {
      stream: 's1',
      senders: [
        {
          pod: 'tx',
          counts: [uplink('n1', 'out', 1), uplink('n1', 'in', 0), uplink('n2', 'out', 0), uplink('n2', 'in', 1)],
        },
      ],
    },
  })
  const told = result.cases[0]?.checks.map(({ check: name, status, message }) => `${name} ${status} ${message}`)
  assert.equal(told, [
    'encrypted pass nothing of s1 left n1 in clear',
    'esp pass ESP of s1 is as it should be',
    'delivered pass 10 frames of s1 at 3 pods, each exactly once',
    'encapsulated pass each datagram of s1 crossed in VXLAN once to n2',
    'replication pass copies of s1 are exact at every tap listed',
  ])
  const rows = result.cases[0]?.ledger.filter(({ stream, layer }) => stream === 's1' && layer === 'uplink')
  assert.equal(
    rows?.map(({ tap, direction, copies }) => `${tap} ${direction} ${copies}`),
    ['n1/eth0 (ESP) out 10', 'n2/eth0 in 10'],
  )
  assert.is(result.background['esp not opened'], undefined)
})

/** A frame that was captured in clear on its way out of n1. */
function plant(
  scenario: EncryptedScenario,
  bytes: Uint8Array,
  tap = 'n1/eth0',
  direction: 'in' | 'out' = 'out',
): EncryptedScenario {
  const last = scenario.at('n1/lxc_tx', scenario.streams.find(({ name }) => name === 's1')!).at(-1)!
  scenario.plant(tap, direction, bytes, last.timeNs + 10)
  return scenario
}

const outer = {
  ipv4: { src: parseIpv4('10.0.0.1'), dst: parseIpv4('10.0.0.2') },
  udp: { srcPort: 50000, dstPort: 8472, checksum: 0 },
}

function clearFrame(scenario: EncryptedScenario, sequence = 4): Uint8Array {
  return scenario.encapsulate(
    scenario.at('tx/eth0', scenario.streams.find(({ name }) => name === 's1')!, sequence)[0]!.bytes,
    'n1',
    'n2',
  )
}

test('encrypted: one frame in clear, whole, is a fail with the frame', () => {
  const scenario = new EncryptedScenario()
  const { status, message, evidence } = check(plant(scenario, clearFrame(scenario)), { encrypted: ENCRYPTED })
  assert.is(status, 'fail')
  assert.match(
    message,
    /^expected nothing of s1 in clear at n1\/eth0 \(out\), saw 1 frame: 1 with bytes of a stamp, bytes of a payload, VXLAN, a group as destination$/,
  )
  assert.equal(
    evidence.map(({ tap, note }) => [tap, note]),
    [['n1/eth0', 'in clear: bytes of a stamp, bytes of a payload, VXLAN, a group as destination']],
  )
})

test('encrypted: the same frame where it comes in is none of its business', () => {
  const scenario = new EncryptedScenario()
  assert.is(encrypted(plant(scenario, clearFrame(scenario), 'n2/eth0', 'in')), 'pass fence')
})

const inner = (change: Parameters<typeof buildFrame>[0]) => Buffer.from(buildFrame(change)).toString('hex')
const GROUP = parseIpv4('233.252.0.1')
const LEAKS: [name: string, frame: (scenario: EncryptedScenario) => Uint8Array, what: RegExp][] = [
  ['two levels of VXLAN', s => s.encapsulate(clearFrame(s), 'n1', 'n2'), /bytes of a stamp/],
  [
    'VXLAN that holds nothing of ours',
    () => buildFrame({ ...outer, vxlan: { vni: 2 }, payload: inner({ arp: { senderIp: 1, targetIp: 2 } }) }),
    /1 with VXLAN$/,
  ],
  [
    'IGMP of a pod, inside VXLAN',
    () => buildFrame({ ...outer, vxlan: { vni: 2 }, payload: inner({ igmp: { type: 0x16, group: 0xe0000055 } }) }),
    /VXLAN, a group as destination, IGMP$/,
  ],
  [
    'IGMP of a pod, bare',
    () =>
      buildFrame({
        ipv4: { src: parseIpv4('10.1.0.1') },
        igmp: { records: [{ recordType: 4, multicastAddress: GROUP + 5 }] },
      }),
    /1 with IGMP$/,
  ],
  [
    "IGMP for the case's group from the node itself",
    () =>
      buildFrame({
        ipv4: { src: parseIpv4('10.0.0.1') },
        igmp: { records: [{ recordType: 4, multicastAddress: GROUP }] },
      }),
    /1 with IGMP$/,
  ],
  [
    'the bare group',
    () => buildFrame({ ipv4: { src: parseIpv4('10.0.0.1'), dst: GROUP }, udp: {} }),
    /1 with a group as destination$/,
  ],
  [
    'a second fragment whose head is not in clear',
    s => tailOf(clearFrame(s)),
    /bytes of a payload, a fragment of a UDP datagram between nodes$/,
  ],
  [
    'a payload under another protocol',
    s =>
      buildFrame({
        ipv4: { src: parseIpv4('10.0.0.1'), dst: parseIpv4('10.0.0.2'), protocol: 99 },
        payload: `00${Buffer.from(clearFrame(s).subarray(112)).toString('hex')}`,
      }),
    /1 with bytes of a payload$/,
  ],
  [
    'a stamp behind garbage',
    s =>
      buildFrame({
        ipv4: { src: parseIpv4('10.0.0.1'), dst: parseIpv4('10.0.0.2'), protocol: 50 },
        payload: `0000000300000001ff${Buffer.from(clearFrame(s).subarray(92, 110)).toString('hex')}`,
      }),
    /1 with bytes of a stamp$/,
  ],
]

/** What lies behind the first 104 bytes of the outer packet, as a fragment. */
function tailOf(frame: Uint8Array): Uint8Array {
  return buildFrame({
    ipv4: { ...outer.ipv4, protocol: 17, id: 9, fragmentOffset: 12, flags: 0 },
    payload: Buffer.from(frame.subarray(130)).toString('hex'),
  })
}

for (const [name, frame, what] of LEAKS) {
  test(`encrypted: ${name}`, () => {
    const scenario = new EncryptedScenario()
    const verdict = encrypted(plant(scenario, frame(scenario)))
    assert.match(verdict, /^fail expected nothing of s1 in clear/)
    assert.match(verdict, what)
  })
}

test("encrypted: what is not the pods' business is no leak", () => {
  for (const harmless of [
    buildFrame({ arp: { senderIp: 1, targetIp: 2 } }),
    buildFrame({
      ipv4: { src: parseIpv4('10.0.0.1') },
      igmp: { records: [{ recordType: 4, multicastAddress: 0xe00000fb }] },
    }),
    buildFrame({ ipv4: { src: parseIpv4('10.0.0.1'), dst: 0xe00000fb }, udp: { dstPort: 5353 } }),
    buildFrame({
      ipv4: { src: parseIpv4('10.0.0.1'), dst: parseIpv4('10.0.0.9') },
      udp: { dstPort: 53 },
      payload: '00'.repeat(200),
    }),
  ]) {
    assert.is(encrypted(plant(new EncryptedScenario(), harmless)), 'pass fence')
  }
})

test('encrypted: a late copy, a guard in clear, a window', () => {
  const late = new EncryptedScenario()
  const copy = late.at('n1/eth0', late.streams[0]!)
  assert.ok(copy.length > 0)
  const s1 = late.streams.find(({ name }) => name === 's1')!
  late.frames.push({ ...copy[0]!, bytes: clearFrame(late), stream: s1.number, sequence: 4, timeNs: late.nowNs + 1e9 })
  assert.match(encrypted(late), /fail .* 1 with a frame of s1$/)
  const guard = new EncryptedScenario()
  const fence = guard.streams.find(({ name }) => name === 's1.fence')!
  plant(guard, guard.encapsulate(guard.at('tx/eth0', fence)[0]!.bytes, 'n1', 'n2'))
  assert.match(encrypted(guard), /^fail .* bytes of a stamp, VXLAN, a group as destination$/)
  assert.match(encrypted(guard, { before: 'clear' }), /^inconclusive no frame of s1 was sent in the window/)
})

test('encrypted: while encryption is off, clear is no leak, and elsewhere the sanity run is one', () => {
  const scenario = new EncryptedScenario()
  assert.is(encrypted(scenario), 'pass fence')
  assert.match(encrypted(scenario, { stream: 'clear', sanity: { stream: 'clear' } }), /^pass/)
  const steps = scenario.steps.filter(({ id }) => !id.startsWith('encryption'))
  scenario.steps.splice(0, scenario.steps.length, ...steps)
  assert.match(encrypted(scenario, { stream: 'clear' }), /^fail expected nothing of clear in clear/)
})

/** As a case has it: the step stands in `while` of the stream that is under way. */
function underStream(scenario: EncryptedScenario, id: string): void {
  const at = scenario.steps.findIndex(step => step.id === id)
  const [inner] = scenario.steps.splice(at, 1)
  scenario.steps.push({ id: 'live', line: 1, action: 'send', stream: {}, meanwhile: [inner] } as never)
}

test('encrypted: encryption that is switched on under a stream is on from then', () => {
  const leaks = plant(new EncryptedScenario(), clearFrame(new EncryptedScenario()))
  underStream(leaks, 'encryption-on')
  assert.match(encrypted(leaks), /^fail expected nothing of s1 in clear at n1\/eth0 \(out\), saw 1 frame/)
  const twice = plant(new EncryptedScenario(), clearFrame(new EncryptedScenario()))
  twice.steps.unshift(twice.steps.find(({ id }) => id === 'encryption-off')!)
  assert.match(encrypted(twice), /^fail/)
  const right = new EncryptedScenario()
  underStream(right, 'encryption-on')
  assert.is(encrypted(right), 'pass fence')
})

test('encrypted: off at another node excuses nothing at this one, and on at another ends nothing here', () => {
  const at = (nodes: Record<string, string[]>) => {
    const scenario = plant(new EncryptedScenario(), clearFrame(new EncryptedScenario()))
    for (const step of scenario.steps) Object.assign(step, nodes[step.id] && { nodes: nodes[step.id] })
    return scenario
  }
  assert.match(encrypted(at({ 'encryption-off': ['n2'] }), { stream: 'clear' }), /^fail/)
  assert.match(encrypted(at({ 'encryption-on': ['n2'] })), /^inconclusive|^pass/)
  assert.match(encrypted(at({ 'encryption-on': ['n1'] })), /^fail/)
})

test('encrypted: a search that was blind with encryption off proves nothing', () => {
  const blind = new EncryptedScenario()
  blind.lose(...blind.at('n1/eth0', blind.streams[0]!))
  const others = blind.frames.filter(({ tap, stream }) => tap === 'n1/eth0' && stream !== undefined)
  blind.lose(...others)
  assert.match(
    encrypted(blind),
    /^inconclusive nothing in clear at n1\/eth0 \(out\), but the sanity run \(clear\) did not see VXLAN, bytes of a stamp, a group as destination, bytes of a payload, a frame of clear in clear there either$/,
  )
  const never = new EncryptedScenario()
  assert.match(
    encrypted(never, { sanity: { stream: 'nothing' } }),
    /^inconclusive .* no frame of nothing was sent from n1$/,
  )
})

test('encrypted: no guard, a tap that lost frames, no tap', () => {
  const open = new EncryptedScenario()
  open.frames = open.frames.filter(({ stream, tap, timeNs }) => {
    const name = open.streams.find(({ number }) => number === stream)?.name ?? ''
    const behind = timeNs > open.at('n1/lxc_tx', open.streams.find(s => s.name === 's1')!).at(-1)!.timeNs + 5000
    return !(name.startsWith('s1.fence') && tap !== 'tx/eth0') && !(stream === undefined && behind)
  })
  assert.match(encrypted(open), /^inconclusive .* no guard datagram passed n1\/eth0 \(out\) after s1$/)
  const lossy = new EncryptedScenario()
  const dropped = () => {
    const path = join(directory, 'observations.jsonl')
    writeFileSync(path, readFileSync(path, 'utf8').replaceAll('"dropped":0', '"dropped":7'))
  }
  assert.match(encrypted(lossy, {}, dropped), /^inconclusive .* lost 7 frames/)
  const untapped = new EncryptedScenario()
  untapped.withoutTap.add('n1/eth0')
  assert.match(encrypted(untapped), /^inconclusive .* no capture of n1\/eth0$/)
})

test('encrypted: without keys the guard beyond the uplink is the proof; without a stream, ESP that opened', () => {
  const noKeys = new EncryptedScenario()
  noKeys.keys = undefined
  assert.is(encrypted(noKeys), 'pass fence')
  const window: EncryptedWant = {
    nodes: ['n1'],
    after: 'encryption-on',
    sanity: { after: 'encryption-off', before: 'encryption-on' },
  }
  assert.is(verdictOf(new EncryptedScenario(), { encrypted: window }), 'pass ESP opened')
  const leak = new EncryptedScenario()
  assert.match(
    verdictOf(plant(leak, clearFrame(leak)), { encrypted: window }),
    /^fail expected nothing in clear at n1\/eth0/,
  )
  const nothing: EncryptedWant = { ...window, before: 'clear', after: 'encryption-off' }
  assert.match(
    verdictOf(new EncryptedScenario(), { encrypted: nothing }),
    /^inconclusive .* no ESP that opens left there in the window/,
  )
})

test('esp: SPI, key, number, address, content: each departure is a fail that names it', () => {
  const third = (change: (sealing: Sealing, frame: SeenFrame) => void) => (sealing: Sealing, frame: SeenFrame) => {
    if (sealing.from === 'n1' && sealing.packet === 3) change(sealing, frame)
  }
  assert.match(
    esp(
      third(s => {
        s.spi = 4
      }),
    ),
    /^fail expected SPI 3 at n1\/eth0, saw 4 in 1 packet/,
  )
  assert.is(
    esp(
      third(s => {
        s.spi = 4
      }),
      { spi: [3, 4] },
    ),
    'pass fence',
  )
  assert.match(
    esp(
      third(s => {
        s.derivation = 'global'
      }),
    ),
    /^fail expected the pair's own key at n1\/eth0, the global key opened 1 packet/,
  )
  assert.match(
    esp(
      third(s => {
        s.content.sequence = 2
      }),
    ),
    /^fail expected rising sequence numbers at n1\/eth0, 1 packet did not rise: number 2 to 10\.0\.0\.2 came after 2/,
  )
  assert.match(
    esp(
      third(s => {
        s.content.sequence = 1
      }),
    ),
    /number 1 to 10\.0\.0\.2 came after 2/,
  )
  assert.is(
    esp(s => {
      s.content.sequence += 0xffff_fff0
      if (s.content.sequence > 0xffff_ffff) {
        s.content.sequence -= 0x1_0000_0000
        s.content.sequenceHigh = 1
      }
    }),
    'pass fence',
  )
  assert.match(
    esp(
      third(s => {
        s.content.payload[s.content.payload.length - 1]! ^= 1
      }),
    ),
    /^fail expected s1 in one ESP packet to each of n2 at n1\/eth0, saw 1 packet wrong: payload byte/,
  )
  assert.match(
    esp(
      third(s => {
        s.content.padding = Uint8Array.of(9, 9)
        s.content.payload = new Uint8Array(20)
      }),
    ),
    /^fail expected ESP that the pair's key opens at n1\/eth0, 1 packet stayed closed: padding does not count/,
  )
})

test('esp: a copy that is missing, twice, or to a node without members', () => {
  const lost = new EncryptedScenario()
  const packets = lost.frames.filter(
    ({ tap, stream, timeNs }) => tap === 'n1/eth0' && stream === undefined && timeNs > 0,
  )
  lost.lose(packets[2]!)
  assert.match(
    verdictOf(lost, { esp: ESP }),
    /^fail expected s1 in one ESP packet to each of n2 at n1\/eth0, saw to n2: nothing of 2$/,
  )
  const doubled = new EncryptedScenario()
  const double = doubled.frames.filter(({ tap, stream }) => tap === 'n1/eth0' && stream === undefined)[2]!
  doubled.double(double)
  assert.match(verdictOf(doubled, { esp: ESP }), /^fail expected rising sequence numbers at n1\/eth0/)
  assert.match(check(doubled, { esp: ESP }).details.join('\n'), /saw to n2: more than one of 2/)
  assert.match(
    esp(undefined, { toNodes: [] }),
    /^fail expected s1 not in ESP at all at n1\/eth0, saw 10 packets wrong: sent to 10\.0\.0\.2, which should get none/,
  )
  assert.is(esp(undefined, { toNodes: [] }, ['rx']), 'pass fence')
})

test('esp: fragments of ESP are one packet; nothing is judged without keys, or without the global one', () => {
  assert.is(
    esp(sealing => {
      sealing.fragmentBytes = 200
    }),
    'pass fence',
  )
  const noKeys = new EncryptedScenario()
  noKeys.keys = undefined
  assert.match(verdictOf(noKeys, { esp: ESP }), /^inconclusive no keys are known/)
  const other = new EncryptedScenario()
  other.keys = other.keys?.replace(/a1b2/g, 'ffff')
  assert.match(
    verdictOf(other, { esp: ESP }),
    /^fail expected ESP that the pair's key opens at n1\/eth0, 16 packets stayed closed: wrong ICV/,
  )
})

test('esp: what other cases of the stage do behind its end is theirs', () => {
  const scenario = new EncryptedScenario()
  const sealed = scenario.frames.filter(f => f.tap === 'n1/eth0' && f.direction === 'out' && f.stream === undefined)
  const garbage = sealed[0]!.bytes.slice()
  garbage[60]! ^= 1
  const guard = sealed.at(-1)!
  const later = (bytes: Uint8Array, timeNs: number) => scenario.frames.push({ ...guard, bytes, timeNs })
  // A number that was used already, and what no key of ours opens.
  later(guard.bytes, scenario.nowNs + 1e9)
  later(garbage, scenario.nowNs + 2e9)
  assert.is(verdictOf(scenario, { esp: ESP }), 'pass fence')
  later(guard.bytes, guard.timeNs + 10)
  later(garbage, guard.timeNs + 20)
  const { status, details } = check(scenario, { esp: ESP })
  assert.is(status, 'fail')
  assert.match(details.join('\n'), /1 packet stayed closed: wrong ICV/)
})

test('contents of routed unicast: hops may be off the TTL, and nothing else may differ', () => {
  const altered = (change: (frame: Uint8Array) => void, routed: boolean) => {
    const scenario = new Scenario()
    const stream = scenario.send('s1', { count: 1, dst: '10.1.0.4' })
    const [copy] = scenario.at('n1/lxc_tx', stream)
    copy!.bytes = copy!.bytes.slice()
    change(copy!.bytes)
    const { seen } = scenario
    const [sighting = -1] = seen.ledger.sightings(seen.tapIndex('n1/lxc_tx'), stream.number, DIRECTION.in)
    return contentAsSent(stream, seen, sighting, routed)?.field
  }
  const hop = (frame: Uint8Array) => {
    ipv4.fields.ttl.set(frame, 14, 3)
    fillIpv4Checksum(frame, 14, 20)
  }
  const both = (frame: Uint8Array) => {
    frame[60]! ^= 1
    hop(frame)
  }
  const more = (frame: Uint8Array) => {
    ipv4.fields.ttl.set(frame, 14, 5)
    fillIpv4Checksum(frame, 14, 20)
  }
  assert.equal([altered(hop, false), altered(hop, true)], ['ipv4.ttl', undefined])
  assert.is(altered(both, true), 'payload byte 18')
  assert.is(altered(more, true), 'ipv4.ttl')
  assert.is(
    altered(frame => ipv4.fields.ttl.set(frame, 14, 3), true),
    'ipv4.ttl',
  )
})

test('esp: of a window', () => {
  const window: EspWant = {
    fromNodes: ['n1'],
    toNodes: ['n2'],
    spi: [3],
    keys: 'pair',
    layer: 'overlay',
    after: 'encryption-on',
    atLeast: 10,
  }
  assert.is(verdictOf(new EncryptedScenario(), { esp: window }), 'pass ESP opened')
  assert.match(
    verdictOf(new EncryptedScenario(), { esp: { ...window, atLeast: 100 } }),
    /^fail expected at least 100 ESP packets from n1 to n2 at n1\/eth0, saw \d+$/,
  )
  const broken = new EncryptedScenario()
  broken.observe({ kind: 'step', step: 'client', action: 'wait', phase: 'end', ok: false })
  assert.match(
    verdictOf(broken, { esp: { ...window, atLeast: 100 } }),
    /^inconclusive expected at least 100 .*, saw \d+; step client \(wait\) did not come to pass$/,
  )
})

test('a keys file that is not there, and one that cannot be read', () => {
  const missing = judge(new EncryptedScenario(), { esp: ESP }, () =>
    rmSync(join(directory, 'keys'), { recursive: true }),
  )
  assert.is(missing.cases[0]?.status, 'inconclusive')
  assert.ok(missing.warnings.includes('keys/test-1.yaml is missing: ESP stays closed'), missing.warnings.join())
  const broken = () => writeFileSync(join(directory, 'keys', 'test-1.yaml'), 'castproof: 1\n')
  assert.throws(() => judge(new EncryptedScenario(), { esp: ESP }, broken), /holds no key|holds/)
})

test('no key, nor eight digits of one, in the result or in what evidence there is', () => {
  const scenario = new EncryptedScenario(s => {
    if (s.packet === 3) s.derivation = 'global'
  })
  plant(scenario, clearFrame(scenario))
  const result = JSON.stringify(judge(scenario, { encrypted: ENCRYPTED, esp: ESP }))
  assert.match(result, /the global key opened/)
  for (const key of ['a1b2c3d4e5', '0f1e2d3c4b'].map(part => part.repeat(4))) {
    for (let i = 0; i + 8 <= key.length; i++) assert.not.ok(result.includes(key.slice(i, i + 8)))
  }
})

const XFRM: XfrmWant = { nodes: ['n1'], errors: {} }

function counted(...grown: number[]): EncryptedScenario {
  const scenario = new EncryptedScenario()
  const observe = (at: string, n: number) =>
    scenario.observe({ kind: 'xfrm', at, node: 'n1', errors: { XfrmInError: 5, XfrmInStateSeqError: n }, states: [] })
  for (const [i, n] of grown.entries()) observe(['start', 'snap', 'end'][i] ?? 'end', n)
  return scenario
}

test('xfrm: counters that grew, that were expected to, that nobody took', () => {
  assert.is(verdictOf(counted(2, 2, 2), { xfrm: XFRM }), 'pass ')
  assert.is(
    verdictOf(counted(2, 2, 4), { xfrm: XFRM }),
    'fail expected XfrmInStateSeqError of n1 to grow by 0, it grew by 2 (2 to 4)',
  )
  assert.is(verdictOf(counted(2, 2, 4), { xfrm: { ...XFRM, before: 'snap' } }), 'pass ')
  assert.is(
    verdictOf(counted(2, 2, 4), { xfrm: { ...XFRM, errors: { XfrmInStateSeqError: { atLeast: 2 } } } }),
    'pass ',
  )
  assert.match(
    verdictOf(counted(2, 2, 2), { xfrm: { ...XFRM, errors: { XfrmInStateSeqError: 1 } } }),
    /^fail .* to grow by 1, it grew by 0/,
  )
  assert.match(
    verdictOf(counted(2, 2, 2), { xfrm: { ...XFRM, errors: { XfrmInNoStates: 0 } } }),
    /^inconclusive n1 has no counter XfrmInNoStates/,
  )
  assert.match(verdictOf(counted(), { xfrm: XFRM }), /^inconclusive no XFRM counters of n1 were taken at start, end/)
  const atMost = { xfrm: { ...XFRM, errors: { XfrmInStateSeqError: { atMost: 3 } } } }
  assert.match(verdictOf(counted(9, 9, 1), atMost), /^inconclusive XfrmInStateSeqError of n1 went back from 9 to 1/)
  const empty = counted(1, 1, 1)
  for (const at of ['start', 'end']) empty.observe({ kind: 'xfrm', at, node: 'n2', errors: {} })
  assert.match(
    verdictOf(empty, { xfrm: { ...XFRM, nodes: ['n1', 'n2'] } }),
    /^inconclusive no XFRM counters of n2 were taken at start, end/,
  )
  assert.match(
    verdictOf(counted(1, 1, 1), { xfrm: { ...XFRM, nodes: ['n2'] } }),
    /^inconclusive no XFRM counters of n2/,
  )
})

test.run()
