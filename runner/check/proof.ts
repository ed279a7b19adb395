import { DIRECTION } from '../../captures/record.ts'
import type { PlannedStep } from '../suite/plan-types.ts'
import type { PodSite, Seen, Sent, SentStream } from './check.ts'
import { tally, unequal, unitsOf } from './copies.ts'
import { nodeOf, podOf, tapFault } from './places.ts'
import type { Selection } from './window.ts'

/** Whether nothing more of a stream can come to a place, and by which method that is known. */
export type Closure = { method: string } | { reason: string }

/**
 * A guard datagram that was sent after the stream's last frame has arrived at the pod end: what went before it in the
 * same queues cannot come any more. At the sender itself, whose own guard cannot pass there, an echo does; so it does on
 * nodes that a stranger's guard does not reach, since it comes from the node that might have sent the stream on.
 */
export function closedAtPod(seen: Seen, sent: Sent, selection: Selection, pod: PodSite): Closure {
  const { stream } = selection
  const roles = rolesAt(seen, stream, pod)
  const [role] = roles
  const tap = seen.tapIndex(pod.podTap)
  const passed = roles.find(one => guardPassed(seen, sent, stream, one, tap, DIRECTION.in))
  if (passed) return { method: passed }
  if (goneAfter(seen, selection, pod)) return { method: 'pod gone' }
  const sentGuards = sent.serving(stream.number, role).length > 0
  return {
    reason: sentGuards ? `the ${role} did not arrive at ${pod.podTap}` : `no ${role} was sent for ${stream.name}`,
  }
}

/** Why a pod's capture may lack what came, or what may still come, of a stream; undefined when it holds everything. */
export function unsettled(seen: Seen, sent: Sent, selection: Selection, pod: PodSite): string | undefined {
  const closure = closedAtPod(seen, sent, selection, pod)
  return tapFault(seen, [pod.podTap]) ?? ('reason' in closure ? closure.reason : undefined)
}

function rolesAt(seen: Seen, stream: SentStream, pod: PodSite): ['fence' | 'echo', ...'echo'[]] {
  if (pod.name === stream.pod) return ['echo']
  const sender = podOf(seen, stream.pod)
  const stranger = sender !== undefined && nodeOf(seen, sender.node) === undefined
  return stranger ? ['fence', 'echo'] : ['fence']
}

/**
 * A node's uplink or overlay: on the sender's node the fence leaves there too; on another it arrives there, and what
 * that node sends on afterwards (the echo) has passed the queue that a re-forwarded copy would be in.
 */
export function closedAtNode(
  seen: Seen,
  sent: Sent,
  stream: SentStream,
  place: { node: string; tap: string; direction: 'in' | 'out'; ofSender: boolean },
): Closure {
  const direction = DIRECTION[place.direction]
  for (const tapName of [place.tap, nodeOf(seen, place.node)?.uplinkTap ?? place.tap]) {
    const tap = seen.tapIndex(tapName)
    if (guardPassed(seen, sent, stream, 'fence', tap, direction)) return { method: 'fence' }
    if (guardPassed(seen, sent, stream, 'echo', tap, direction)) return { method: 'echo' }
    const arrived = !place.ofSender && guardPassed(seen, sent, stream, 'fence', tap, DIRECTION.in)
    if (arrived) return { method: 'fence arrived' }
  }
  // A router makes all copies of a datagram in one go: where a guard has left it, those of what came before have as well.
  const routed = nodeOf(seen, place.node)?.interfaceTaps ?? []
  if (routed.some(name => guardPassed(seen, sent, stream, 'fence', seen.tapIndex(name), DIRECTION.out)))
    return { method: 'fence passed the router' }
  return { reason: `no guard datagram passed ${place.tap} (${place.direction}) after ${stream.name}` }
}

/**
 * Frames of a guard stream that were sent after the stream's last frame, seen at the tap. A guard is only ever sent after the
 * stream: where two clocks cannot tell, they do not say otherwise.
 */
export function guardPassed(
  seen: Seen,
  sent: Sent,
  stream: SentStream,
  role: 'fence' | 'echo',
  tap: number,
  direction: number,
): boolean {
  if (tap < 0) return false
  const lastNs = stream.count === 0 ? -Infinity : stream.timeNs(stream.count - 1)
  const atTapNs = lastNs - seen.clockErrorNs({ taps: [seen.recording.taps[tap]?.name ?? ''], pods: [stream.pod] })
  return sent.serving(stream.number, role).some(guard => {
    const first = guard.spec.firstSequence ?? 0
    const guardNs = lastNs - seen.clockErrorNs({ pods: [guard.pod, stream.pod] })
    for (const i of seen.ledger.sightings(tap, guard.number, direction)) {
      const k = seen.ledger.sequence(i) - first
      if (k >= 0 && k < guard.count && guard.timeNs(k) >= guardNs && seen.ledger.timeNs(i) >= atTapNs) return true
    }
    return false
  })
}

/** A pod that was killed or unplugged after the last of these frames was sent can get nothing any more. */
function goneAfter(seen: Seen, { stream, to }: Selection, pod: PodSite): boolean {
  const lastNs = to === 0 ? -Infinity : stream.timeNs(to - 1)
  return allSteps(seen.plan.steps).some(step => {
    const killed = step.action === 'kill' && step.pods.includes(pod.name)
    const unplugged = step.action === 'link' && step.pod === pod.name && !step.up
    const endNs = seen.stepTimeNs(step.id, 'end')
    return (killed || unplugged) && endNs !== undefined && endNs >= lastNs + stream.clockErrorNs
  })
}

/** Steps in the order of the file, those that run while a stream is under way behind its `send`. */
export function allSteps(steps: readonly PlannedStep[]): PlannedStep[] {
  return steps.flatMap(step => (step.action === 'send' ? [step, ...allSteps(step.meanwhile)] : [step]))
}

/** Unicast datagrams on the same path: none sent, all arrived, or some lost ("multicast broken" against "path broken"). */
export function controlState(seen: Seen, sent: Sent, stream: SentStream, pod: PodSite): 'none' | 'complete' | 'lost' {
  const controls = sent.serving(stream.number, 'control').filter(control => unicastTo(control) === pod.address)
  if (controls.length === 0) return 'none'
  const tap = seen.tapIndex(pod.podTap)
  const lost = controls.some(control => {
    const units = unitsOf(control)
    const { copies } = tally(seen, units, tap, DIRECTION.in)
    return unequal(units, copies, { stream: control, from: 0, to: control.count }).missing.length > 0
  })
  return lost ? 'lost' : 'complete'
}

function unicastTo(control: SentStream): number | undefined {
  return control.spec.destinations?.[0]?.group ?? control.spec.frame.ipv4?.dst
}
