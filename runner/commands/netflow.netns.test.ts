import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { writeMessages } from '../../captures/testdata/flow-oracle.ts'
import { createNetns, inNetns, type Netns } from '../../generators/linux/netns.ts'
import { flowTemplate } from '../../generators/wire/flow-template.ts'
import type { FlowSetSpec } from '../../generators/wire/flow-write.ts'
import { buildNetflow9 } from '../../generators/wire/netflow9.ts'
import { type Invoked, invoke } from '../../test/invoke.ts'
import { suite } from '../../test/suite.ts'
import { cli } from '../cli.ts'
import { Interrupted } from '../io.ts'

const test = suite('castproof netflow', { timeoutMs: 60_000 })

const template = flowTemplate(256, [
  ...(['sourceIPv4Address', 'destinationIPv4Address', 'sourceTransportPort', 'destinationTransportPort'] as const),
  ...(['protocolIdentifier', 'ipClassOfService', 'ingressInterface', 'egressInterface', 'isMulticast'] as const),
  ...(['flowDirection', 'multicastReplicationFactor', 'octetDeltaCount', 'packetDeltaCount'] as const),
  ...(['postMCastOctetDeltaCount', 'postMCastPacketDeltaCount', 'flowStartSysUpTime', 'flowEndSysUpTime'] as const),
])
const base = {
  ...{ sourceIPv4Address: '192.168.1.1', destinationIPv4Address: '239.0.0.2', sourceTransportPort: 50000 },
  ...{
    destinationTransportPort: 5004,
    protocolIdentifier: 17,
    ipClassOfService: 0,
    isMulticast: 1,
    ingressInterface: 415,
  },
  ...{ packetDeltaCount: 4000, octetDeltaCount: 5_488_000, flowStartSysUpTime: 100, flowEndSysUpTime: 900 },
}
const copies = { multicastReplicationFactor: 3, postMCastPacketDeltaCount: 12000, postMCastOctetDeltaCount: 16_464_000 }
const ingress = { ...base, ...copies, flowDirection: 0 }
const egress = [418, 422, 426].map(egressInterface => ({ ...base, egressInterface, flowDirection: 1 }))
const NAMES = ['--name', '415=Gi1/0', '--name', '418=Gi2/0', '--name', '422=Gi3/0', '--name', '426=Gi5/0']

let folder: string
let ns: Netns
test.before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'netflow-cli-'))
  ns = createNetns()
  await inNetns(ns, () => execa('ip', ['link', 'set', 'lo', 'up']))
})
test.after(() => {
  ns.close()
  rmSync(folder, { recursive: true })
})

function message(
  sequence: number,
  flowSets: FlowSetSpec[],
  seconds = 1_700_000_000 + sequence,
  sysUpTimeMs = 1000 * (sequence + 1),
): Uint8Array {
  return buildNetflow9({ sysUpTimeMs, unixSeconds: seconds, sequence, sourceId: 0, flowSets })
}

const data = (...records: object[]): FlowSetSpec => ({ data: { template, records: records as never } })

async function offline(messages: Uint8Array[], ...words: string[]): Promise<Invoked> {
  writeMessages(join(folder, 'x.pcap'), messages)
  return invoke(['netflow', 'x.pcap', ...words], folder)
}

test('Picture 4: a router that does not support replication shows zeros, and the tool says so', async () => {
  const zeros = { ...base, flowDirection: 0, multicastReplicationFactor: 0 }
  const { stdout, exitCode } = await offline([message(0, [{ templates: [template] }, data(zeros)])], ...NAMES)
  assert.is(exitCode, 0)
  assert.match(
    stdout,
    /interface input +Gi1\/0\ninterface output +Null\nrouting is-multicast +Yes 0x01\nflow direction +Input\nmulticast replication-factor +0\ncounter bytes +5488000\ncounter packets +4000\ncounter bytes replicated +0\ncounter packets replicated +0/,
  )
  assert.match(
    stdout,
    /warning: 1 multicast flow has replication factor and counters of 0: nobody listens, or the router does not support them/,
  )
})

