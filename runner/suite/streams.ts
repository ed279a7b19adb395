import type { FrameSpec } from '../../generators/frame-spec.ts'
import { isMulticast } from '../../generators/wire/address.ts'
import type { StepFacts } from './expect/read-expectation.ts'
import type { Settings } from './plan-types.ts'
import type { ReadStep } from './steps/read-step.ts'

/** A step that was readable, in the order in which steps run, with the id it goes by. */
export interface KnownStep {
  id: string
  path: readonly PropertyKey[]
  read: ReadStep
}

type Send = Extract<ReadStep['action'], { action: 'send' }>

/** Groups that a stream is sent to; empty for unicast. */
export function groupsOfStream(send: Send): number[] {
  const listed = send.stream.destinations?.map(({ group }) => group)
  const all = listed ?? [innermost(send.stream.frame).ipv4?.dst ?? 0]
  return [...new Set(all)].filter(address => typeof address === 'number' && isMulticast(address))
}

export function innermost(frame: FrameSpec): FrameSpec {
  return frame.inner ? innermost(frame.inner) : frame
}

/** Of the link-local block, which needs no join (RFC 4541 §2.1.2 (2)). */
export function isLinkLocal(group: number): boolean {
  return group >>> 8 === 0xe00000
}

/** What expectations may ask about the steps of a case. */
export function stepFacts(steps: readonly KnownStep[], settings: Settings): StepFacts {
  const send = (id: string): Send | undefined => {
    const action = steps.find(step => step.id === id && step.read.kind === 'send')?.read.action
    return action?.action === 'send' ? action : undefined
  }
  return {
    settings,
    senders: stream => {
      const found = send(stream)
      return found?.pods
    },
    members: stream => membersAt(steps, stream, send(stream)),
  }
}

/** Plays joins and leaves up to the stream; anything that could make another member or unmake one makes it unclear. */
function membersAt(
  steps: readonly KnownStep[],
  stream: string,
  send: Send | undefined,
): ReturnType<StepFacts['members']> {
  if (!send) return { pods: [] }
  const wanted = groupsOfStream(send)
  const joined = new Map<string, Set<number>>()
  for (const { id, read } of steps) {
    if (id === stream) break
    const { action } = read
    if (action.action === 'join') {
      if (action.filter) return { unclear: `join \`${id}\` has a source filter` }
      for (const pod of action.pods)
        joined.set(pod, new Set([...(joined.get(pod) ?? []), ...(action.groups ?? [action.group])]))
    } else if (action.action === 'leave') {
      for (const pod of action.pods) for (const group of action.groups ?? [action.group]) joined.get(pod)?.delete(group)
    } else if (read.kind === 'igmp' || ['kill', 'revive', 'link', 'group', 'agent', 'run'].includes(read.kind)) {
      return { unclear: `step \`${id}\` (${read.kind}) comes before it` }
    }
  }
  const found = steps.find(step => step.id === stream)
  const change = found?.read.inner.find(({ kind }) => !['wait', 'snapshot', 'send', 'stop'].includes(kind))
  if (change) return { unclear: `its \`while\` has a ${change.kind} step` }
  return {
    pods: [...joined]
      .filter(([, groups]) => wanted.length > 0 && wanted.every(group => groups.has(group)))
      .map(([pod]) => pod),
  }
}

/** Pods that a step before or inside the stream may have made members of one of its groups. */
export function mayReceive(steps: readonly KnownStep[], send: Send): Set<string> {
  const wanted = new Set(groupsOfStream(send))
  const pods = new Set<string>()
  for (const { read } of steps) {
    const { action } = read
    if (action.action === 'join' && (action.groups ?? [action.group]).some(group => wanted.has(group)))
      for (const pod of action.pods) pods.add(pod)
    else if (read.kind === 'igmp' && action.action === 'send') for (const pod of action.pods) pods.add(pod)
    else if (action.action === 'run') pods.add(action.pod)
  }
  return pods
}
