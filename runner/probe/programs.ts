import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { CAP_TRIAL } from '../../captures/cap.ts'
import { inNetns } from '../../generators/linux/netns.ts'
import type { Trial } from './capability.ts'
import { withNamespace } from './namespace.ts'

const LIMIT_MS = 10_000

/** Programs that runs and tests start, each asked for something only a working one answers. */
export const PROGRAM_TRIALS: readonly Trial[] = [
  program('ip', ['reference', 'router', 'bridge', 'host', 'tests'], 'iproute2', ['ip', '-V']),
  program('setpriv', ['reference', 'router', 'bridge', 'host'], 'util-linux', ['setpriv', '--version']),
  program(
    'tcpdump',
    ['reference', 'capture', 'tests'],
    'tcpdump',
    ['tcpdump', '--version'],
    ['tcpdump', '-ddd', '-y', 'EN10MB', 'igmp'],
  ),
  program('socat', ['suites'], 'socat', ['socat', '-V']),
  program('ping', ['suites'], 'iputils-ping', ['ping', '-V']),
  program('http', ['suites'], 'curl and python3', ['curl', '--version'], ['python3', '-c', 'import http.server']),
  program('tshark', ['tests'], 'tshark', ['tshark', '--version']),
  program('scapy', ['tests'], 'python3-scapy', ['/usr/bin/python3', '-c', 'import scapy; print(scapy.VERSION)']),
  program('bpftool', ['tests'], 'bpftool', ['bpftool', 'version']),
  {
    name: 'cap',
    neededFor: ['cap engine'],
    remedy: 'apt-get install libpcap-dev g++ make python3, then npm rebuild cap (npm ci if it is not there)',
    run: capOpens,
  },
]

function program(name: string, neededFor: string[], packages: string, ...commands: string[][]): Trial {
  return {
    name,
    neededFor,
    remedy: `npm run setup in the checkout, or install ${packages}`,
    run: async () => {
      let found = ''
      for (const [file = '', ...words] of commands) {
        const { stdout, stderr } = await execa(file, words, { timeout: LIMIT_MS, forceKillAfterDelay: 500 })
        found ||= versionIn(`${stdout}\n${stderr}`)
      }
      return found
    },
  }
}

function versionIn(text: string): string {
  return /\bv?(\d+\.\d+(\.\d+)*)\b/.exec(text)?.[1] ?? 'works'
}

async function capOpens(): Promise<string> {
  return withNamespace(async namespace => {
    await inNetns(namespace, () => execa('ip', ['link', 'set', 'lo', 'up'], { timeout: LIMIT_MS }))
    const options = { cwd: fileURLToPath(new URL('.', import.meta.url)), timeout: LIMIT_MS, reject: false } as const
    const { stdout, stderr } = await inNetns(namespace, () => execa(process.execPath, ['-e', CAP_TRIAL], options))
    if (stderr.includes('different Node.js version')) throw new Error(`built for another Node than ${process.version}`)
    if (stdout === '') throw new Error(/Error: .*/.exec(stderr)?.[0] ?? 'cap did not open an interface')
    return stdout
  })
}