test('Picture 5: three flows that come in once; adding them up by input interface is three times too much', async () => {
  const { stdout } = await offline([message(0, [{ templates: [template] }, data(...egress)])], ...NAMES)
  assert.match(
    stdout,
    /239\.0\.0\.2:5004 +udp +Gi1\/0 +egress +>= 4000 +12000 +- +Gi2\/0 4000, Gi3\/0 4000, Gi5\/0 4000/,
  )
  assert.match(stdout, /interface output +Gi2\/0 +Gi3\/0 +Gi5\/0\n/)
  assert.match(
    stdout,
    /interface Gi1\/0: at least 4000 packets came in; adding up its records by input interface gives 12000, up to 3 times as many/,
  )
})

test('Picture 6: with ingress accounting as well the numbers are known, and four times too much when added up', async () => {
  const { stdout, exitCode } = await offline(
    [message(0, [{ templates: [template] }, data(ingress, ...egress)])],
    ...NAMES,
    '--claim',
    '415=4000',
  )
  assert.is(exitCode, 0)
  assert.match(stdout, /Gi1\/0 +both +4000 +12000 +3 +Gi2\/0 4000/)
  assert.match(
    stdout,
    /Gi1\/0: 4000 packets came in; adding up its records by input interface gives 16000, 4 times as many/,
  )
  assert.match(stdout, /claimed: 4000 packets in at Gi1\/0, 4000 came in: right/)
})

test('a claim that counts copies is red', async () => {
  const messages = [message(0, [{ templates: [template] }, data(ingress, ...egress)])]
  const wrong = await offline(messages, '--claim', '415=12000', '--claim', '7=1')
  assert.is(wrong.exitCode, 1)
  assert.match(wrong.stdout, /12000 packets in at 415, 4000 came in, 3 times as many: it counts each copy/)
  assert.match(wrong.stdout, /1 packets in at 7, 0 came in: no record names that interface/)
  const { stdout } = await offline(messages, '--claim', '415=16000', '--json')
  const claim = stdout
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line) as { type: string })
    .at(-1)
  assert.equal(claim, {
    type: 'claim',
    who: 'claimed',
    input: 415,
    claimed: 16000,
    arrived: 4000,
    isLowerBound: false,
    meaning: 'arrivals and copies',
    times: 4,
  })
})

test('JSON: every record by name, exact beyond 2^53', async () => {
  const { stdout } = await offline(
    [message(0, [{ templates: [template] }, data({ ...ingress, postMCastOctetDeltaCount: 2n ** 63n })])],
    '--json',
  )
  const lines = stdout
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line) as Record<string, unknown> & { fields: Record<string, unknown> })
  assert.equal(
    lines.map(({ type }) => type),
    ['start', 'record', 'flow', 'summary'],
  )
  assert.is(lines[1]?.fields['postMCastOctetDeltaCount'], '9223372036854775808')
  assert.equal(
    [lines[1]?.['offset'], lines[1]?.['direction'], lines[1]?.['firstMs']],
    [100, 'ingress', 1_699_999_999_100],
  )
})

test('what is lost, late or restarted is told, and the exit code says that the numbers are not whole', async () => {
  const { stdout, exitCode } = await offline([
    message(0, [data(ingress)]),
    message(3, [{ templates: [template] }, data(ingress)]),
    message(3, [{ templates: [template] }, data(ingress)]),
    message(4, [data(ingress)], 1_700_003_600, 5000),
    message(0, [data(ingress)], 1_700_003_700, 10),
  ])
  assert.is(exitCode, 4)
  assert.match(stdout, /packets in +copies out[^\n]*\n[^\n]* 12000 +36000 /)
  for (const line of [
    /2 export packets missing before sequence 3/,
    /sequence 3 came before: its records do not count/,
    /its clock moved 3597000 ms while sysUpTime moved 1000 ms/,
    /exporter restarted: sysUpTime went back 4990 ms; its templates are forgotten/,
    /72 octets of data of template 256 not decoded: its template never came/,
  ])
    assert.match(stdout, line)
})

