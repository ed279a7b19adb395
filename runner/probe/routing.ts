import { existsSync } from 'node:fs'
import { execa } from 'execa'
import { inNetns } from '../../generators/linux/netns.ts'
import { libraryPath, packaged, REMEDY } from '../target/router/debian.ts'
import type { Trial } from './capability.ts'
import { withNamespace } from './namespace.ts'

const LIMIT_MS = 10_000

/** What the router target stands on. */
export const ROUTING_TRIALS: readonly Trial[] = [
  {
    name: 'multicast-routing',
    neededFor: ['router'],
    ofKernel: true,
    remedy: 'needs a kernel with CONFIG_IP_MROUTE and CONFIG_IP_PIMSM_V2, or --sandbox vm',
    run: () =>
      withNamespace(async namespace => {
        if (inNetns(namespace, () => existsSync('/proc/thread-self/net/ip_mr_cache'))) return 'has a forwarding cache'
        throw new Error('no /proc/net/ip_mr_cache')
      }),
  },
  {
    name: 'frr',
    neededFor: ['router'],
    remedy: REMEDY,
    run: async () => {
      const env = { LD_LIBRARY_PATH: libraryPath() }
      const { stdout } = await execa(packaged('frr', '/usr/lib/frr/pimd'), ['--version'], { env, timeout: LIMIT_MS })
      return /version (\S+)/.exec(stdout)?.[1] ?? 'works'
    },
  },
]
