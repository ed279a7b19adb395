#!/usr/bin/env node
// Makes a fresh checkout on Debian ready: Debian packages, npm packages, BPF objects. Does only what is missing, and says
// so in one line a step. Plain JavaScript without imports from npm: it runs before there is anything else.
//
//   node setup.mjs [--profile run|test] [--quiet]
//
// `run` is what `castproof run` needs, `test` adds the witnesses of the tests. `npm test` asks for `test`.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = dirname(fileURLToPath(import.meta.url))
const CANNOT = 3
const BAD_ARGUMENTS = 2
const BUG = 70

/** Debian packages by what they are for. Only `needed` ends the set-up when it cannot be had. */
const PACKAGES = {
  needed: [
    ...['clang', 'libbpf-dev', 'libbpf1', 'linux-libc-dev', 'make'],
    ...['curl', 'ethtool', 'iproute2', 'iputils-ping', 'python3', 'socat', 'tcpdump', 'util-linux'],
  ],
  cap: ['g++', 'libpcap-dev'],
  /** Libraries of the daemons below. */
  router: ['libc-ares2', 'libcap2', 'libjson-c5', 'libreadline8', 'libnftables1', 'libyang2'],
  flow: [
    ...['libjansson4', 'libmariadb3', 'libmaxminddb0', 'libnetfilter-log1', 'libpq5', 'librabbitmq4', 'librdkafka1'],
    ...['libsqlite3-0', 'libzmq5'],
  ],
  vm: ['busybox-static', 'kmod', 'qemu-system-x86', 'xz-utils'],
  test: [...['bpftool', 'ffmpeg', 'netsniff-ng', 'procps', 'openssh-client', 'python3-scapy', 'tcpreplay', 'tshark']],
}

/**
 * Routing daemons, flow exporters and collectors, unpacked below .cache/ and not installed: their packages conflict with each other, start services and
 * leave configuration, none of which a test tool may do to a machine.
 */
const UNPACKED = ['frr', 'nfdump', 'nftables', 'pimd', 'pmacct', 'smcroute', 'softflowd']
/** Others that would start a service: the tests have an sshd and a Prometheus of their own. */
const UNPACKED_FOR_TESTS = ['openssh-server', 'prometheus']

/** For systems without dpkg: what must be in PATH. */
const PROGRAMS = ['clang', 'curl', 'ip', 'make', 'ping', 'python3', 'setpriv', 'socat', 'tcpdump']

const WITHOUT = {
  cap: 'the portable engine (cap) cannot be built, all else works',
  vm: 'there is no virtual machine for what this kernel cannot do',
  test: 'some tests cannot run and will say so',
  router: 'the router target or a flow collector cannot run, all else works',
  flow: 'nfacctd and pmacctd cannot run, all else works',
}

class Stop extends Error {
  constructor(message, exitCode = CANNOT) {
    super(message)
    this.exitCode = exitCode
  }
}

function main(argv) {
  const { profile, quiet } = readArguments(argv)
  const say = (step, text, did) => {
    if (did || !quiet) console.log(`setup: ${step.padEnd(8)} ${text}`)
  }
  checkNode()
  for (const [step, run] of Object.entries({
    debian: () => debian(profile),
    daemons: () => daemons(profile),
    npm: npmPackages,
    cap: cap,
    bpf: bpfObjects,
  })) {
    const startedMs = performance.now()
    const { text, did } = run()
    say(step, did ? `${text} (${((performance.now() - startedMs) / 1000).toFixed(1)} s)` : text, did)
  }
}

function readArguments(argv) {
  const forTests = ['test', 'bench'].includes(process.env.npm_lifecycle_event ?? '')
  const found = { profile: forTests ? 'test' : 'run', quiet: false }
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--quiet') found.quiet = true
    else if (argv[i] === '--profile') found.profile = argv[++i]
    else throw new Stop(`unknown argument ${argv[i]}: use --profile run|test and --quiet`, BAD_ARGUMENTS)
  }
  if (!['run', 'test'].includes(found.profile)) {
    throw new Stop(`unknown profile ${found.profile}: use run or test`, BAD_ARGUMENTS)
  }
  return found
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 11))
    throw new Stop(`needs Node 20.11 or later, this is ${process.version}`)
}

function debian(profile) {
  const groups = ['needed', 'cap', 'router', 'flow', 'vm', ...(profile === 'test' ? ['test'] : [])]
  const installed = installedPackages(groups.flatMap(group => PACKAGES[group]))
  if (installed === undefined) return otherSystem()
  const lacking = group => PACKAGES[group].filter(name => !installed.has(name))
  const missing = groups.flatMap(lacking)
  if (missing.length === 0) return { text: 'packages are there', did: false }
  const refusal = whyNotInstall() ?? install(missing)
  if (refusal === undefined) return { text: `installed ${missing.join(' ')}`, did: true }
  // Once more, only what must be: one package that a mirror lacks is no reason to do without the rest.
  const needed = lacking('needed')
  const reason = needed.length === 0 ? undefined : (whyNotInstall() ?? install(needed))
  if (reason !== undefined) throw new Stop(`${reason}\nInstall by hand:  ${installLine(needed)}`)
  const wanted = groups.filter(group => group !== 'needed' && lacking(group).length > 0)
  const lines = wanted.map(group => `without ${lacking(group).join(' ')} ${WITHOUT[group]}`)
  return { text: `${lines.join('; ')}: ${refusal}`, did: true }
}

