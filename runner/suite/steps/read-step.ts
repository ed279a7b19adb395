import { int, leaf } from '../leaf.ts'
import type { Action } from '../plan-types.ts'

/** What the schema gives for a step; `plan.ts` adds line and bindings and decides about priming. */
export interface ReadStep {
  /** The key in the YAML: `igmp` and `send` are both the action `send`. */
  kind: StepKind
  id?: string
  action: Action
  /** `prime:` as written; absent means auto. */
  prime?: false | string[]
  /** Of `while:`, in the order of `action.meanwhile`. */
  inner: ReadStep[]
}

export const STEP_KINDS = [
  'join',
  'leave',
  'send',
  'igmp',
  'wait',
  'link',
  'kill',
  'revive',
  'group',
  'run',
  'stop',
  'snapshot',
  'agent',
  'exporter',
  'flush',
  'encryption',
  'xfrm',
  'sysctl',
  'replay',
] as const
export type StepKind = (typeof STEP_KINDS)[number]

export const stepId = () =>
  leaf({ type: 'string', pattern: ID.source }, (value, problem) =>
    typeof value === 'string' && ID.test(value)
      ? value
      : problem('bad-id', `not a step id: ${String(value)}`, 'a letter, then letters, digits, hyphens'),
  )
const ID = /^[a-zA-Z][\w-]{0,40}$/

export function readStep(kind: StepKind, id: string | undefined, action: Action): ReadStep {
  return { kind, ...(id === undefined ? {} : { id }), action, inner: [] }
}

const MAX_MS = 3_600_000
export const durationMs = () => int(1, MAX_MS, 'milliseconds')
