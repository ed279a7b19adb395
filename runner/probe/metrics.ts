import { execa } from 'execa'
import { SocketStats } from '../../bpf/socket-stats.ts'
import { packaged } from '../target/router/debian.ts'
import type { Trial } from './capability.ts'

export const METRICS_TRIALS: readonly Trial[] = [
  {
    name: 'metrics',
    ofKernel: true,
    neededFor: ['metrics'],
    remedy: 'needs root, a kernel with BTF, cgroup2 mounted, and raw tracepoints for BPF, or --sandbox vm',
    run: () => {
      SocketStats.load().close()
      return 'counted sockets'
    },
  },
  {
    name: 'prometheus',
    neededFor: ['tests'],
    remedy: 'npm test in the checkout (it unpacks Prometheus and installs none), or install prometheus',
    run: async () => {
      const { stdout } = await execa(packaged('prometheus', '/usr/bin/prometheus'), ['--version'], { timeout: 10_000 })
      return /\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? 'works'
    },
  },
]
