import { formatIpv4 } from '../../generators/wire/address.ts'
import type { RequirementRef } from '../../reports/result.ts'
import { addControls, checkDelivered, type Placed, type Trouble } from './controls.ts'
import type { Draft } from './draft.ts'
import { UserError } from './errors.ts'
import type { ReadExpectation } from './expect/read-expectation.ts'
import type { ExpectationWants } from './expectations.ts'
import { hasGroupMac } from './frame-schema.ts'
import type { Lease } from './groups.ts'
import type { TopologyGiven } from './header-schema.ts'
import { userErrors } from './issues.ts'
import type { Language, ReadList } from './language.ts'
import { takeLate } from './late.ts'
import { substitute } from './matrix.ts'
import type { Names } from './names.ts'
import type { Action, PlannedCase, PlannedExpectation, PlannedStep, Settings } from './plan-types.ts'
import type { Place } from './pools.ts'
import { addPriming } from './priming.ts'
import { PROGRAM_NAMES, PROGRAMS } from './programs.ts'
import { flatSteps, type SeenStep, scanSteps } from './scan.ts'
import type { ReadStep } from './steps/read-step.ts'
import { type KnownStep, stepFacts } from './streams.ts'

/** Where a case runs and what it was given. */
export interface Setting {
  place: Place
  lease: Lease
  settings: Settings
  requirements: ReadonlyMap<string, RequirementRef>
  language: Language
}

/** A case with numbers for names, and the mistakes in its steps and expectations. */
export function planCase(draft: Draft, setting: Setting): { planned: PlannedCase; errors: UserError[] } {
  const body = new Body(draft, setting)
  return { planned: body.planned(), errors: body.errors }
}

/** Reads `steps`, then `expect`, each with what is known by then. */
class Body {
  readonly errors: UserError[] = []
  private readonly draft: Draft
  private readonly setting: Setting
  private readonly value: Record<string, unknown>
  private readonly seen: SeenStep[]
  private readonly names: Names

  constructor(draft: Draft, setting: Setting) {
    this.draft = draft
    this.setting = setting
    this.value = substitute(draft.value, { port: setting.lease.port }) as Record<string, unknown>
    this.seen = scanSteps(this.value['steps'])
    const all = flatSteps(this.seen)
    this.names = {
      roles: setting.place.roles,
      nodes: draft.header.topology.nodes,
      nodeOf: pod => setting.place.topology.pods.find(each => each.name === pod)?.node ?? pod.replace(/-\d+$/, ''),
      groups: setting.lease.groups,
      steps: new Map(all.map(step => [step.id, step.kind])),
      port: setting.lease.port,
    }
    this.checkIds(all)
  }

  planned(): PlannedCase {
    const { draft, setting } = this
    const steps = this.read('steps', value => setting.language.readSteps(value, this.names))
    const known = this.known(this.seen, steps)
    const facts = stepFacts(known, setting.settings)
    const read = this.read('expect', value => setting.language.readExpectations(value, this.names, facts))
    const expectations = read.flatMap((expectation, index) => (expectation ? [{ expectation, index }] : []))
    const trouble = [
      ...misplacedGroupMac(known, expectations),
      ...deadPods(known),
      ...(this.draft.header.topology.encryption ? [] : nothingToEncrypt(known)),
      ...(this.draft.header.topology.metrics ? [] : nothingToRead(expectations)),
      ...checkDelivered(expectations, known),
      ...addControls(expectations, facts),
      ...addPriming(expectations, known),
    ]
    // After a mistake in a step, what refers to it may look wrong and not be.
    if (this.errors.length === 0) {
      for (const { path, code, message, hint } of trouble) this.fail(code, message, hint, path)
      this.errors.push(...draft.doubts)
    }
    return {
      id: draft.id,
      file: draft.source.file,
      line: draft.source.atKey(['suite']).line,
      title: draft.header.title,
      covers: draft.header.covers.flatMap(id => setting.requirements.get(id) ?? []),
      level: draft.header.level,
      needs: [...new Set([...draft.header.needs, ...neededBy(known), ...needsOf(draft.header.topology)])].sort(),
      params: Object.fromEntries(
        Object.entries(draft.row.params).map(([name, value]) => [
          name,
          typeof value === 'string' ? value : JSON.stringify(value),
        ]),
      ),
      exclusive: draft.header.exclusive || known.some(({ read }) => ALONE.has(read.kind)),
      endpoints: Object.fromEntries(setting.place.roles),
      groups: this.groups(),
      port: setting.lease.port,
      steps: this.plannedSteps(
        this.seen,
        steps.filter(step => step !== undefined),
      ),
      expect: expectations.map(each => this.plannedExpectation(each)),
    }
  }

