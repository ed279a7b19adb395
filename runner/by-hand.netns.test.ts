import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { createNetns, inNetns, type Netns } from '../generators/linux/netns.ts'
import { skip } from '../test/skip.ts'
import { suite } from '../test/suite.ts'
import { cli } from './cli.ts'
import { Interrupted } from './io.ts'

const test = suite('by hand')

let namespace: Netns
let directory: string

test.before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'castproof-by-hand-'))
  namespace = createNetns()
  const lines = [
    'link add name left type veth peer name right',
    'addr add 192.0.2.1/24 dev left',
    'addr add 192.0.2.2/24 dev right',
    'link set left up',
    'link set right up',
    'link add name dark type veth peer name side',
  ]
  await inNetns(namespace, () => execa('ip', ['-batch', '-'], { input: lines.join('\n') }))
})

test.after(() => {
  namespace.close()
  rmSync(directory, { recursive: true })
})

/** A command line in this process, in our namespace. */
function invoke(line: string) {
  const stop = new AbortController()
  const written = { stdout: '', stderr: '' }
  const into = (name: keyof typeof written) =>
    new Writable({
      write(chunk, _encoding, done) {
        written[name] += String(chunk)
        done()
      },
    })
  const io = { stdout: into('stdout'), stderr: into('stderr'), env: {}, cwd: directory, signal: stop.signal }
  const exitCode = cli([...line.split(' '), '--netns', namespace.path], io)
  return { written, exitCode, stop: () => stop.abort(new Interrupted('SIGINT')) }
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await delay(5)
}

test('what send sends, capture captures, and tshark reads', async () => {
  const capture = invoke('capture --interface right -w out.pcapng --count 5 --filter udp')
  await until(() => capture.written.stdout.includes('listening'))
  const send = invoke('send --interface left --group 233.252.0.7 --port 5007 --count 5 --pps 1000 --size 100 --ttl 3')
  assert.is(await send.exitCode, 0, send.written.stderr)
  assert.is(await capture.exitCode, 0, capture.written.stderr)
  assert.match(send.written.stdout, /sending 5 datagrams[\s\S]*sent 5 frames, 500 bytes/)
  assert.match(capture.written.stdout, '5 frames received, 0 dropped')
  const fields = ['frame.len', 'eth.dst', 'ip.src', 'ip.dst', 'ip.ttl', 'udp.dstport'].flatMap(field => ['-e', field])
  const { stdout } = await execa('tshark', ['-r', join(directory, 'out.pcapng'), '-T', 'fields', ...fields])
  const expected = ['100', '01:00:5e:7c:00:07', '192.0.2.1', '233.252.0.7', '3', '5007'].join('\t')
  assert.equal(stdout.split('\n'), Array(5).fill(expected))
})

test('join reports, counts its group alone, and leaves when told to stop', async () => {
  const capture = invoke('capture --interface right -w igmp.pcapng --filter igmp')
  await until(() => capture.written.stdout.includes('listening'))
  const host = invoke('join --interface left --group 233.252.0.8')
  await until(() => host.written.stdout.includes('joined'))
  for (const [group, count] of [
    ['233.252.0.8', 6],
    ['233.252.0.9', 4],
  ]) {
    assert.is(await invoke(`send --interface right --group ${group} --count ${count}`).exitCode, 0)
  }
  host.stop()
  assert.is(await host.exitCode, 130)
  assert.match(host.written.stdout, '233.252.0.8: 6 copies')
  capture.stop()
  assert.is(await capture.exitCode, 130)
  const fields = ['-T', 'fields', '-e', 'igmp.record_type', '-e', 'igmp.maddr']
  const filter = 'ip.src == 192.0.2.1 && igmp.maddr == 233.252.0.8'
  const { stdout } = await execa('tshark', ['-r', join(directory, 'igmp.pcapng'), '-Y', filter, ...fields])
  // RFC 3376 section 4.2.12: 4 is CHANGE_TO_EXCLUDE_MODE, a join; 3 is CHANGE_TO_INCLUDE_MODE, a leave.
  const types = stdout.split('\n').map(line => line.split('\t')[0])
  assert.is(types[0], '4', stdout)
  assert.is(types.at(-1), '3', stdout)
})

test('send by another engine, libpcap: the same frames', async () => {
  const capture = invoke('capture --interface right -w cap.pcapng --count 3 --filter udp')
  await until(() => capture.written.stdout.includes('listening'))
  const cap = invoke('send --interface left --engine cap --count 3')
  if ((await cap.exitCode) === 3) {
    capture.stop()
    return skip('cap', cap.written.stderr)
  }
  assert.is(await capture.exitCode, 0, capture.written.stderr)
  assert.match(cap.written.stdout, 'sent 3 frames, 180 bytes')
})

test('a pcap file needs no interface', async () => {
  const send = invoke('send --pcap out.pcap --count 3 --pps 10')
  assert.is(await send.exitCode, 0, send.written.stderr)
  const { stdout } = await execa('tcpdump', ['-nr', join(directory, 'out.pcap')])
  assert.is(stdout.split('\n').filter(line => line.includes('192.0.2.1.5001 > 233.252.0.1.5001')).length, 3)
})

test('what cannot be is said, with what there is', async () => {
  const bad: [string, RegExp][] = [
    ['send --interface lift', /no interface lift[\s\S]*left/],
    ['send --interface dark', /dark is down[\s\S]*ip link set/],
    ['send --interface left --group 192.0.2.9', /not a multicast group/],
    ['send --interface left --group 233.252.0.300', /no IPv4 address/],
    ['send', /either --interface NAME or --pcap FILE/],
    ['join --interface left --group 232.1.1.1 --source 192.0.2.2 --version 2', /no source filters/],
    ['join --interface left --group 232.1.1.1 --mode include', /asks for nothing/],
    ['capture --interface left -w no/such/folder.pcapng', /no such folder/],
    ['capture --interface left -w x.pcapng --filter bogus', /bogus/],
  ]
  for (const [line, pattern] of bad) {
    const { exitCode, written } = invoke(line)
    assert.is(await exitCode, 2, line)
    assert.match(written.stderr, pattern)
    assert.not.match(written.stderr, /\n {4}at /)
  }
})

test.run()
