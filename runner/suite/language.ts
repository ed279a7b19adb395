import type { z } from 'zod'
import { expectationList } from './expect/expectation-list.ts'
import type { ReadExpectation, StepFacts } from './expect/read-expectation.ts'
import type { Leaf } from './leaf.ts'
import { type Names, references } from './names.ts'
import type { ReadStep } from './steps/read-step.ts'
import { stepList } from './steps/step-list.ts'

/** What a list came to, item by item; undefined where `when` leaves one out or it has mistakes. */
export interface ReadList<T> {
  items: (T | undefined)[]
  error?: z.ZodError
}

/**
 * The schemas of steps and expectations, made once for many cases: making them costs more than reading a case. The
 * names they refer to are those of the case being read; reading is synchronous, so there is one at a time.
 */
export class Language {
  private names: Names = {
    roles: new Map(),
    nodes: [],
    nodeOf: pod => pod,
    groups: new Map(),
    steps: new Map(),
    port: 0,
  }
  private facts: StepFacts = NO_FACTS
  private readonly steps: Leaf<(ReadStep | undefined)[]>
  private readonly expectations: Leaf<(ReadExpectation | undefined)[]>

  constructor() {
    const names = current(() => this.names)
    const refs = references(names)
    this.steps = stepList(names, refs)
    this.expectations = expectationList(names, refs, {
      senders: stream => this.facts.senders(stream),
      members: stream => this.facts.members(stream),
      get settings() {
        return facts().settings
      },
    })
    const facts = () => this.facts
  }

  readSteps(value: unknown, names: Names): ReadList<ReadStep> {
    this.names = names
    return readList(this.steps, value)
  }

  readExpectations(value: unknown, names: Names, facts: StepFacts): ReadList<ReadExpectation> {
    this.names = names
    this.facts = facts
    return readList(this.expectations, value)
  }

  /** For the JSON Schema, which knows no names. */
  schemas(): { steps: z.ZodType; expect: z.ZodType } {
    return { steps: this.steps, expect: this.expectations }
  }
}

const NO_FACTS: StepFacts = {
  senders: () => [],
  members: () => ({ pods: [] }),
  settings: { policy: {}, timing: { enforced: false }, allowWeakerFence: true },
}

/** Names that are looked up anew each time. */
function current(now: () => Names): Names {
  return {
    get roles() {
      return now().roles
    },
    get nodes() {
      return now().nodes
    },
    get groups() {
      return now().groups
    },
    get steps() {
      return now().steps
    },
    get port() {
      return now().port
    },
    nodeOf: pod => now().nodeOf(pod),
  }
}

/** All of a list, or what can be read of it when a part has mistakes. */
function readList<T>(schema: Leaf<(T | undefined)[]>, value: unknown): ReadList<T> {
  const whole = schema.safeParse(value)
  if (whole.success) return { items: whole.data }
  const items = Array.isArray(value) ? value : []
  return { items: items.map((item: unknown) => schema.safeParse([item]).data?.[0]), error: whole.error }
}