  private fail(code: string, message: string, hint: string | undefined, path: readonly PropertyKey[]): void {
    this.errors.push(
      new UserError(code, message, { position: this.draft.source.at(path), ...(hint === undefined ? {} : { hint }) }),
    )
  }

  private checkIds(all: readonly SeenStep[]): void {
    const first = new Map<string, SeenStep>()
    for (const step of all) {
      const before = first.get(step.id)
      first.set(step.id, before ?? step)
      if (before && (before.given || step.given)) {
        const line = this.draft.source.at(before.path).line
        this.fail('twice', `two steps have the id \`${step.id}\``, `the other is on line ${line}`, [...step.path, 'id'])
      }
    }
  }

  /** Reports what is wrong with a list and gives the rest. */
  private read<T>(key: 'steps' | 'expect', read: (value: unknown) => ReadList<T>): (T | undefined)[] {
    const { source } = this.draft
    const value = this.value[key]
    if (value === undefined) {
      const hint = `a list: ${key}:`
      this.errors.push(new UserError('missing-key', `\`${key}\` is missing`, { position: source.atKey([]), hint }))
      return []
    }
    const { items, error } = read(value)
    if (error) this.errors.push(...userErrors(error, source, [key]))
    return items
  }

  /** Pairs what was seen with what was read, parents before the steps inside them. */
  private known(seen: readonly SeenStep[], read: readonly (ReadStep | undefined)[]): KnownStep[] {
    return seen.flatMap((step, i) => {
      const mine = read[indexOf(step)] ?? read[i]
      if (!mine || mine.kind !== step.kind) return []
      return [{ id: step.id, path: step.path, read: mine }, ...this.known(step.inner, mine.inner)]
    })
  }

  private plannedSteps(seen: readonly SeenStep[], read: readonly ReadStep[]): PlannedStep[] {
    return read.flatMap((step, i) => {
      const place = seen[i]
      if (!place) return []
      const { value, bind } = takeLate(step.action)
      const action: Action =
        value.action === 'send' ? { ...value, meanwhile: this.plannedSteps(place.inner, step.inner) } : value
      const { line } = this.draft.source.at(place.path)
      return [{ id: place.id, line, ...(bind.length > 0 ? { bind } : {}), ...action }]
    })
  }

  private plannedExpectation({
    expectation,
    index,
  }: {
    expectation: ReadExpectation
    index: number
  }): PlannedExpectation {
    const { value, bind } = takeLate(expectation.want)
    const { line } = this.draft.source.at(['expect', index])
    const want = value as ExpectationWants[typeof expectation.check]
    return { check: expectation.check, line, want, ...(bind.length > 0 ? { bind } : {}) }
  }

  private groups(): PlannedCase['groups'] {
    const { groups, literals } = this.draft
    const leased = [...groups].flatMap(([name, given]) => {
      const addresses = this.setting.lease.groups.get(name) ?? []
      return addresses.map((address, i) => ({
        name: addresses.length > 1 ? `$${name}.${i}` : `$${name}`,
        address,
        enabled: given.enabled,
      }))
    })
    const declared = new Set(leased.map(({ address }) => address))
    const bare = literals.filter(address => !declared.has(address))
    return [...leased, ...bare.map(address => ({ name: formatIpv4(address), address, enabled: true }))]
  }
}

