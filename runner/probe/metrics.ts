import { SocketStats } from '../../bpf/socket-stats.ts'
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
]
