import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { DIRECTION } from '../../captures/record.ts'
import { openRecording } from '../../captures/recording.ts'
import { realtimeNs } from '../../generators/linux/libc.ts'
import { openSentLog, readSent } from '../../generators/sent.ts'
import { compile } from '../../generators/stream.ts'
import type { StreamSpec } from '../../generators/stream-spec.ts'
import { parseIpv4 } from '../../generators/wire/address.ts'
import { Traces } from '../../test/leftovers.ts'
import { suite } from '../../test/suite.ts'
import { explainError } from '../exit.ts'
import { AgentConnection, AgentLost } from './connection.ts'
import { LEASE_MS } from './protocol.ts'
import { RemoteEndpoint } from './remote-endpoint.ts'
import { RemoteTap } from './remote-tap.ts'

const test = suite('agent', { timeoutMs: 120_000 })

const CASTPROOF = fileURLToPath(new URL('../../castproof', import.meta.url))
const never = new AbortController().signal
const GROUP = parseIpv4('233.252.0.7')
const RUN_ID = 77
/** Two hosts on one wire; the names are this process's own. */
const LEFT = `cpagent${process.pid}l`
const RIGHT = `cpagent${process.pid}r`
let directory: string
let traces: Traces

test.before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'castproof-agent-test-'))
  for (const name of [LEFT, RIGHT]) await execa('ip', ['netns', 'add', name])
  await execa('ip', ['-n', LEFT, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', RIGHT])
  for (const [i, name] of [LEFT, RIGHT].entries()) {
    await execa('ip', ['-n', name, 'addr', 'add', `10.9.0.${i + 1}/24`, 'dev', 'eth0'])
    await execa('ip', ['-n', name, 'link', 'set', 'eth0', 'up'])
  }
})

test.beforeEach(() => {
  traces = new Traces()
})

test.after(async () => {
  for (const name of [LEFT, RIGHT]) await execa('ip', ['netns', 'del', name])
  rmSync(directory, { recursive: true })
})

function open(name: string): Promise<AgentConnection> {
  const command = ['ip', 'netns', 'exec', name, CASTPROOF, 'agent']
  return AgentConnection.open({ label: name, command, env: traces.env }, never)
}

async function host(agent: AgentConnection, name: string): Promise<RemoteEndpoint> {
  const own = agent.hello.interfaces.find(item => item.name === 'eth0')
  await agent.ask('host', { pod: name, interface: 'eth0', address: own?.addresses[0] ?? '', mac: own?.mac ?? '' })
    .answer
  return new RemoteEndpoint(name, agent)
}

function stream(changes: Partial<StreamSpec>): StreamSpec {
  const frame = { ipv4: { src: parseIpv4('10.9.0.1'), dst: GROUP }, udp: { dstPort: 5001 } }
  return { number: 1, name: 's1', frame, stamped: true, count: 200, rate: { pps: 2000 }, ...changes }
}

function untilSeen(tap: RemoteTap, number: number, frames: number): Promise<void> {
  return until(() => tap.seen(number, 'right/eth0', DIRECTION.in) >= frames)
}

async function until(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 20_000
  while (!condition()) {
    assert.ok(performance.now() < endMs, 'it did not come true within 20 s')
    await delay(5)
  }
}

test('what one agent sends, the other sees; its packets and what was sent come at the end', async () => {
  const [left, right] = await Promise.all([open(LEFT), open(RIGHT)])
  const sender = await host(left, 'tx')
  const place = { directory, file: 'right.pcapng' }
  const tap = await RemoteTap.open(right, place, { names: { eth0: 'right/eth0' }, runId: RUN_ID, withoutTcp: true })
  const igmp = tap.count('right/eth0', DIRECTION.in, { match: { igmp: { group: GROUP } } })
  await sender.join({ group: GROUP, igmpVersion: 2, hosts: [], robustness: 2, via: 'emulator', answers: true })
  const startNs = realtimeNs()
  const sent = openSentLog(join(directory, 'sent.bin'), startNs)
  const compiled = compile(stream({}), { runId: RUN_ID, runStartNs: startNs, about: { role: 'test', pod: 'tx' } })
  const [report] = await sender.send([compiled], sent, never)
  assert.is(report?.count, 200)
  await untilSeen(tap, 1, 200)
  await until(() => igmp() > 0)
  assert.is(tap.seen(1, 'right/eth0', DIRECTION.out), 0)
  const closed = await tap.close()
  assert.equal([closed.dropped, closed.interfaces], [0, ['right/eth0']])
  sent.close()
  const log = readSent(join(directory, 'sent.bin')).byNumber(1)
  const recording = openRecording(directory, ['right.pcapng'])
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  const seen = Array.from({ length: recording.count }, (_, i) => hex(recording.bytes(i)))
  const handedOver = Array.from({ length: log?.count ?? 0 }, (_, k) => hex(log?.frames(k)[0] ?? new Uint8Array()))
  assert.equal(
    seen.filter(frame => handedOver.includes(frame)),
    handedOver,
  )
  assert.is(recording.count, closed.received)
  recording.close()
  await Promise.all([left.close(), right.close()])
  assert.equal(await traces.remainingAfter(10_000), [])
})

