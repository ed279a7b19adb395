import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { accelerator } from '../runner/sandbox/accelerator.ts'
import { boot, type Guest } from '../runner/sandbox/boot.ts'
import { bundled, nodeWords, ROOT } from '../runner/sandbox/code.ts'
import { guestEnvironment } from '../runner/sandbox/environment.ts'
import { kernelNamed } from '../runner/sandbox/kernel.ts'

/**
 * Starts a command of this checkout under a distribution's kernel, in a machine whose root is this machine's: a file of
 * ours by its path in the checkout, or any program. What it writes is gone with it.
 */
async function inVm(words: readonly string[], kernelName?: string): Promise<Guest & { kernel: string }> {
  const [kernel, how, layers] = await Promise.all([kernelNamed(kernelName), accelerator(), bundled(sources(words))])
  const [file = '', ...rest] = words
  const argv = file.endsWith('.ts') ? [...nodeWords(file), ...rest] : words
  return {
    ...boot(kernel, how, { argv, cwd: ROOT, env: guestEnvironment(), writable: [], layers }),
    kernel: kernel.release,
  }
}

/** Every source that is named, and the one that others start. */
function sources(words: readonly string[]): string[] {
  const named = words.filter(word => word.endsWith('.ts'))
  return named.length === 0 ? [] : [...named, 'bpf/control-plane-process.ts', 'bpf/metrics-process.ts']
}

/** The same to its end, with all that it wrote: standard output, then standard error. */
export async function runInVm(
  words: readonly string[],
  kernelName?: string,
): Promise<{ exitCode: number; output: string; kernel: string }> {
  const { stdout, stderr, exited, kernel } = await inVm(words, kernelName)
  const [output, errors, exitCode] = await Promise.all([text(stdout), text(stderr), exited])
  return { exitCode, output: output + errors, kernel }
}

/** By hand: `node --import tsx test/vm.ts [--kernel 6.12] FILE-OR-PROGRAM [WORD…]`. */
async function main(): Promise<void> {
  const [first, name, ...rest] = process.argv.slice(2)
  const guest = first === '--kernel' ? await inVm(rest, name) : await inVm(process.argv.slice(2))
  guest.stdout.pipe(process.stdout)
  guest.stderr.pipe(process.stderr)
  for (const name of ['INT', 'TERM'] as const) process.on(`SIG${name}`, () => guest.signal(name))
  process.exitCode = await guest.exited
  await Promise.all([guest.stdout, guest.stderr].map(stream => stream.readableEnded || once(stream, 'end')))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
