import { z } from 'zod'
import type { FrameSpec } from '../../../generators/frame-spec.ts'
import { frameShape } from '../frame-schema.ts'
import { int, type Leaf, leaf, mapping, oneOf, text } from '../leaf.ts'
import { choiceError, parsed } from '../mistakes.ts'
import type { Names, References } from '../names.ts'
import { interfaceName, pimShape } from '../pim-schema.ts'
import type { Action } from '../plan-types.ts'
import { durationMs, type ReadStep, readStep, stepId } from './read-step.ts'

const DEFAULT_WAIT_MS = 5000

export function waitSchema(names: Names, refs: References) {
  const common = { id: stepId().exactOptional(), timeoutMs: durationMs().exactOptional() }
  const probe = {
    from: refs.endpoint,
    group: refs.group,
    port: int(1, 65_535, 'a UDP port').exactOptional(),
    to: refs.endpoints,
  }
  const table = { node: refs.nodes, group: refs.group, subscriber: subscriber(names, refs) }
  const kind = <const K extends string>(until: K) => z.literal(until)
  return z
    .discriminatedUnion(
      'until',
      [
        mapping({ until: kind('delivered'), ...common, ...probe }),
        mapping({ until: kind('stopped'), ...common, ...probe }),
        mapping({ until: kind('subscribed'), ...common, ...table }),
        mapping({ until: kind('unsubscribed'), ...common, ...table }),
        mapping({
          until: kind('output'),
          ...common,
          program: refs.step(['run']),
          contains: text(),
          count: int(1, 1_000_000).exactOptional(),
        }),
        mapping({
          until: kind('frame'),
          ...common,
          endpoint: refs.endpoint,
          direction: oneOf(['in', 'out']),
          match: frameMatch(refs),
          count: int(1, 1_000_000).exactOptional(),
        }),
        mapping({
          until: kind('pim'),
          ...common,
          node: refs.node,
          interface: interfaceName,
          direction: oneOf(['in', 'out']),
          ...pimShape(refs),
          count: int(1, 1_000_000).exactOptional(),
        }),
        mapping({ until: kind('sent'), ...common, stream: refs.step(['send']), frames: int(1, 100_000_000) }),
      ],
      { error: issue => choiceError('until', WAITS, issue.input) },
    )
    .transform((wait): ReadStep => {
      const timeoutMs = wait.timeoutMs ?? DEFAULT_WAIT_MS
      return readStep('wait', wait.id, {
        action: 'wait',
        until: conditionOf(wait as unknown as WaitGiven, names),
        timeoutMs,
      })
    })
}

const WAITS = ['delivered', 'stopped', 'subscribed', 'unsubscribed', 'output', 'pim', 'frame', 'sent']

type Condition = Extract<Action, { action: 'wait' }>['until']
interface WaitGiven {
  until: Condition['until']
  [key: string]: unknown
}

function conditionOf({ id: _, timeoutMs: __, endpoint, node, ...wait }: WaitGiven, names: Names): Condition {
  const more: Record<string, unknown> = {}
  if (wait.until === 'delivered' || wait.until === 'stopped') more['port'] = wait['port'] ?? names.port
  if (['output', 'frame', 'pim'].includes(wait.until)) more['count'] = wait['count'] ?? 1
  if (endpoint !== undefined) more['pod'] = endpoint
  if (Array.isArray(node)) Object.assign(more, { node: node[0], ...(node.length > 1 ? { nodes: node } : {}) })
  else if (node !== undefined) more['node'] = node
  return { ...wait, ...more } as unknown as Condition
}

function frameMatch(refs: References): Leaf<FrameSpec> {
  return mapping(frameShape(refs), 'layers to match') as unknown as Leaf<FrameSpec>
}

/** A role (its pod) or a node. */
function subscriber(names: Names, refs: References): Leaf<{ pod: string } | { node: string }> {
  return leaf<{ pod: string } | { node: string }>({ type: 'string' }, (value, problem) => {
    if (typeof value === 'string' && names.nodes.includes(value) && !names.roles.has(value)) return { node: value }
    const pod = parsed(refs.endpoint, value, problem)
    return pod === undefined ? undefined : { pod }
  })
}
