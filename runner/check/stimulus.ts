import { DIRECTION } from '../../captures/record.ts'
import type { Seen } from './check.ts'
import { sequencesOf, tally, unequal, unitCount, unitsOf } from './copies.ts'
import { podOf, tapFault } from './places.ts'
import { counted, ranges } from './ranges.ts'
import type { Selection } from './window.ts'

/**
 * Why the selection cannot stand as a stimulus: the node end of the sender's veth did not receive each frame as often
 * as it was sent. What never left proves nothing about who should have got it (ARCHITECTURE section 3).
 */
export function stimulusFault(seen: Seen, selection: Selection): string | undefined {
  const { stream } = selection
  const sender = podOf(seen, stream.pod)
  if (!sender) return `stream ${stream.name}: no pod ${stream.pod} in the site`
  const fault = tapFault(seen, [sender.nodeTap])
  if (fault) return fault
  const units = unitsOf(stream)
  const { copies } = tally(seen, units, seen.tapIndex(sender.nodeTap), DIRECTION.in)
  const { missing, surplus } = unequal(units, copies, selection)
  const odd = [...missing, ...surplus].sort((a, b) => a - b)
  if (odd.length === 0) return undefined
  const how = missing.length === 0 ? 'more than once' : surplus.length === 0 ? 'not at all' : 'not exactly once'
  const of = `${odd.length} of ${counted(unitCount(units, selection), 'frame')}`
  return `${of} of ${stream.name} reached ${sender.nodeTap} ${how} (${ranges(sequencesOf(units, odd))}): no sound stimulus`
}
