import { execa } from 'execa'
import { inNetns, type Netns } from '../../generators/linux/netns.ts'

const LAST_LINES = 4
/** Collectors write what they know when they end; the machine may be busy. */
const END_WITHIN_MS = 15_000

/** A collector in its namespace; it dies with us. */
export interface CollectorProcess {
  trouble(): string | undefined
  stop(signal?: 'SIGTERM' | 'SIGINT'): Promise<void>
}

export function startCollector(ns: Netns, argv: readonly string[], cwd: string): CollectorProcess {
  const options = { cwd, reject: false, all: true, stdin: 'ignore', forceKillAfterDelay: END_WITHIN_MS } as const
  const child = inNetns(ns, () => execa('setpriv', ['--pdeathsig', 'KILL', '--', ...argv], options))
  let ended: string | undefined
  const end = child.then(result => {
    const words = String(result.all).trim().split('\n').slice(-LAST_LINES).join(' | ')
    ended = `${argv[0]} ended with ${result.signal ?? result.exitCode}: ${words}`
  })
  return {
    trouble: () => ended,
    async stop(signal = 'SIGTERM') {
      child.kill(signal)
      await end
    },
  }
}
