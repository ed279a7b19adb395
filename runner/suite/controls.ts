import { formatIpv4 } from '../../generators/wire/address.ts'
import { needsControl, type ReadExpectation, type StepFacts } from './expect/read-expectation.ts'
import type { Control } from './expectations.ts'
import { groupsOfStream, isLinkLocal, type KnownStep, mayReceive } from './streams.ts'

/** An expectation and its place in `expect`. */
export interface Placed {
  expectation: ReadExpectation
  index: number
}

/** A mistake that shows only when steps and expectations are looked at together. */
export interface Trouble {
  path: PropertyKey[]
  code: string
  message: string
  hint: string
}

type Delivered = Extract<ReadExpectation, { check: 'delivered' }>

function deliveries(all: readonly Placed[]): Delivered['want'][] {
  return all.flatMap(({ expectation }) => (expectation.check === 'delivered' ? [expectation.want] : []))
}

/**
 * Gives each absence its control: the same stream delivered to someone, for IGMP a stream delivered to the same pods.
 * Without one, nothing distinguishes "not sent on" from "nothing works".
 */
export function addControls(all: readonly Placed[], facts: StepFacts): Trouble[] {
  const delivered = deliveries(all)
  return all.flatMap(({ expectation, index }) => {
    if (!needsControl(expectation)) return []
    if (expectation.check !== 'not-delivered' && expectation.check !== 'igmp') return []
    const { want } = expectation
    if (want.control) return controlTrouble(want.control, delivered, index, expectation.check)
    const found =
      expectation.check === 'not-delivered'
        ? delivered.find(({ stream }) => stream === expectation.want.stream)
        : delivered.find(each =>
            expectation.want.pods.every(pod => each.to.includes(pod) || facts.senders(each.stream)?.includes(pod)),
          )
    if (found) {
      want.control = { stream: found.stream, to: found.to }
      return []
    }
    const hint = 'add `delivered` for the same stream, or control: { stream: s1, to: rx } naming one that is delivered'
    return [
      {
        path: ['expect', index, expectation.check],
        code: 'no-control',
        message: 'nothing shows that the way was open: absence needs a positive control',
        hint,
      },
    ]
  })
}

/** A control that is not itself expected to arrive would make the case inconclusive for ever. */
function controlTrouble(
  control: Control,
  delivered: readonly Delivered['want'][],
  index: number,
  check: string,
): Trouble[] {
  const covered = control.to.every(pod =>
    delivered.some(each => each.stream === control.stream && each.to.includes(pod)),
  )
  if (covered) return []
  const hint = `add - delivered: { stream: ${control.stream}, to: … }`
  return [
    {
      path: ['expect', index, check, 'control'],
      code: 'no-control',
      message: `the control \`${control.stream}\` is nowhere expected to be delivered there`,
      hint,
    },
  ]
}

/** A pod that nothing makes a member cannot get a multicast stream: most often a wrong role or group. */
export function checkDelivered(all: readonly Placed[], steps: readonly KnownStep[]): Trouble[] {
  return all.flatMap(({ expectation, index }) => {
    if (expectation.check !== 'delivered') return []
    const action = steps.find(({ id }) => id === expectation.want.stream)?.read.action
    if (action?.action !== 'send') return []
    const groups = groupsOfStream(action)
    if (groups.length === 0 || groups.every(isLinkLocal)) return []
    const able = mayReceive(steps, action)
    const strangers = expectation.want.to.filter(pod => !able.has(pod))
    if (strangers.length === 0) return []
    const to = groups.length === 1 ? formatIpv4(groups[0]!) : 'any of its groups'
    return [
      {
        path: ['expect', index, 'delivered', 'to'],
        code: 'never-joined',
        message: `nothing makes ${strangers.slice(0, 3).join(', ')} a member of the group of \`${expectation.want.stream}\` (${to})`,
        hint: 'add a join step, or is it another role or group?',
      },
    ]
  })
}