/** Expectations take `groupMac` from the frame itself; deeper inside, and in what is sent or waited for, it means nothing. */
function misplacedGroupMac(steps: readonly KnownStep[], expectations: readonly Placed[]): Trouble[] {
  const places = [
    ...steps.map(({ path, read }) => ({ path: [...path], value: read.action as object })),
    ...expectations.map(({ expectation, index }) => ({ path: ['expect', index], value: expectation.want as object })),
  ]
  return places
    .filter(({ value }) => hasGroupMac(value))
    .map(({ path }) => ({
      path,
      code: 'misplaced-group-mac',
      message: '`dst: groupMac` stands where it cannot be looked at',
      hint: 'in `ethernet` of delivered, content or igmp; for tunnels, innerDst: groupMac of encapsulated',
    }))
}

/** A pod that was killed can do nothing until it is revived. */
function deadPods(steps: readonly KnownStep[]): Trouble[] {
  const killedBy = new Map<string, string>()
  return steps.flatMap(({ id, path, read: { action } }) => {
    if (action.action === 'revive') for (const pod of action.pods) killedBy.delete(pod)
    const dead = podsOf(action).find(pod => killedBy.has(pod))
    if (action.action === 'kill') for (const pod of action.pods) killedBy.set(pod, id)
    if (dead === undefined) return []
    const message = `${dead} was killed by step \`${killedBy.get(dead)}\` and can do nothing here`
    return [
      { path: [...path], code: 'dead-pod', message, hint: 'revive: { endpoint: … } before it, or another endpoint' },
    ]
  })
}

const OF_ENCRYPTION: ReadonlySet<string> = new Set(['encryption', 'xfrm', 'replay'])

function nothingToEncrypt(steps: readonly KnownStep[]): Trouble[] {
  return steps
    .filter(({ read }) => OF_ENCRYPTION.has(read.kind))
    .map(({ path, read }) => ({
      path: [...path],
      code: 'no-encryption',
      message: `a step \`${read.kind}\` where nothing is encrypted`,
      hint: 'topology: { encryption: overlay-in-esp, … }',
    }))
}

function nothingToRead(expectations: readonly Placed[]): Trouble[] {
  return expectations
    .filter(({ expectation: { check } }) => check === 'metrics' || check === 'node-metrics')
    .map(({ expectation: { check }, index }) => ({
      path: ['expect', index, check],
      code: 'no-metrics',
      message: `\`${check}\` where no agent serves metrics`,
      hint: 'topology: { metrics: true, … }',
    }))
}

/** Needs that follow from the topology. */
function needsOf({ encryption, metrics }: TopologyGiven): string[] {
  return [...(encryption ? ['esp'] : []), ...(metrics ? ['metrics'] : [])]
}

/** Who has to be there for a step. */
function podsOf(action: Action): readonly string[] {
  switch (action.action) {
    case 'join':
    case 'leave':
    case 'send':
    case 'kill':
      return action.pods
    case 'run':
      return [action.pod]
    case 'link':
      return action.pod === undefined ? [] : [action.pod]
    default:
      return []
  }
}

/** Steps after which nothing else in the stage is sure of its ground. */
const ALONE: ReadonlySet<string> = new Set([
  'kill',
  'revive',
  'link',
  'agent',
  'exporter',
  'encryption',
  'xfrm',
  'sysctl',
  'replay',
])

function indexOf(step: SeenStep): number {
  return Number(step.path.at(-2))
}

/** Needs that follow from the steps themselves. */
function neededBy(steps: readonly KnownStep[]): string[] {
  return steps.flatMap(({ read: { action } }) => {
    switch (action.action) {
      case 'run': {
        const program = PROGRAM_NAMES.find(name => name === action.program)
        return program === undefined ? [] : [PROGRAMS[program].needs]
      }
      case 'snapshot':
        return []
      case 'group':
        return ['group-control']
      case 'link':
        return ['link-control']
      case 'kill':
      case 'revive':
        return ['pod-control']
      case 'agent':
        return ['agent-control']
      default:
        return []
    }
  })
}
