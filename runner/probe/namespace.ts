import { execa } from 'execa'
import { createNetns, inNetns } from '../../generators/linux/netns.ts'

const LIMIT_MS = 10_000

/** Runs commands one after the other in a network namespace made for them, which ends with the last. */
export async function inFreshNamespace(...commands: readonly string[][]): Promise<void> {
  const namespace = createNetns()
  try {
    for (const [program = '', ...words] of commands) {
      // The child is made synchronously, inside; only its end is awaited.
      await inNetns(namespace, () => execa(program, words, { timeout: LIMIT_MS, forceKillAfterDelay: 500 }))
    }
  } finally {
    namespace.close()
  }
}

/** A command line without quotes, as an array. */
export function words(line: string): string[] {
  return line.split(' ')
}
