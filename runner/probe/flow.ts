import { execa } from 'execa'
import { packaged, REMEDY } from '../target/router/debian.ts'
import type { Trial } from './capability.ts'

const LIMIT_MS = 10_000

/** Flow exporters and collectors, each asked for its version. */
export const FLOW_TRIALS: readonly Trial[] = [
  daemon('nfdump', 'nfdump', '/usr/bin/nfdump', '-V'),
  daemon('nfacctd', 'pmacct', '/usr/sbin/nfacctd', '-V'),
  daemon('softflowd', 'softflowd', '/usr/sbin/softflowd', '-h'),
]

function daemon(name: string, debianPackage: string, path: string, word: string): Trial {
  return {
    name,
    neededFor: ['netflow --analyser', 'tests'],
    remedy: REMEDY,
    run: async () => {
      const { stdout, stderr } = await execa(packaged(debianPackage, path), [word], {
        reject: false,
        timeout: LIMIT_MS,
      })
      const version = /\d+\.\d+(\.\d+)?/.exec(`${stdout}\n${stderr}`)?.[0]
      if (version === undefined) throw new Error(stderr.trim().split('\n')[0] || 'it tells no version')
      return version
    },
  }
}
