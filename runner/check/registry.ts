import type { CheckName, ExpectationWants } from '../suite/expectations.ts'
import { analyser } from './analyser.ts'
import type { Check, Seen, Sent, Verdict } from './check.ts'
import { content } from './content.ts'
import { delivered } from './delivered.ts'
import { drops } from './drops.ts'
import { duplicates } from './duplicates.ts'
import { encapsulated } from './encapsulated.ts'
import { encrypted } from './encrypted.ts'
import { esp } from './esp.ts'
import { flowAccounting } from './flow-accounting.ts'
import { flowMessages } from './flow-messages.ts'
import { igmpCheck } from './igmp.ts'
import { joinDelay } from './join-delay.ts'
import { latency } from './latency.ts'
import { leaveDelay } from './leave-delay.ts'
import { membership } from './membership.ts'
import { metrics } from './metrics.ts'
import { nodeMetrics } from './node-metrics.ts'
import { notDelivered } from './not-delivered.ts'
import { order } from './order.ts'
import { output } from './output.ts'
import { pimCheck } from './pim.ts'
import { replication } from './replication.ts'
import { xfrm } from './xfrm.ts'

/** Every check by its key in the YAML; the compiler sees to it that none is forgotten. */
export const CHECKS: { readonly [Name in CheckName]: Check<ExpectationWants[Name]> } = {
  delivered,
  'not-delivered': notDelivered,
  duplicates,
  order,
  content,
  replication,
  encapsulated,
  membership,
  igmp: igmpCheck,
  latency,
  'join-delay': joinDelay,
  'leave-delay': leaveDelay,
  drops,
  output,
  pim: pimCheck,
  'flow-accounting': flowAccounting,
  'flow-messages': flowMessages,
  analyser,
  metrics,
  'node-metrics': nodeMetrics,
  encrypted,
  esp,
  xfrm,
}

/** `want` must be of the check's own type, as the plan has it. */
export function judgeExpectation(check: CheckName, want: unknown, sent: Sent, seen: Seen): Verdict {
  return (CHECKS[check] as Check<unknown>).judge(want, sent, seen)
}
