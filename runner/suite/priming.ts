import type { Placed, Trouble } from './controls.ts'
import { groupsOfStream, type KnownStep } from './streams.ts'

/**
 * Decides which pods must have seen a probe before a stream starts (RFC 3918 §3.1): those that a `delivered` without
 * `after` names, since a window that opens later is about a change, and what comes before it may be the point.
 */
export function addPriming(all: readonly Placed[], steps: readonly KnownStep[]): Trouble[] {
  return steps.flatMap(({ id, path, read }) => {
    const { action } = read
    if (action.action !== 'send' || read.kind !== 'send') return []
    const wanted = all.flatMap(({ expectation: { check, want } }) =>
      check === 'delivered' && want.stream === id ? [want] : [],
    )
    const named = new Set(wanted.flatMap(want => want.to))
    if (read.prime === false) return []
    if (read.prime) {
      action.prime = read.prime
      const never = read.prime.filter(pod => !named.has(pod))
      if (never.length === 0) return []
      const hint = 'prime only pods that a `delivered` of this stream names'
      return [
        {
          path: [...path, 'prime'],
          code: 'primed-in-vain',
          message: `${never.join(', ')} is primed and never expected to get \`${id}\``,
          hint,
        },
      ]
    }
    if (!action.stream.stamped || groupsOfStream(action).length === 0 || action.stream.frame.inner) return []
    const early = wanted.filter(want => want.after === undefined)
    const reach = action.pods.map((sender): [string, string[]] => {
      const pods = early.filter(want => want.from === undefined || want.from.includes(sender)).flatMap(want => want.to)
      return [sender, [...new Set(pods)].filter(pod => pod !== sender)]
    })
    action.prime = [...new Set(reach.flatMap(([, pods]) => pods))]
    if (reach.some(([, pods]) => pods.length !== action.prime.length)) action.primeOf = Object.fromEntries(reach)
    return []
  })
}
