import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import type { RunResult } from '../../reports/result.ts'
import { invoke } from '../../test/invoke.ts'
import { Traces } from '../../test/leftovers.ts'
import { skip } from '../../test/skip.ts'
import { suite } from '../../test/suite.ts'
import type { LabStatus } from '../lab/protocol.ts'
import type { ClockRecord, RunRecord } from '../run-directory.ts'

const test = suite('exec', { timeoutMs: 280_000 })

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const SUITES = [
  'delivery/exactly-once.yaml',
  'delivery/non-member.yaml',
  'delivery/fragments.yaml',
  'igmp/leave.yaml',
  'metrics/sockets.yaml',
].map(name => join(ROOT, 'suites', name))
let folder: string
let lab: LabStatus
const traces = new Traces()

test.before(async () => {
  Object.assign(process.env, traces.env)
  folder = mkdtempSync(join(tmpdir(), 'castproof-exec-'))
  // Compiled: agents behind a prefix start in a third of the time.
  await execa('npx', ['tsc', '-p', 'tsconfig.build.json'], { cwd: ROOT })
  const topology = fileURLToPath(new URL('testdata/lab-topology.yaml', import.meta.url))
  const { exitCode, stderr } = await invoke(['lab', 'up', '--suite', topology])
  assert.is(exitCode, 0, stderr)
  const { stdout } = await invoke(['lab', 'status', '--json'])
  const labs = JSON.parse(stdout) as LabStatus[]
  lab = labs.at(-1) as LabStatus
})

test.after(async () => {
  if (lab) await invoke(['lab', 'down', '--lab', lab.id])
  rmSync(folder, { recursive: true, force: true })
  assert.equal(await traces.remainingAfter(10_000), [])
})

/** An inventory of the lab's hosts, each behind its prefix. */
function inventory(name: string, prefixOf: (place: string) => string[]): string {
  const ask = [
    'node',
    fileURLToPath(new URL('testdata/lab-command.mjs', import.meta.url)),
    `/run/castproof/${lab.id}.sock`,
  ]
  const { nodes, pods, overlay } = lab.site
  const content = {
    'castproof-inventory': 1,
    agent: ['node', join(ROOT, 'dist/runner/main.js'), 'agent'],
    nodes: Object.fromEntries(
      nodes.map(node => [node.name, { command: prefixOf(node.name), uplink: 'eth0', overlay: 'cilium_vxlan' }]),
    ),
    pods: Object.fromEntries(pods.map(pod => [pod.name, { node: pod.node, command: prefixOf(pod.name) }])),
    overlay,
    commands: {
      groupAdd: { command: [...ask, 'enable', '{group}'] },
      groupDelete: { command: [...ask, 'disable', '{group}'] },
      subscribers: { command: [...ask, 'tables', '{node}'] },
      drops: { command: [...ask, 'drops', '{node}'] },
      metrics: { command: ['curl', '-sf', 'http://127.0.0.1:2112/metrics'], where: 'node' },
    },
  }
  const path = join(folder, `${name}.yaml`)
  writeFileSync(path, JSON.stringify(content))
  return path
}

function byNamespace(place: string): string[] {
  return ['ip', 'netns', 'exec', lab.namespaces[place] ?? '']
}

async function run(suites: readonly string[], target: string, out: string) {
  const directory = join(folder, out)
  const invoked = await invoke(['run', ...suites, '--target', target, '--out', directory], ROOT, 250_000)
  const result = (): RunResult => JSON.parse(readFileSync(join(directory, 'result.json'), 'utf8'))
  return { ...invoked, directory, result }
}

const verdictsOf = ({ cases }: RunResult) => cases.map(({ id, status }) => `${id} ${status}`)

test('behind ip netns exec: the verdicts of the same suites in process', async () => {
  const here = await run(SUITES, 'reference', 'here')
  const there = await run(SUITES, `exec:${inventory('netns', byNamespace)}`, 'there')
  assert.is(there.exitCode, 0, there.stdout + there.stderr)
  assert.equal(verdictsOf(there.result()), verdictsOf(here.result()))
  const record = JSON.parse(readFileSync(join(there.directory, 'run.json'), 'utf8')) as RunRecord
  assert.is(record.stages[0]?.clocks, undefined, 'all of these hosts have our own kernel and clock')
  const again = await invoke(['judge', there.directory, '--json'])
  assert.equal(verdictsOf(JSON.parse(again.stdout)), verdictsOf(there.result()))
})

test('captures of a clock that is off, and known to be, give the same verdicts; not known, none that could be wrong', async () => {
  const directory = join(folder, 'there')
  const path = join(directory, 'run.json')
  const before = JSON.parse((await invoke(['judge', directory, '--json'])).stdout) as RunResult
  const record = JSON.parse(readFileSync(path, 'utf8')) as RunRecord
  const [stage, ...others] = record.stages
  for (const tap of stage?.taps ?? []) {
    if (!/-n2[.-]/.test(tap.file)) continue
    await execa('editcap', ['-t', '-3600', join(directory, tap.file), join(folder, 'shifted.pcapng')])
    renameSync(join(folder, 'shifted.pcapng'), join(directory, tap.file))
    tap.clock = 'n2'
  }
  const moment = { tNs: record.startedAtNs, aheadNs: '-3600000000000' }
  const known = [{ name: 'n2', first: moment, last: moment, uncertaintyNs: 100_000 }]
  const judged = async (clocks: ClockRecord[]) => {
    writeFileSync(path, JSON.stringify({ ...record, stages: [{ ...stage, clocks }, ...others] }))
    return JSON.parse((await invoke(['judge', directory, '--json'])).stdout) as RunResult
  }
  assert.equal(verdictsOf(await judged(known)), verdictsOf(before))
  assert.not.match(verdictsOf(await judged([])).join(), /exactly-once (pass|fail)/)
})

