import type { Problem } from '../leaf.ts'

/** The two different snapshots that something is looked at between. */
export function pairOf(between: readonly string[], mistake: Problem): [string, string] {
  const [first, second] = between
  if (between.length === 2 && first !== undefined && second !== undefined && first !== second) return [first, second]
  mistake('bad-between', 'expected two different snapshots', 'between: [before, after]', ['between'])
  return ['', '']
}