function daemons(profile) {
  const folder = join(ROOT, '.cache/debian')
  const wanted = [...UNPACKED, ...(profile === 'test' ? UNPACKED_FOR_TESTS : [])]
  const missing = wanted.filter(name => !existsSync(join(folder, name)))
  if (missing.length === 0) return { text: 'are unpacked', did: false }
  if (spawnSync('dpkg', ['--version']).error || spawnSync('apt-get', ['--version']).error)
    return { text: `no dpkg or apt-get to unpack ${missing.join(' ')}: ${WITHOUT.router}`, did: false }
  mkdirSync(folder, { recursive: true })
  for (const name of missing) {
    const failure = unpack(name, folder)
    if (failure) return { text: `without ${missing.join(' ')} ${WITHOUT.router}: ${failure}`, did: true }
  }
  return { text: `unpacked ${missing.join(' ')}, installed none`, did: true }
}

/** Made under another name first, so that half of one is never used. */
function unpack(name, folder) {
  const fresh = mkdtempSync(join(folder, '.fresh-'))
  try {
    // As root, apt would hand the download to a user that cannot write here, and warn.
    const download = () => runQuietly('apt-get', ['-q', '-o', 'APT::Sandbox::User=root', 'download', name], {}, fresh)
    const failure = download() && (runQuietly('apt-get', ['-q', 'update']) ?? download())
    if (failure) return failure
    const archive = readdirSync(fresh).find(file => file.endsWith('.deb'))
    const unpacked = runQuietly('dpkg-deb', ['-x', archive, 'root'], {}, fresh)
    if (unpacked) return unpacked
    renameSync(join(fresh, 'root'), join(folder, name))
    return undefined
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}

/** Names that dpkg has installed; undefined where there is no dpkg. */
function installedPackages(names) {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own format
  const format = '${Package} ${db:Status-Status}\\n'
  const asked = spawnSync('dpkg-query', ['-W', '-f', format, ...names], {
    encoding: 'utf8',
  })
  if (asked.error) return undefined
  const lines = asked.stdout.split('\n').map(line => line.split(' '))
  return new Set(lines.filter(([, status]) => status === 'installed').map(([name]) => name))
}

function otherSystem() {
  const path = (process.env.PATH ?? '').split(':')
  const missing = PROGRAMS.filter(program => !path.some(folder => existsSync(join(folder, program))))
  if (missing.length === 0) return { text: 'no dpkg here, but the programs are there', did: false }
  throw new Stop(
    `this is no Debian system; install these programs by hand: ${missing.join(' ')}, and libbpf 1.x with its headers`,
  )
}

function whyNotInstall() {
  if (process.getuid?.() !== 0) return 'not root, so nothing was installed'
  if (spawnSync('apt-get', ['--version']).error) return 'there is no apt-get'
  return undefined
}

function install(names) {
  const apt = (...words) =>
    runQuietly('apt-get', ['-q', '-y', '-o', 'DPkg::Lock::Timeout=120', ...words], {
      DEBIAN_FRONTEND: 'noninteractive',
    })
  // An update that fails is told only if the installation then fails as well: the lists at hand may do.
  const update = apt('update')
  const failure = apt('install', '--no-install-recommends', ...names)
  return failure && update ? `${failure} (apt-get update before it: ${update})` : failure
}

function installLine(names) {
  return `apt-get update && apt-get install --no-install-recommends ${names.join(' ')}`
}

function npmPackages() {
  if (lockedPackagesAreThere()) return { text: 'packages are there', did: false }
  const failure = runQuietly('npm', ['ci', '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'])
  if (failure) throw new Stop(`npm ci failed: ${failure}`)
  return { text: 'packages installed', did: true }
}

/** By content, not by time: a checkout or a copy changes times. */
function lockedPackagesAreThere() {
  const hidden = join(ROOT, 'node_modules/.package-lock.json')
  if (!existsSync(hidden)) return false
  const packagesOf = path => JSON.parse(readFileSync(path, 'utf8')).packages
  const there = packagesOf(hidden)
  return Object.entries(packagesOf(join(ROOT, 'package-lock.json'))).every(
    ([path, { version, optional }]) =>
      path === '' || there[path]?.version === version || (optional === true && there[path] === undefined),
  )
}

function cap() {
  const built = existsSync(join(ROOT, 'node_modules/cap/build/Release/cap.node'))
  return { text: built ? 'is built' : `is not built: ${WITHOUT.cap}`, did: false }
}

function bpfObjects() {
  const make = (...words) => spawnSync('make', ['-C', join(ROOT, 'bpf'), ...words], { encoding: 'utf8' })
  if (make('-q').status === 0) return { text: 'objects are up to date', did: false }
  const { status, error, stderr } = make('-s')
  if (error || status !== 0) throw new Stop(`the BPF objects do not build: ${error?.message ?? telling(stderr)}`)
  return { text: 'objects built', did: true }
}

/** Runs it silently; undefined when it went well, else why not, with its last lines. */
function runQuietly(command, words, environment = {}, cwd = ROOT) {
  const { status, signal, error, stdout, stderr } = spawnSync(command, words, {
    cwd,
    env: { ...process.env, ...environment },
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  if (error) return `${command}: ${error.message}`
  if (status === 0) return undefined
  return `${command} ${words.find(word => !word.startsWith('-'))} ended with ${signal ?? status}: ${telling(stderr || stdout)}`
}

/** The first lines that say what is wrong; without such, the last lines. */
function telling(text) {
  const lines = text.trim().split('\n')
  const errors = lines.filter(line => /^(npm error|E:|.*error:)./i.test(line))
  return (errors.length > 0 ? errors.slice(0, 8) : lines.slice(-8)).join('\n  ')
}

try {
  main(process.argv.slice(2))
} catch (error) {
  const { message, exitCode } = error instanceof Stop || error.syscall === undefined ? error : new Stop(error.message)
  // `npm start` hands the exit code on: 1 would be a verdict.
  console.error(exitCode === undefined ? error : `setup: ${message}`)
  process.exitCode = exitCode ?? BUG
}
