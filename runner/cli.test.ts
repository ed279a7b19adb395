import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { cli } from './cli.ts'
import { commandLine } from './command-line.ts'
import { faultNames } from './faults.ts'
import { Interrupted, type Io } from './io.ts'

const test = suite('cli')

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const COMMANDS =
  'run judge check list explain faults send join capture decrypt netflow lab mcast cni probe agent'.split(' ')

/** A command line in process: its exit code and everything it wrote. */
async function invoke(line: string, signal = new AbortController().signal) {
  const written = { stdout: '', stderr: '' }
  const into = (name: keyof typeof written) =>
    new Writable({
      write(chunk, _encoding, done) {
        written[name] += String(chunk)
        done()
      },
    })
  const io: Io = { stdout: into('stdout'), stderr: into('stderr'), env: {}, cwd: '/', signal }
  return { exitCode: await cli(line.split(' ').filter(Boolean), io), ...written }
}

/** What a line hands to its command, without running it. */
async function parsed(line: string): Promise<[string, Record<string, unknown>]> {
  let seen: [string, Record<string, unknown>] | undefined
  const sink = new Writable({ write: (_chunk, _encoding, done) => done() })
  const io: Io = { stdout: sink, stderr: sink, env: {}, cwd: '/', signal: new AbortController().signal }
  const program = commandLine(io, async (name, options) => {
    seen = [name, { ...options }]
  })
  await program.parseAsync(line.split(' '), { from: 'user' })
  assert.ok(seen, line)
  return seen
}

test('every command of the contract is there, with examples', async () => {
  const { stdout, exitCode } = await invoke('--help')
  assert.is(exitCode, 0)
  for (const name of COMMANDS) {
    assert.match(stdout, new RegExp(`^  ${name} `, 'm'))
    const help = await invoke(`${name} --help`)
    assert.is(help.exitCode, 0)
    assert.match(help.stdout, new RegExp(`Examples:\n  castproof ${name}`))
  }
})

test('examples of the help name suites, cases, faults that there are', async () => {
  const examples: string[] = []
  for (const name of COMMANDS) {
    const { stdout } = await invoke(`${name} --help`)
    examples.push(...stdout.split('\n').filter(line => line.startsWith(`  castproof ${name}`)))
  }
  const words = examples.flatMap(line => line.trim().split(' '))
  const paths = words.filter(word => word.startsWith('suites/'))
  assert.ok(paths.length > 2)
  assert.equal(
    paths.filter(path => !existsSync(join(ROOT, path))),
    [],
  )
  const explained = examples.map(line => /^ {2}castproof (explain .*)/.exec(line)?.[1] ?? '').filter(Boolean)
  for (const line of explained) assert.is((await invoke(line)).exitCode, 0, line)
  const faults = examples.flatMap(line => [...line.matchAll(/--fault (\S+)/g)].map(match => match[1] ?? ''))
  assert.equal(faultNames(faults), faults)
})

test('every flag of the contract is there', async () => {
  const run = (await invoke('run --help')).stdout
  for (const flag of 'target profile sandbox filter seed out junit fault waivers repeat jobs keep quiet'.split(' ')) {
    assert.match(run, `--${flag}`)
  }
  const [name, options] = await parsed('run a.yaml b --fault x,y --fault z --target reference:f --repeat 3 --seed 7')
  assert.is(name, 'run')
  assert.equal(options, {
    suites: ['a.yaml', 'b'],
    target: ['reference:f'],
    profile: [],
    sandbox: 'auto',
    fault: ['x', 'y', 'z'],
    repeat: 3,
    seed: 7,
    keep: false,
    sonobuoy: false,
    quiet: false,
  })
})

test('options of one command line do not leak into the next', async () => {
  await parsed('run --fault one')
  const [, { fault }] = await parsed('run --fault two')
  assert.equal(fault, ['two'])
})

test('the version of join is not the version of castproof', async () => {
  const [, { version }] = await parsed('join --interface e --group 239.1.2.3 --version 2')
  assert.is(version, 2)
})

test('lab and mcast name their action', async () => {
  const [, shell] = await parsed('lab shell tx ip -d link')
  assert.equal(shell, {
    action: 'shell',
    place: 'tx',
    program: ['ip', '-d', 'link'],
    fault: [],
    all: false,
    json: false,
  })
  const [name, add] = await parsed('mcast group add 225.0.0.11 --node n1')
  assert.is(name, 'mcast')
  assert.equal(add, { table: 'group', action: 'add', group: '225.0.0.11', node: 'n1', json: false })
  const [, list] = await parsed('mcast subscriber list')
  assert.equal(list, { table: 'subscriber', action: 'list', group: 'all', json: false })
  const [, drops] = await parsed('mcast drops --json')
  assert.equal(drops, { table: 'drops', action: 'list', group: 'all', json: true })
})

test('a typo is answered with what was meant', async () => {
  assert.match((await invoke('runn')).stderr, /unknown command 'runn'[\s\S]*Did you mean run\?/)
  assert.match((await invoke('run --tagret x')).stderr, /Did you mean --target\?/)
})

test('bad arguments exit 2 with the remedy and no stack', async () => {
  const bad: [string, RegExp][] = [
    ['', /Usage: castproof/],
    ['run --repeat zero', /whole number from 1 to/],
    ['run --seed -1', /whole number/],
    ['run --sandbox moon', /Allowed choices are auto, host, vm/],
    ['run --sandbox vm --kernel 9.9', /no kernel is called 9\.9\n {2}there are 5\.10, 6\.1, 6\.12/],
    ['run --sandbox host --kernel 6.1', /names another/],
    ['run --image kindest/node', /--image is for target kubernetes/],
    ['run --fault ,', /must not be empty/],
    ['judge', /missing required argument 'run-dir'/],
    ['check', /missing required argument 'suites'/],
    ['join --interface e --group 239.1.1.1 --version 4', /must be 1, 2 or 3/],
    ['decrypt c.pcapng -o out', /required option '--keys <file>'/],
    ['decrypt c.pcapng --keys k', /required option '-o, --output <file>'/],
    ['netflow', /nothing to read/],
    ['netflow c.pcapng --listen udp:2055', /not both/],
    ['netflow --listen tcp:2055', /no place to listen/],
    ['netflow --listen udp:70000', /no place to listen/],
    ['netflow --listen udp:1.2.3:2055', /no place to listen/],
    ['netflow --listen udp:2055 --claim 1=2', /judge a capture/],
    ['netflow c --analyser wireshark', /Allowed choices are nfdump, nfacctd/],
    ['netflow c --port 0', /from 1 to 65535/],
    ['netflow c --name Gi1/0', /names no interface/],
    ['netflow nothing.pcapng', /there is no file/],
    ['capture --interface e', /required option '-w, --write <file>'/],
    ['capture --interface e -w f --seconds soon', /number of seconds/],
    ['send --port 70000 --interface e', /from 1 to 65535/],
    ['mcast group add', /missing required argument 'address'/],
  ]
  for (const [line, pattern] of bad) {
    const { exitCode, stderr } = await invoke(line)
    assert.is(exitCode, 2, line)
    assert.match(stderr, pattern)
    assert.not.match(stderr, /\n {4}at /)
  }
})

test('a signal decides the exit code, also of a command that returned', async () => {
  const stop = new AbortController()
  stop.abort(new Interrupted('SIGTERM'))
  assert.is((await invoke('probe --json', stop.signal)).exitCode, 143)
})

test.run()