test('a network that is broken is red behind a prefix too', async () => {
  // The far node's overlay is down: nothing gets there, and it is no fault of the way we are told.
  await execa('ip', ['-n', lab.namespaces['n2'] ?? '', 'link', 'set', 'cilium_vxlan', 'down'])
  try {
    const broken = await run([SUITES[0] ?? ''], `exec:${inventory('broken', byNamespace)}`, 'broken')
    assert.ok(broken.exitCode === 1 || broken.exitCode === 4, broken.stdout)
    assert.not.match(broken.stdout, /PASS/)
  } finally {
    await execa('ip', ['-n', lab.namespaces['n2'] ?? '', 'link', 'set', 'cilium_vxlan', 'up'])
  }
})

test('what is wrong with an inventory, or behind it, ends the run with its reason and code', async () => {
  const endings: [target: string, exitCode: number, message: RegExp][] = [
    [`exec:${inventory('nowhere', () => ['ip', 'netns', 'exec', 'cp-not-there'])}`, 3, /agent of .*cp-not-there/],
    ['exec:/nowhere.yaml', 2, /there is no inventory \/nowhere\.yaml/],
    ['exec', 2, /needs its inventory/],
    ['reference:x.yaml', 2, /takes no file/],
  ]
  for (const [target, exitCode, message] of endings) {
    const ended = await run([SUITES[0] ?? ''], target, `bad-${exitCode}-${target.length}`)
    assert.is(ended.exitCode, exitCode, ended.stderr)
    assert.match(ended.stderr, message)
    assert.not.match(ended.stderr, /\n {4}at /)
  }
})

const SSHD = join(ROOT, '.cache/debian/openssh-server/usr/sbin/sshd')

test('behind ssh: the same', async () => {
  if (!existsSync(SSHD)) return skip('sshd', 'openssh-server is not unpacked')
  await using ssh = await startSshd()
  const there = await run([SUITES[0] ?? ''], `exec:${inventory('ssh', place => ssh.prefixOf(place))}`, 'by-ssh')
  assert.is(there.exitCode, 0, there.stdout + there.stderr)
  assert.equal(verdictsOf(there.result()), ['delivery/exactly-once pass'])
})

/** An sshd of our own on loopback of a namespace of our own; it lets in one key, which leads to the lab's namespaces. */
async function startSshd() {
  const home = join(folder, 'ssh')
  mkdirSync(home, { mode: 0o700 })
  const netns = `cp-${lab.id}-ssh`
  for (const key of ['host', 'user'])
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(home, key)])
  writeFileSync(join(home, 'authorized_keys'), readFileSync(join(home, 'user.pub')), { mode: 0o600 })
  const passwd = readFileSync('/etc/passwd', 'utf8')
  writeFileSync(join(home, 'passwd'), `${passwd.trimEnd()}\nsshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n`)
  writeFileSync(
    join(home, 'config'),
    [
      'ListenAddress 127.0.0.1:22',
      `HostKey ${join(home, 'host')}`,
      `AuthorizedKeysFile ${join(home, 'authorized_keys')}`,
      'PidFile none',
      'UsePAM no',
      'StrictModes no',
      'PermitRootLogin prohibit-password',
      'PasswordAuthentication no',
      'MaxStartups 100',
    ].join('\n'),
  )
  await execa('ip', ['netns', 'add', netns])
  await execa('ip', ['-n', netns, 'link', 'set', 'lo', 'up'])
  // It wants a user and a folder of its own, which this machine need not have: in a mount namespace it has them.
  const script = 'mount --bind "$1/passwd" /etc/passwd; mkdir -p /run/sshd; exec "$2" -D -e -f "$1/config"'
  const daemon = execa('ip', ['netns', 'exec', netns, 'unshare', '--mount', 'sh', '-c', script, 'sh', home, SSHD], {
    reject: false,
    buffer: false,
    env: traces.env,
  })
  let said = ''
  daemon.stderr.on('data', chunk => {
    said += chunk
  })
  const endMs = performance.now() + 20_000
  while (!said.includes('Server listening')) {
    assert.ok(performance.now() < endMs && daemon.exitCode === null, said)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  const options = [
    '-o',
    'BatchMode=yes',
    '-o',
    'StrictHostKeyChecking=no',
    '-o',
    'UserKnownHostsFile=/dev/null',
    '-o',
    'LogLevel=ERROR',
  ]
  return {
    prefixOf: (place: string): string[] => [
      ...['ip', 'netns', 'exec', netns, 'ssh', ...options, '-i', join(home, 'user'), 'root@127.0.0.1'],
      ...byNamespace(place),
    ],
    async [Symbol.asyncDispose]() {
      daemon.kill('SIGTERM')
      await daemon
      await execa('ip', ['netns', 'del', netns])
    },
  }
}

test.run()
