import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { writeWhole } from '../../reports/write.ts'
import type { Capability } from '../probe.ts'
import { castproofVersion } from '../version.ts'
import { accelerator } from './accelerator.ts'
import { boot } from './boot.ts'
import { cacheFolder } from './cache.ts'
import { bundled, nodeWords, ROOT } from './code.ts'
import { guestEnvironment } from './environment.ts'
import { type Kernel, kernelNamed } from './kernel.ts'

const PROBE = 'runner/sandbox/probe-main.ts'

/**
 * What the kernel of a virtual machine has of these, each found out by doing it in there. What it once had it still has: that
 * is remembered beside the kernel, and nothing boots for it; what failed is tried again.
 */
export async function guestCapabilities(
  kernelName: string | undefined,
  names: readonly string[],
  say: (line: string) => void,
): Promise<Capability[]> {
  const kernel = await kernelNamed(kernelName, say)
  const known = remembered(kernel)
  if (names.some(name => !known.has(name))) {
    const lacking = names.filter(name => !known.has(name))
    say(`asking Linux ${kernel.release} in a virtual machine for ${lacking.join(', ')}`)
    for (const capability of await askGuest(kernel, lacking)) known.set(capability.name, capability)
    remember(
      kernel,
      [...known.values()].filter(({ ok }) => ok),
    )
  }
  return names.flatMap(name => known.get(name) ?? [])
}

async function askGuest(kernel: Kernel, names: readonly string[]): Promise<Capability[]> {
  const argv = [...nodeWords(PROBE), ...names]
  const layers = await bundled([PROBE])
  const guest = boot(kernel, await accelerator(), { argv, cwd: ROOT, env: guestEnvironment(), writable: [], layers })
  try {
    const [told, complaints, exitCode] = await Promise.all([text(guest.stdout), text(guest.stderr), guest.exited])
    if (exitCode !== 0)
      throw new Error(`the probe under ${kernel.release} ended with exit code ${exitCode}: ${complaints}`)
    return JSON.parse(told) as Capability[]
  } finally {
    guest.kill()
  }
}

function remembered(kernel: Kernel): Map<string, Capability> {
  const path = pathOf(kernel)
  const known = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Capability[]) : []
  return new Map(known.map(capability => [capability.name, capability]))
}

function remember(kernel: Kernel, capabilities: readonly Capability[]): void {
  mkdirSync(dirname(pathOf(kernel)), { recursive: true })
  writeWhole(pathOf(kernel), JSON.stringify(capabilities))
}

function pathOf({ release }: Kernel): string {
  return join(cacheFolder(), 'capabilities', `${release}-${castproofVersion()}.json`)
}
