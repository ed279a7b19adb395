import { readdirSync } from 'node:fs'
import { join } from 'node:path'

export type Kind = 'lint' | 'unit' | 'netns' | 'bpf' | 'vm'

/** How files of a kind run, and what a machine must be able to do for them (names of `castproof probe`). */
export interface KindRules {
  needs: readonly string[]
  atOnce: number
  limitMs: number
}

/** In the order they run: what fails fast comes first. */
export const KINDS: Readonly<Record<Kind, KindRules>> = {
  lint: { needs: [], atOnce: 2, limitMs: 180_000 },
  unit: { needs: [], atOnce: 2, limitMs: 120_000 },
  netns: { needs: ['root', 'namespaces', 'packet-socket', 'veth', 'ip'], atOnce: 1, limitMs: 240_000 },
  bpf: { needs: ['root', 'namespaces', 'packet-socket', 'veth', 'ip', 'clang', 'tc-bpf'], atOnce: 1, limitMs: 300_000 },
  vm: { needs: ['root', 'qemu', 'busybox'], atOnce: 1, limitMs: 900_000 },
}

const FOLDERS = ['generators', 'captures', 'bpf', 'reports', 'runner', 'suites', 'deploy', 'test', 'bench']

/** Every test file of the project, by the kind its name says. */
export function testFiles(root: string): Map<Kind, string[]> {
  const files = new Map<Kind, string[]>()
  for (const folder of FOLDERS) {
    for (const name of readdirSync(join(root, folder), { recursive: true }).map(String).sort()) {
      const kind = kindOf(name)
      if (kind !== undefined) files.set(kind, [...(files.get(kind) ?? []), join(folder, name)])
    }
  }
  return files
}

/** `x.test.ts` is unit, `x.netns.test.ts` and so on say it; a kind nobody knows is an error, not a file that never runs. */
export function kindOf(path: string): Kind | undefined {
  const match = /\.(?:([a-z]+)\.)?test\.ts$/.exec(path)
  if (match === null) return undefined
  const kind = match[1] ?? 'unit'
  if (kind === 'unit' || kind === 'netns' || kind === 'bpf' || kind === 'vm') return kind
  throw new Error(`${path}: no kind of test is called ${kind}; there are unit (no name), netns, bpf, vm`)
}
