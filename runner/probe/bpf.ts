import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import type { Trial } from './capability.ts'
import { inFreshNamespace, words } from './namespace.ts'

const SOURCE = `
#define SECTION(name) __attribute__((section(name), used))
SECTION("tc") int tc_pass(void *ctx) { return 0; }
SECTION("xdp") int xdp_pass(void *ctx) { return 2; }
SECTION("license") char _license[] = "Dual BSD/GPL";
`
const LIMIT_MS = 20_000

/** The whole way of a BPF program, tried with one of four lines: compiled, loaded, verified, attached. */
export const BPF_TRIALS: readonly Trial[] = [
  {
    name: 'clang',
    neededFor: ['reference', 'tests'],
    remedy: 'npm run setup in the checkout, or install clang',
    run: () => withObject(() => Promise.resolve('compiles for BPF')),
  },
  {
    name: 'tc-bpf',
    neededFor: ['reference', 'tests'],
    remedy: 'needs root, CAP_BPF and a kernel with CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS, or --sandbox vm',
    run: () =>
      withObject(async object => {
        const filter = words('tc filter add dev lo ingress bpf direct-action obj FILE sec tc')
        await inFreshNamespace(words('tc qdisc add dev lo clsact'), withFile(filter, object))
        return 'loaded and attached one'
      }),
  },
  {
    name: 'xdp',
    neededFor: ['xdp engine'],
    remedy: 'needs root and a kernel with XDP on veth (4.19 or later)',
    run: () =>
      withObject(async object => {
        const attach = words('ip link set dev probe0 xdpdrv obj FILE sec xdp')
        await inFreshNamespace(words('ip link add name probe0 type veth peer name probe1'), withFile(attach, object))
        return 'attached one to a veth'
      }),
  },
]

function withFile(command: string[], path: string): string[] {
  return command.map(word => (word === 'FILE' ? path : word))
}

async function withObject(body: (path: string) => Promise<string>): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'castproof-probe-'))
  try {
    const path = join(directory, 'probe.o')
    const arguments_ = ['-target', 'bpf', '-O2', '-g', '-c', '-x', 'c', '-', '-o', path]
    await execa('clang', arguments_, { input: SOURCE, timeout: LIMIT_MS })
    return await body(path)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
