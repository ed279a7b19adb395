import { execa } from 'execa'
import { createNetns, inNetns, type Netns } from '../../generators/linux/netns.ts'

const LIMIT_MS = 30_000

/** Does something with a network namespace made for it, which is gone afterwards. */
export async function withNamespace<T>(body: (namespace: Netns) => Promise<T>): Promise<T> {
  const namespace = createNetns()
  try {
    return await body(namespace)
  } finally {
    namespace.close()
  }
}

/** Runs commands one after the other in such a namespace. */
export function inFreshNamespace(...commands: readonly string[][]): Promise<void> {
  return withNamespace(async namespace => {
    for (const [program = '', ...words] of commands) {
      // The child is made synchronously, inside; only its end is awaited.
      await inNetns(namespace, () => execa(program, words, { timeout: LIMIT_MS, forceKillAfterDelay: 500 }))
    }
  })
}

/** A command line without quotes, as an array. */
export function words(line: string): string[] {
  return line.split(' ')
}