test('a stream that is stopped says how far it came', async () => {
  const left = await open(LEFT)
  const sender = await host(left, 'tx')
  const stop = new AbortController()
  const startNs = realtimeNs()
  const frames: number[] = []
  const record = { stream: () => 0, frame: (_: number, sequence: number) => void frames.push(sequence) }
  const endless = stream({ count: 1_000_000, rate: { pps: 100 } })
  const sending = sender.send([compile(endless, { runId: RUN_ID, runStartNs: startNs })], record, stop.signal)
  await delay(300)
  stop.abort()
  const [report] = await sending
  assert.ok(frames.length > 0 && frames.length < 1000, String(frames.length))
  assert.is(report?.count, frames.length)
  assert.equal(
    frames,
    frames.map((_, k) => k),
  )
  await left.close()
})

test('a program of the closed table runs there, and no other', async () => {
  const right = await open(RIGHT)
  const receiver = await host(right, 'rx')
  const lines: string[] = []
  const params = { interface: 'eth0', filter: 'igmp' }
  const running = await receiver.run({ program: 'tcpdump', params }, ({ event, text }) =>
    lines.push(`${event} ${text}`),
  )
  await until(() => lines.some(line => line.includes('listening on')))
  await running.stop()
  assert.ok(
    lines.some(line => line.startsWith('exit ')),
    lines.join('\n'),
  )
  const other = receiver.run({ program: 'rm', params: {} }, () => {})
  await other.then(
    () => assert.unreachable(),
    (error: Error) => assert.match(error.message, /no program rm in the table/),
  )
  await right.close()
})

test('an agent whose runner says nothing ends with its lease, one that is killed leaves nothing', async () => {
  const command = ['netns', 'exec', RIGHT, CASTPROOF, 'agent']
  const child = execa('ip', command, { buffer: false, reject: false, env: traces.env, stdin: 'pipe' })
  child.stdin.write(
    `${JSON.stringify({ id: 1, op: 'tap', names: { eth0: 'right/eth0' }, runId: 1, withoutTcp: true })}\n`,
  )
  const startMs = performance.now()
  const { exitCode } = await child
  assert.is(exitCode, 0)
  assert.ok(performance.now() - startMs >= LEASE_MS)
  const right = await open(RIGHT)
  await right.ask('tap', { names: { eth0: 'right/eth0' }, runId: 1, withoutTcp: true }).answer
  for (const pid of traces.processes()) process.kill(Number(pid), 'SIGKILL')
  await right.ask('clock', {}).answer.then(
    () => assert.unreachable(),
    (error: unknown) => assert.instance(error, AgentLost),
  )
  assert.equal(await traces.remainingAfter(10_000), [])
  assert.equal(
    readdirSync(tmpdir()).filter(name => name.startsWith('castproof-agent-') && !directory.endsWith(name)),
    [],
  )
})

test('the packets of an agent that went away are missing, and known to be', async () => {
  const right = await open(RIGHT)
  mkdirSync(join(directory, 'taps'))
  const place = { directory, file: 'taps/lost.pcapng' }
  const tap = await RemoteTap.open(right, place, { names: { eth0: 'right/eth0' }, runId: RUN_ID, withoutTcp: true })
  for (const pid of traces.processes()) process.kill(Number(pid), 'SIGKILL')
  await until(() => right.isLost)
  assert.equal(await tap.close(), { interfaces: ['right/eth0'] })
  const recording = openRecording(directory, ['taps/lost.pcapng'])
  assert.match(recording.problems.join(), /empty file/)
  recording.close()
})

test('what does not answer as an agent is told with what it said', async () => {
  const attempts: [command: string[], message: RegExp][] = [
    [['castproof-is-not-here'], /castproof-is-not-here/],
    [['sh', '-c', 'echo no such pod >&2; exit 7'], /agent of pod x: needs .*, found no such pod/],
    [
      ['sh', '-c', 'echo \'{"hello":"castproof-agent/9","version":"9.9.9","interfaces":[]}\'; cat'],
      /found castproof 9\.9\.9/,
    ],
  ]
  for (const [command, message] of attempts) {
    const failure = await AgentConnection.open({ label: 'pod x', command }, never).then(
      () => undefined,
      (error: unknown) => error,
    )
    const { text, exitCode } = explainError(failure)
    assert.match(text, message)
    assert.is(exitCode, 3, text)
  }
  const silent = { label: 'pod x', command: ['sleep', '60'], helloWithinMs: 200 }
  const late = await AgentConnection.open(silent, never).catch((error: unknown) => error)
  assert.match(explainError(late).text, /found nothing within 0\.2 s/)
})

test.run()