test('files that are none, and files that end early', async () => {
  const answers = async (file: string) => invoke(['netflow', file], folder)
  writeFileSync(join(folder, 'text.pcap'), 'hello, this is no capture')
  writeFileSync(join(folder, 'empty.pcap'), '')
  for (const [file, text] of [
    ['text.pcap', /neither pcapng nor pcap/],
    ['empty.pcap', /empty file/],
    ['none.pcap', /there is no file/],
    ['.', /not a regular file/],
  ] as const) {
    const { exitCode, stderr } = await answers(file)
    assert.is(exitCode, 2, file)
    assert.match(stderr, text)
    assert.not.match(stderr, /\n {4}at /)
  }
  const whole = [message(0, [{ templates: [template] }, data(ingress)]), message(1, [data(ingress)])]
  writeMessages(join(folder, 'cut.pcap'), whole)
  truncateSync(join(folder, 'cut.pcap'), 380)
  const cut = await answers('cut.pcap')
  assert.is(cut.exitCode, 4)
  assert.match(cut.stdout, /1 datagrams[^\n]*\n {2}reading ended at byte \d+: file ends inside a frame\n1 flow records/)
  writeMessages(join(folder, 'other.pcap'), whole, 9999)
  const other = await answers('other.pcap')
  assert.is(other.exitCode, 4)
  assert.match(other.stdout, /there is no NetFlow in it: --port says where it was sent to/)
  assert.is((await invoke(['netflow', 'other.pcap', '--port', '9999'], folder)).exitCode, 0)
})

/** A collector in the namespace; messages are sent once it listens, and it is told to stop when `enough` was printed. */
async function live(words: string[], messages: Uint8Array[], enough: RegExp): Promise<Invoked> {
  const stop = new AbortController()
  const written = { stdout: '', stderr: '' }
  let isSent = false
  const into = (name: keyof typeof written) =>
    new Writable({
      write(chunk, _encoding, done) {
        written[name] += String(chunk)
        if (!isSent && /listening|"start"/.test(written.stdout)) {
          isSent = true
          void send(messages)
        }
        if (enough.test(written.stdout)) stop.abort(new Interrupted('SIGINT'))
        done()
      },
    })
  const io = { stdout: into('stdout'), stderr: into('stderr'), env: {}, cwd: folder, signal: stop.signal }
  return { exitCode: await cli(['netflow', '--netns', ns.path, ...words], io), ...written }
}

async function send(messages: readonly Uint8Array[]): Promise<void> {
  for (const bytes of messages)
    await inNetns(ns, () =>
      execa('socat', ['-u', '-', 'UDP4-SENDTO:127.0.0.1:2055,sourceport=40000'], { input: Buffer.from(bytes) }),
    )
}

test('live: lines as they come, the tables at the end, 130 after Ctrl-C', async () => {
  const messages = [message(0, [{ templates: [template] }, data(ingress)]), message(1, [data(...egress)])]
  const { stdout, exitCode } = await live(['--listen', 'udp:2055', ...NAMES], messages, /> Gi5\/0: 4000 packets/)
  assert.is(exitCode, 130)
  assert.match(stdout, /listening on udp:0\.0\.0\.0:2055/)
  assert.match(
    stdout,
    /127\.0\.0\.1 192\.168\.1\.1:50000 > 239\.0\.0\.2:5004 udp ingress Gi1\/0 > Null: 4000 packets, 5488000 bytes, factor 3, 12000 packets replicated/,
  )
  assert.match(stdout, /2 datagrams came\n4 flow records[\s\S]*both +4000 +12000 +3/)
})

test('live: --count ends it by itself', async () => {
  const { stdout, exitCode } = await live(
    ['--listen', 'udp:127.0.0.1:2055', '--count', '1', '--json'],
    [message(0, [{ templates: [template] }, data(ingress)])],
    /never/,
  )
  assert.is(exitCode, 0)
  assert.match(stdout, /"type":"start".*"source":"udp:127\.0\.0\.1:2055"[\s\S]*"type":"record"[\s\S]*"type":"summary"/)
})

test('a port that is taken, and an address that is not here', async () => {
  const holder = inNetns(ns, () => execa('socat', ['-u', 'UDP4-RECVFROM:2055', '-'], { reject: false }))
  const isThere = async () => (await inNetns(ns, () => execa('ss', ['-ulnH']))).stdout.includes(':2055')
  while (!(await isThere()));
  const taken = await invoke(['netflow', '--listen', 'udp:2055', '--netns', ns.path], folder)
  holder.kill('SIGKILL')
  await holder
  assert.is(taken.exitCode, 2)
  assert.match(taken.stderr, /udp:0\.0\.0\.0:2055 is taken\n {2}another collector listens there: ss -ulnp tells which/)
  const elsewhere = await invoke(['netflow', '--listen', 'udp:192.0.2.7:2055', '--netns', ns.path], folder)
  assert.is(elsewhere.exitCode, 2)
  assert.match(elsewhere.stderr, /is on no interface here/)
})

test.run()
