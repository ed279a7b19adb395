import { writeSync } from 'node:fs'
import { execa } from 'execa'
import { attachTc, attachTracing, BpfObject } from '../../generators/linux/libbpf.ts'
import { close, memoryFile } from '../../generators/linux/libc.ts'
import { inNetns } from '../../generators/linux/netns.ts'
import type { Trial } from './capability.ts'
import { inFreshNamespace, withNamespace, words } from './namespace.ts'

const SOURCE = `
#define SECTION(name) __attribute__((section(name), used))
SECTION("tc") int tc_pass(void *ctx) { return 0; }
SECTION("xdp") int xdp_pass(void *ctx) { return 2; }
SECTION("license") char _license[] = "Dual BSD/GPL";
`
const TRACING_SOURCE = `
__attribute__((section("fentry/bpf_fentry_test1"), used)) int traced(void *ctx) { return 0; }
__attribute__((section("license"), used)) char _license[] = "GPL";
`
/** Also where the machine is emulated. */
const LIMIT_MS = 60_000

/** The whole way of a BPF program, tried with one of two lines: compiled, loaded by libbpf, verified, attached. */
export const BPF_TRIALS: readonly Trial[] = [
  {
    name: 'clang',
    neededFor: ['reference', 'tests'],
    remedy: 'npm run setup in the checkout, or install clang',
    run: () => withObject(SOURCE, () => 'compiles for BPF'),
  },
  {
    name: 'tc-bpf',
    ofKernel: true,
    neededFor: ['reference', 'tests'],
    remedy:
      'needs root, libbpf1, CAP_BPF and a kernel with CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS, or --sandbox vm',
    run: () => withObject(SOURCE, attachToLoopback),
  },
  {
    name: 'xdp',
    ofKernel: true,
    neededFor: ['xdp engine'],
    remedy: 'needs root and a kernel with XDP on veth (4.19 or later)',
    run: () =>
      withObject(SOURCE, async path => {
        const veth = words('ip link add name probe0 type veth peer name probe1')
        await inFreshNamespace(veth, withFile(words('ip link set dev probe0 xdpdrv obj FILE sec xdp'), path))
        return 'attached one to a veth'
      }),
  },
  {
    name: 'tracing',
    ofKernel: true,
    neededFor: ['tracing'],
    remedy: 'needs root, a kernel with BTF and CONFIG_DEBUG_INFO_BTF, and no lockdown, or --sandbox vm',
    run: () => withObject(TRACING_SOURCE, path => loaded(path, 'traced', attachToFunction)),
  },
]

const LOOPBACK = 1

function attachToLoopback(path: string): Promise<string> {
  return withNamespace(async namespace =>
    loaded(path, 'tc_pass', fd => {
      inNetns(namespace, () => attachTc(LOOPBACK, fd))
      return 'loaded and attached one'
    }),
  )
}

function attachToFunction(fd: number): string {
  attachTracing(fd).close()
  return 'attached one to a kernel function'
}

function loaded(path: string, program: string, body: (programFd: number) => string): string {
  const object = new BpfObject(path)
  try {
    object.load([program])
    return body(object.programFd(program))
  } finally {
    object.close()
  }
}

function withFile(command: string[], path: string): string[] {
  return command.map(word => (word === 'FILE' ? path : word))
}

/** In a file without a name: a probe that is killed leaves none. */
async function withObject(source: string, body: (path: string) => string | Promise<string>): Promise<string> {
  const arguments_ = ['-target', 'bpf', '-O2', '-g', '-c', '-x', 'c', '-', '-o', '-']
  const { stdout } = await execa('clang', arguments_, { input: source, timeout: LIMIT_MS, encoding: 'buffer' })
  const fd = memoryFile('castproof-probe')
  try {
    writeSync(fd, stdout)
    return await body(`/proc/${process.pid}/fd/${fd}`)
  } finally {
    close(fd)
  }
}
