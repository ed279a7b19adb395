import { DIRECTION } from '../../captures/record.ts'
import type { DuplicatesWant } from '../suite/expectations.ts'
import type { Check, Seen, Sent } from './check.ts'
import { frameOfUnit, sequencesOf, sightingsIn, tallyIn, unequal, unitsOf } from './copies.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { podOf, tapFault } from './places.ts'
import { closedAtPod } from './proof.ts'
import { counted, ranges } from './ranges.ts'
import { eachPair, type Pair } from './receivers.ts'
import { blame } from './shortfall.ts'
import { selectionsOf } from './window.ts'

/** Identity is the stamp, not the bytes: TTL and outer headers may rightly change on the way. */
export const duplicates: Check<DuplicatesWant> = {
  name: 'duplicates',
  about: 'no frame of the stream came to a pod more than once',
  judge(want, sent, seen) {
    const findings = eachPair(want, want.at, sent, seen, pair => atPod(pair, sent, seen))
    if (findings.every(finding => finding.status === 'pass') && !anyCopy(want, sent, seen)) {
      return conclude([inconclusive(`no copy of ${want.stream} came to any pod: nothing to compare`)], '')
    }
    return conclude(findings, `no frame of ${want.stream} came twice to any of ${counted(want.at.length, 'pod')}`)
  },
}

function anyCopy(want: DuplicatesWant, sent: Sent, seen: Seen): boolean {
  return selectionsOf(want, sent, seen).some(selection =>
    want.at.some(name => {
      const pod = podOf(seen, name)
      return pod && !sightingsIn(seen, selection, seen.tapIndex(pod.podTap), DIRECTION.in).next().done
    }),
  )
}

const SHOWN = 3

function atPod({ selection, pod, stimulus }: Pair, sent: Sent, seen: Seen): Finding {
  const { stream } = selection
  const units = unitsOf(stream)
  const tap = seen.tapIndex(pod.podTap)
  const { copies } = tallyIn(seen, units, tap)
  const { surplus } = unequal(units, copies, selection)
  const closure = closedAtPod(seen, sent, selection, pod)
  if (surplus.length === 0) {
    const doubt = tapFault(seen, [pod.podTap]) ?? ('reason' in closure ? closure.reason : undefined)
    return doubt
      ? inconclusive(`${stream.name} at ${pod.name}: ${doubt}`)
      : pass('method' in closure ? closure.method : undefined)
  }
  const shown = surplus.slice(0, SHOWN).map(unit => ({
    frame: frameOfUnit(seen, units, unit, tap, DIRECTION.in, 1),
    note: `${stream.name} ${units.sequenceOf(unit)}: copy 2 of ${copies[unit]} at ${pod.podTap}`,
  }))
  const message = `expected each frame of ${stream.name} at most once at ${pod.name}, saw ${counted(surplus.length, 'frame')} more often (${ranges(sequencesOf(units, surplus))})`
  const finding = { frames: shown.filter(({ frame }) => frame >= 0) }
  return blame(
    { message, missing: 0, positive: true, finding },
    { seen, sent, stream, pod, taps: [pod.podTap], stimulus, closure },
  )
}
