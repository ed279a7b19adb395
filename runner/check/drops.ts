import type { DropsWant } from '../suite/expectations.ts'
import { amountText, within } from './amount.ts'
import type { Check, Seen } from './check.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'

/** Every dropped packet is counted under a named reason: what was sent to be dropped must show there. */
export const drops: Check<DropsWant> = {
  name: 'drops',
  about: 'by how much named drop counters of a node grew between two snapshots',
  judge(want, _sent, seen) {
    const [before, after] = want.between.map(step => reasonsAt(want.node, step, seen))
    if (!before || !after) {
      const without = want.between.filter(step => !reasonsAt(want.node, step, seen))
      return conclude([inconclusive(`no drop counters of ${want.node} were taken at ${without.join(', ')}`)], '')
    }
    const findings = Object.entries(want.reasons).map(([reason, amount]): Finding => {
      // What nobody counts does not grow: a misspelt reason must not pass as none.
      if (after[reason] === undefined)
        return inconclusive(`${want.node} has no drop counter "${reason}"`, [known(after)])
      const grown = (after[reason] ?? 0) - (before[reason] ?? 0)
      if (within(amount, grown)) return pass()
      const difference = { field: `${want.node} ${reason}`, expected: amountText(amount), seen: String(grown) }
      const message = `expected ${amountText(amount)} drops "${reason}" on ${want.node}, saw ${grown} (${before[reason] ?? 0} to ${after[reason] ?? 0})`
      return { status: 'fail', message, differences: [difference], details: grownReasons(before, after) }
    })
    return conclude(findings, `drop counters of ${want.node} grew as expected`)
  },
}

function reasonsAt(node: string, step: string, seen: Seen): Record<string, number> | undefined {
  const found = seen.observations.find(o => o.kind === 'drops' && o.step === step && o.node === node)
  return found?.kind === 'drops' ? found.reasons : undefined
}

function known(reasons: Record<string, number>): string {
  return `it counts ${Object.keys(reasons).join(', ') || 'nothing'}`
}

function grownReasons(before: Record<string, number>, after: Record<string, number>): string[] {
  const grown = Object.entries(after).filter(([reason, n]) => n !== (before[reason] ?? 0))
  return grown.map(([reason, n]) => `${reason}: +${n - (before[reason] ?? 0)}`)
}
