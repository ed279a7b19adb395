import type { StreamWant } from '../suite/expectations.ts'
import type { PodSite, Seen, Sent } from './check.ts'
import { type Finding, inconclusive } from './findings.ts'
import { podOf } from './places.ts'
import { allSteps } from './proof.ts'
import { stimulusFault } from './stimulus.ts'
import { emptyReason, type Selection, selectionsOf } from './window.ts'

/** One sender's frames at one pod; `stimulus` says why they prove nothing, when they do not. */
export interface Pair {
  selection: Selection
  pod: PodSite
  stimulus: string | undefined
}

/** Who must have sent in the window: those that are named, else those that the plan has send and that sent nothing at all. */
export function sendersOf(want: StreamWant, sent: Sent, seen: Seen): readonly string[] {
  if (want.from) return want.from
  const step = allSteps(seen.plan.steps).find(({ id }) => id === want.stream)
  const heard = new Set(sent.of(want.stream).map(({ pod }) => pod))
  return step?.action === 'send' ? step.pods.filter(pod => !heard.has(pod)) : []
}

/** Judges each non-empty selection at each pod; what cannot be judged at all is a finding too, never an empty list. */
export function eachPair(
  want: StreamWant,
  pods: readonly string[],
  sent: Sent,
  seen: Seen,
  judge: (pair: Pair) => Finding,
): Finding[] {
  const selections = selectionsOf(want, sent, seen).filter(({ from, to }) => to > from)
  if (selections.length === 0) return [inconclusive(emptyReason(want, sent, seen))]
  const silent = sendersOf(want, sent, seen).filter(pod => !selections.some(({ stream }) => stream.pod === pod))
  const findings = silent.map(pod => inconclusive(`${pod} sent no frame of ${want.stream} in the window`))
  for (const selection of selections) {
    const stimulus = stimulusFault(seen, selection)
    for (const name of pods) {
      const pod = podOf(seen, name)
      findings.push(pod ? judge({ selection, pod, stimulus }) : inconclusive(`no pod ${name} in the site`))
    }
  }
  return findings
}
