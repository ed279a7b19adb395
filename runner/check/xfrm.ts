import type { XfrmWant } from '../suite/expectations.ts'
import { amountText, within } from './amount.ts'
import type { Check, Seen } from './check.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'

/** Every counter of /proc/net/xfrm_stat means loss: each must grow by what is expected, and those not named not at all. */
export const xfrm: Check<XfrmWant> = {
  name: 'xfrm',
  about: "by how much the error counters of nodes' XFRM grew: not at all, unless said otherwise",
  judge(want, _sent, seen) {
    const findings = want.nodes.flatMap(node => onNode(want, node, seen))
    return conclude(findings, `XFRM counters of ${want.nodes.join(', ')} grew as expected`)
  },
}

function onNode(want: XfrmWant, node: string, seen: Seen): Finding[] {
  const [from, to] = [want.after ?? 'start', want.before ?? 'end']
  const [before, after] = [countersAt(node, from, seen), countersAt(node, to, seen)]
  if (!before || !after) {
    const without = [before ? [] : [from], after ? [] : [to]].flat()
    return [inconclusive(`no XFRM counters of ${node} were taken at ${without.join(', ')}`)]
  }
  const unknown = Object.keys(want.errors).filter(name => after[name] === undefined)
  if (unknown.length > 0)
    return [
      inconclusive(`${node} has no counter ${unknown.join(', ')}`, [`it counts ${Object.keys(after).join(', ')}`]),
    ]
  return Object.keys(after).map(name => {
    const amount = want.errors[name] ?? 0
    const grown = (after[name] ?? 0) - (before[name] ?? 0)
    if (grown < 0) return inconclusive(`${name} of ${node} went back from ${before[name]} to ${after[name]}`)
    if (within(amount, grown)) return pass()
    const message = `expected ${name} of ${node} to grow by ${amountText(amount)}, it grew by ${grown} (${before[name] ?? 0} to ${after[name] ?? 0})`
    return {
      status: 'fail',
      message,
      differences: [{ field: `${node} ${name}`, expected: amountText(amount), seen: String(grown) }],
    }
  })
}

function countersAt(node: string, at: string, seen: Seen): Record<string, number> | undefined {
  const found = seen.observations.filter(o => o.kind === 'xfrm' && o.at === at && o.node === node)
  const one = at === 'end' ? found.at(-1) : found[0]
  return one?.kind === 'xfrm' && Object.keys(one.errors).length > 0 ? one.errors : undefined
}
