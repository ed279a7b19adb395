import type { z } from 'zod'
import type { FrameSpec } from '../../generators/frame-spec.ts'
import { amount } from './amount-schema.ts'
import type {
  Amount,
  Bound,
  CheckName,
  Control,
  CopyCount,
  ExpectationWants,
  Moment,
  Sanity,
  StreamWant,
  SubscriberWant,
  Window,
} from './expectations.ts'
import { flowSchemas } from './flow-schema.ts'
import { frameShape, igmpShape, ipv4Schema, takeGroupMac } from './frame-schema.ts'
import { UNDERLAY } from './header-schema.ts'
import { bool, found, int, type Json, type Leaf, leaf, list, mapping, oneOf, type Problem, text } from './leaf.ts'
import { metricsSchemas, pairOf } from './metrics-schema.ts'
import type { Names, References } from './names.ts'
import { interfaceName, pimShape } from './pim-schema.ts'
import type { Settings } from './plan-types.ts'
import { oneKey } from './step-schema.ts'
import { didYouMean } from './suggest.ts'

/** What expectations need to know of the steps before them. */
export interface StepFacts {
  /** Senders of a `send` step; undefined when there is no such step or it was not readable. */
  senders(stream: string): readonly string[] | undefined
  /** Pods that have joined the stream's groups when it starts, or why that cannot be told. */
  members(stream: string): { pods: readonly string[] } | { unclear: string }
  settings: Settings
}

/** An expectation as read: what is left to do is the control of an absence, see `controls.ts`. */
export type ReadExpectation = { [Name in CheckName]: { check: Name; want: Draft<Name> } }[CheckName]

/** `control` may still be missing: another expectation of the case will serve. */
export type Draft<Name extends CheckName> = Name extends 'not-delivered'
  ? Omit<ExpectationWants['not-delivered'], 'control'> & { control?: Control }
  : ExpectationWants[Name]

/** One item of `expect`. */
export function expectationList(
  names: Names,
  refs: References,
  facts: StepFacts,
): Leaf<(ReadExpectation | undefined)[]> {
  const schemas = expectationSchemas(names, refs, facts)
  const tagged = Object.fromEntries(
    Object.entries<() => z.ZodType>(schemas).map(([check, schema]) => [
      check,
      () => schema().transform((want: unknown) => ({ check, want })),
    ]),
  ) as unknown as Record<string, () => z.ZodType<ReadExpectation>>
  return list(oneKey(tagged, 'expectation'), 'expectations', { min: 1 })
}

const SENDS = ['send'] as const

/** The YAML form of each check, one schema for each key, bound to the names of a case. */
export function expectationSchemas(names: Names, refs: References, facts: StepFacts) {
  const window = { after: momentOf(refs).exactOptional(), before: momentOf(refs).exactOptional() }
  const stream = { stream: refs.step(SENDS), from: refs.endpoints.exactOptional(), ...window }
  const shapes: Shapes = { window, stream, fields: () => frameShape(refs) }
  return {
    ...deliverySchemas(refs, shapes, facts),
    replication: () => replicationSchema(names, refs, shapes, facts),
    encapsulated: () => encapsulatedSchema(names, refs, shapes, facts),
    membership: () => membershipSchema(names, refs),
    igmp: () => igmpSchema(refs, shapes),
    ...timeSchemas(refs, shapes, facts),
    drops: () => dropsSchema(refs),
    output: () => outputSchema(refs),
    pim: () => pimSchema(refs, shapes),
    ...flowSchemas(refs),
    ...metricsSchemas(refs),
    ...encryptionSchemas(names, refs, shapes, facts),
  } satisfies Record<CheckName, () => z.ZodType>
}

/** `report`, or `{ step: report, laterMs: 4100 }`. */
function momentOf(refs: References): Leaf<Moment> {
  const later = mapping({ step: refs.anyStep, laterMs: int(1, 3_600_000) })
  return leaf<Moment>(MOMENT_JSON, (value, problem) => {
    const read = (typeof value === 'object' && value !== null ? later : refs.anyStep).safeParse(value)
    if (read.success) return read.data
    for (const { message, path, ...issue } of read.error.issues) {
      const { code = 'bad-moment', hint = 'a step, or { step: ID, laterMs: N }' } =
        (issue as { params?: { code?: string; hint?: string } }).params ?? {}
      problem(code, message, hint, path)
    }
    return undefined
  })
}

const MOMENT_JSON: Record<string, Json> = {
  anyOf: [
    { type: 'string' },
    {
      type: 'object',
      properties: { step: { type: 'string' }, laterMs: { type: 'integer', minimum: 1 } },
      required: ['step', 'laterMs'],
      additionalProperties: false,
    },
  ],
}

interface Shapes {
  window: { after: z.ZodExactOptional<Leaf<Moment>>; before: z.ZodExactOptional<Leaf<Moment>> }
  stream: Shapes['window'] & { stream: Leaf<string>; from: z.ZodExactOptional<Leaf<string[]>> }
  fields: () => ReturnType<typeof frameShape>
}

type Context = { issues: { push(issue: object): void } }
type Mistake = (code: string, message: string, hint?: string, path?: PropertyKey[]) => void

/** Problems found only when several keys of one mapping are looked at together. */
function mistakes(context: unknown, input: unknown): Mistake {
  return (code, message, hint, path = []) =>
    (context as Context).issues.push({ code: 'custom', message, input, path, params: { code, hint } })
}

/** `from` must be senders of the stream, else an expectation about nobody would hold for ever. */
function checkFrom(want: StreamWant, facts: StepFacts, mistake: Mistake): void {
  const senders = facts.senders(want.stream)
  if (!senders || !want.from) return
  const strangers = want.from.filter(pod => !senders.includes(pod))
  if (strangers.length > 0)
    mistake(
      'not-a-sender',
      `${strangers.join(', ')} does not send \`${want.stream}\``,
      `it is sent by ${senders.join(', ')}`,
      ['from'],
    )
}

function split<T extends Partial<FrameSpec>>(given: T) {
  const { ethernet, vlan, ipv4, udp, igmp, esp, vxlan, inner, payload, ...rest } = given
  const layers = { ethernet, vlan, ipv4, udp, igmp, esp, vxlan, inner, payload }
  const spec = Object.fromEntries(Object.entries(layers).filter(([, value]) => value !== undefined)) as FrameSpec
  return { rest, fields: takeGroupMac(spec) }
}

function deliverySchemas(refs: References, { stream, fields }: Shapes, facts: StepFacts) {
  const control = () => mapping({ stream: refs.step(SENDS), to: refs.endpoints })
  return {
    delivered: () =>
      mapping({
        ...stream,
        to: refs.endpoints,
        frames: int(1, 100_000_000).exactOptional(),
        ...fields(),
      }).transform((given, context): Draft<'delivered'> => {
        checkFrom(given, facts, mistakes(context, given))
        const { rest, fields } = split(given)
        return { ...rest, ...fields }
      }),
    'not-delivered': () =>
      mapping({
        ...stream,
        to: refs.endpoints,
        control: control().exactOptional(),
        allowWeaker: bool().exactOptional(),
      }).transform((given, context): Draft<'not-delivered'> => {
        checkFrom(given, facts, mistakes(context, given))
        return { ...given, allowWeaker: (given.allowWeaker ?? true) && facts.settings.allowWeakerFence }
      }),
    duplicates: () =>
      mapping({ ...stream, at: refs.endpoints }).transform((given, context): Draft<'duplicates'> => {
        checkFrom(given, facts, mistakes(context, given))
        return given
      }),
    order: () =>
      mapping({ ...stream, at: refs.endpoints }).transform((given, context): Draft<'order'> => {
        checkFrom(given, facts, mistakes(context, given))
        return given
      }),
    content: () =>
      mapping({ ...stream, at: refs.endpoints, ...fields() }).transform((given, context): Draft<'content'> => {
        checkFrom(given, facts, mistakes(context, given))
        const { rest, fields } = split(given)
        return { ...rest, ...fields }
      }),
  }
}

const copies = () => int(0, 100_000, 'copies of each datagram')

function replicationSchema(names: Names, refs: References, { stream }: Shapes, facts: StepFacts) {
  const interfaces = keyed('an interface', name => interfaceName.safeParse(name), copies())
  const node = mapping({
    in: interfaces.exactOptional(),
    out: interfaces.exactOptional(),
    uplinkOut: copies().exactOptional(),
    uplinkIn: copies().exactOptional(),
    overlayOut: copies().exactOptional(),
    overlayIn: copies().exactOptional(),
  })
  const pods = keyed('a role', name => refs.endpoints.safeParse(name), copies())
  const nodes = keyed('a node', name => refs.node.safeParse(name), node)
  return mapping({
    ...stream,
    members: refs.endpoints
      .or(
        leaf<string[]>({ const: 'none' }, (value, problem) =>
          value === 'none' ? [] : problem('bad-members', 'expected endpoints, or none'),
        ),
      )
      .exactOptional(),
    pods: pods.exactOptional(),
    nodes: nodes.exactOptional(),
  }).transform((given, context): Draft<'replication'> => {
    const mistake = mistakes(context, given)
    checkFrom(given, facts, mistake)
    const { members, pods, nodes, ...want } = given
    const senders = want.from ?? facts.senders(want.stream) ?? []
    const listed = explicitCounts(pods, nodes)
    if (listed.length > 0 && members)
      mistake('bad-replication', 'members and counts exclude each other', 'members derives all counts', ['members'])
    if (listed.length > 0) return { ...want, senders: senders.map(pod => ({ pod, counts: listed })) }
    const derived = members ? { pods: members } : facts.members(want.stream)
    if ('unclear' in derived) {
      mistake(
        'unclear-members',
        `who are the members? ${derived.unclear}`,
        'members: [rx, …], or pods: and nodes: with exact counts',
        ['stream'],
      )
      return { ...want, senders: [] }
    }
    return { ...want, senders: senders.map(pod => ({ pod, counts: derivedCounts(names, pod, derived.pods) })) }
  })
}

interface Keyed<V> {
  keys: string[]
  value: V
}

/** A mapping whose keys are references; each key stands for the pods or the node that it names. */
function keyed<V>(
  what: string,
  resolve: (name: string) => z.ZodSafeParseResult<string[] | string>,
  item: z.ZodType<V>,
): Leaf<Keyed<V>[]> {
  return leaf<Keyed<V>[]>({ type: 'object' }, (value, problem) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return problem('wrong-type', `expected a mapping from ${what}, ${found(value)}`)
    const all: Keyed<V>[] = []
    for (const [name, inner] of Object.entries(value)) {
      const key = resolve(name)
      const result = item.safeParse(inner)
      if (!key.success) report(key.error, problem, [name])
      else if (result.success) all.push({ keys: [key.data].flat(), value: result.data })
      if (!result.success) report(result.error, problem, [name])
    }
    return all
  })
}

function report(error: z.ZodError, problem: Mistake, path: PropertyKey[]): void {
  for (const issue of error.issues) {
    const params = (issue as { params?: { code?: string; hint?: string } }).params
    const message =
      issue.code === 'unrecognized_keys'
        ? `unknown key ${issue.keys.map(key => `\`${key}\``).join(', ')}`
        : issue.message
    const hint = issue.code === 'unrecognized_keys' ? issue.message.split('\n')[0] : params?.hint
    problem(params?.code ?? 'unknown-key', message, hint, [...path, ...issue.path])
  }
}

interface NodeCounts {
  in?: Keyed<number>[]
  out?: Keyed<number>[]
  uplinkOut?: number
  uplinkIn?: number
  overlayOut?: number
  overlayIn?: number
}

function explicitCounts(pods: Keyed<number>[] = [], nodes: Keyed<NodeCounts>[] = []): CopyCount[] {
  const ofPods = pods.flatMap(({ keys, value }) => keys.map((pod): CopyCount => ({ place: 'pod', pod, copies: value })))
  const ofNodes = nodes.flatMap(({ keys, value }) => keys.flatMap(node => nodeCounts(node, value)))
  return [...ofPods, ...ofNodes]
}

function nodeCounts(node: string, counts: NodeCounts): CopyCount[] {
  const all: [CopyCount & { place: 'uplink' | 'overlay' }, number | undefined][] = [
    [{ place: 'uplink', node, direction: 'out', copies: 0 }, counts.uplinkOut],
    [{ place: 'uplink', node, direction: 'in', copies: 0 }, counts.uplinkIn],
    [{ place: 'overlay', node, direction: 'out', copies: 0 }, counts.overlayOut],
    [{ place: 'overlay', node, direction: 'in', copies: 0 }, counts.overlayIn],
  ]
  const ofInterfaces = (['in', 'out'] as const).flatMap(direction =>
    (counts[direction] ?? []).flatMap(({ keys, value }) =>
      keys.map((name): CopyCount => ({ place: 'interface', node, interface: name, direction, copies: value })),
    ),
  )
  return [...all.flatMap(([count, copies]) => (copies === undefined ? [] : [{ ...count, copies }])), ...ofInterfaces]
}

/**
 * One copy per member pod, none to any other pod of the case, none back to the sender; one tunnel packet to each remote
 * node with members, none sent on by it (ARCHITECTURE section 4; RFC 4541 §2.1.2).
 */
function derivedCounts(names: Names, sender: string, members: readonly string[]): CopyCount[] {
  const home = names.nodeOf(sender)
  const receivers = new Set(members.filter(pod => pod !== sender))
  const remote = new Set([...receivers].map(pod => names.nodeOf(pod)).filter(node => node !== home))
  const pods = [...new Set([...names.roles.values()].flat())].filter(pod => names.nodeOf(pod) !== UNDERLAY)
  const counts: CopyCount[] = pods.map(pod => ({ place: 'pod', pod, copies: receivers.has(pod) ? 1 : 0 }))
  for (const node of names.nodes) {
    const outgoing = node === home ? remote.size : 0
    const incoming = remote.has(node) ? 1 : 0
    counts.push(
      ...nodeCounts(node, { uplinkOut: outgoing, uplinkIn: incoming, overlayOut: outgoing, overlayIn: incoming }),
    )
  }
  return counts
}

function encapsulatedSchema(names: Names, refs: References, { stream }: Shapes, facts: StepFacts) {
  const { ethernet, vlan, ipv4, udp, vxlan } = frameShape(refs)
  return mapping({
    ...stream,
    fromNodes: refs.nodes.exactOptional(),
    toNodes: refs.nodes.exactOptional(),
    vni: int(0, 0xffffff).exactOptional(),
    udpPort: int(1, 65_535, 'a UDP port').exactOptional(),
    levels: int(1, 4).exactOptional(),
    outer: mapping({ ethernet, vlan, ipv4, udp, vxlan }).exactOptional(),
    innerDst: oneOf(['groupMac']).exactOptional(),
  }).transform((given, context): Draft<'encapsulated'> => {
    const mistake = mistakes(context, given)
    checkFrom(given, facts, mistake)
    const { outer, innerDst, levels, ...want } = given
    const senders = want.from ?? facts.senders(want.stream) ?? []
    const fromNodes = want.fromNodes ?? [...new Set(senders.map(pod => names.nodeOf(pod)))]
    const members = want.toNodes ? { pods: [] } : facts.members(want.stream)
    if ('unclear' in members)
      mistake('unclear-members', `to which nodes? ${members.unclear}`, 'toNodes: [n2, n3]', ['stream'])
    const pods = 'unclear' in members ? [] : members.pods
    const toNodes = want.toNodes ?? [...new Set(pods.map(pod => names.nodeOf(pod)))]
    const alone = fromNodes.every(from => toNodes.every(node => node === from))
    if (alone && !('unclear' in members))
      mistake(
        'no-remote-member',
        'no other node has a member of this stream',
        'toNodes: [n2], or a member on another node',
        ['stream'],
      )
    return {
      ...want,
      fromNodes,
      toNodes,
      levels: levels ?? 1,
      ...(outer ? { outer: outer as FrameSpec } : {}),
      ...(innerDst ? { groupMac: true as const } : {}),
    }
  })
}

function encryptionSchemas(names: Names, refs: References, { window, stream }: Shapes, facts: StepFacts) {
  const optionalStream = { ...stream, stream: refs.step(SENDS).exactOptional() }
  const sends = refs.step(SENDS)
  const between = mapping(window)
  const sanity = leaf<Sanity>({ anyOf: [{ type: 'string' }, { type: 'object' }] }, (value, problem) => {
    if (value === undefined)
      return problem(
        'missing-key',
        'expected when encryption was off',
        'sanity: the send step that ran before `encryption: on`',
      )
    const read = (typeof value === 'string' ? sends : between).safeParse(value)
    if (!read.success) return void report(read.error, problem, [])
    return typeof read.data === 'string' ? { stream: read.data } : read.data
  })
  const toNodes = leaf<string[]>({ anyOf: [{ type: 'string' }, { type: 'array' }] }, (value, problem) => {
    const read = value === 'none' ? undefined : refs.nodes.safeParse(value)
    if (read === undefined) return []
    return read.success ? read.data : void report(read.error, problem, [])
  })
  const spi = leaf<number[]>({ anyOf: [{ type: 'integer' }, { type: 'array' }] }, (value, problem) => {
    const all: unknown[] = Array.isArray(value) ? value : [value]
    const good = (one: unknown): one is number => Number.isInteger(one) && Number(one) > 0 && Number(one) <= 0xffff_ffff
    if (all.length > 0 && all.every(good)) return all
    return problem(
      'bad-spi',
      `expected an SPI or a list of some, ${found(value)}`,
      'spi: 3, or spi: [3, 4] around a rotation',
    )
  })
  const senderNodes = (want: { stream?: string; from?: string[] }) => {
    const senders = want.from ?? (want.stream === undefined ? undefined : facts.senders(want.stream)) ?? []
    return [...new Set(senders.map(pod => names.nodeOf(pod)))]
  }
  const check = (want: Partial<StreamWant> & Window, mistake: Mistake) => {
    if (want.stream !== undefined) checkFrom({ ...want, stream: want.stream }, facts, mistake)
    else if (want.from)
      mistake('no-stream', '`from` says which senders of a stream, and there is no `stream`', undefined, ['from'])
  }
  return {
    encrypted: () =>
      mapping({ ...optionalStream, nodes: refs.nodes.exactOptional(), sanity }).transform(
        (given, context): Draft<'encrypted'> => {
          const mistake = mistakes(context, given)
          check(given, mistake)
          const nodes = given.nodes ?? senderNodes(given)
          if (nodes.length === 0 && given.stream === undefined)
            mistake('no-nodes', 'which nodes? there is no stream that says so', 'nodes: [n1]')
          return { ...given, nodes }
        },
      ),
    esp: () =>
      mapping({
        ...optionalStream,
        fromNodes: refs.nodes.exactOptional(),
        toNodes: toNodes.exactOptional(),
        spi,
        keys: oneOf(['pair', 'any']).exactOptional(),
        layer: oneOf(['overlay', 'pod']).exactOptional(),
        atLeast: int(1, 1_000_000_000, 'packets').exactOptional(),
      }).transform((given, context): Draft<'esp'> => {
        const mistake = mistakes(context, given)
        check(given, mistake)
        const { keys = 'pair', layer = 'overlay' } = given
        const fromNodes = given.fromNodes ?? senderNodes(given)
        if (given.stream === undefined && (fromNodes.length === 0 || !given.toNodes))
          mistake(
            'no-nodes',
            'from which nodes to which? there is no stream that says so',
            'fromNodes: [n1], toNodes: [n2]',
          )
        if (given.stream !== undefined && given.atLeast !== undefined)
          mistake('bad-esp', 'a stream says how many packets there are', 'without `atLeast`', ['atLeast'])
        return {
          ...given,
          keys,
          layer,
          fromNodes,
          toNodes: given.toNodes ?? memberNodes(names, given.stream, facts, mistake),
        }
      }),
    xfrm: () => {
      const snapshot = refs.step(['snapshot'])
      const errors = leaf<Record<string, Amount>>({ type: 'object' }, (value, problem) => readCounters(value, problem))
      return mapping({
        nodes: refs.nodes.exactOptional(),
        after: snapshot.exactOptional(),
        before: snapshot.exactOptional(),
        errors: errors.exactOptional(),
      }).transform(
        (given): Draft<'xfrm'> => ({ ...given, nodes: given.nodes ?? [...names.nodes], errors: given.errors ?? {} }),
      )
    },
  }
}

/** Nodes with members of the stream. */
function memberNodes(names: Names, stream: string | undefined, facts: StepFacts, mistake: Mistake): string[] {
  if (stream === undefined) return []
  const members = facts.members(stream)
  if ('pods' in members) return [...new Set(members.pods.map(pod => names.nodeOf(pod)))]
  mistake('unclear-members', `to which nodes? ${members.unclear}`, 'toNodes: [n2, n3], or toNodes: none', ['stream'])
  return []
}

/** Names as /proc/net/xfrm_stat has them. */
function readCounters(value: unknown, problem: Problem): Record<string, Amount> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return problem('wrong-type', `expected counters and amounts, ${found(value)}`, 'errors: { XfrmInStateSeqError: 1 }')
  const read: Record<string, Amount> = {}
  for (const [name, inner] of Object.entries(value)) {
    if (!/^Xfrm\w+$/.test(name))
      problem(
        'bad-counter',
        `\`${name}\` is no counter of XFRM`,
        'as /proc/net/xfrm_stat names them: XfrmInStateSeqError',
        [name],
      )
    const result = amount.safeParse(inner)
    if (result.success) read[name] = result.data
    else report(result.error, problem, [name])
  }
  return read
}

function membershipSchema(names: Names, refs: References) {
  const detailed = mapping({
    pod: refs.endpoints.exactOptional(),
    node: refs.node.exactOptional(),
    mode: oneOf(['include', 'exclude']).exactOptional(),
    sources: refs.addresses.exactOptional(),
  })
  const subscriber = leaf<SubscriberWant[]>(
    { anyOf: [{ type: 'string' }, { type: 'object', properties: { pod: {}, node: {}, mode: {}, sources: {} } }] },
    (value, problem) => {
      if (typeof value === 'string') {
        if (names.nodes.includes(value) && !names.roles.has(value)) return [{ node: value }]
        const pods = refs.endpoints.safeParse(value)
        if (pods.success) return pods.data.map(pod => ({ pod }))
        return problem(
          'unknown-subscriber',
          `\`${value}\` is neither a role nor a node`,
          didYouMean(value, [...names.roles.keys(), ...names.nodes]),
        )
      }
      const result = detailed.safeParse(value)
      if (!result.success) {
        report(result.error, problem, [])
        return undefined
      }
      const { pod, node, ...filter } = result.data
      if ((pod === undefined) === (node === undefined))
        return problem('bad-subscriber', 'a subscriber is a pod or a node', '{ pod: rx } or { node: n2 }')
      return node === undefined ? pod!.map(each => ({ pod: each, ...filter })) : [{ node, ...filter }]
    },
  )
  return mapping({
    step: refs.step(['snapshot']),
    node: refs.node,
    group: refs.group,
    subscribers: list(subscriber, 'subscribers'),
  }).transform(({ subscribers, ...want }): Draft<'membership'> => ({ ...want, subscribers: subscribers.flat() }))
}

function allowsNone(count: Amount): boolean {
  return typeof count === 'number' ? count === 0 : (count.atLeast ?? 0) === 0
}

function igmpSchema(refs: References, { window }: Shapes) {
  const { ethernet } = frameShape(refs)
  return mapping({
    ...window,
    endpoint: refs.endpoints,
    direction: oneOf(['in', 'out']),
    version: oneOf([1, 2, 3]).exactOptional(),
    ...igmpShape(refs),
    ipv4: ipv4Schema(refs).exactOptional(),
    ethernet,
    count: amount.exactOptional(),
    control: mapping({ stream: refs.step(SENDS), to: refs.endpoints }).exactOptional(),
  }).transform((given): Draft<'igmp'> => {
    const { endpoint, direction, version, ipv4, ethernet, count, control, after, before, ...igmp } = given
    const optional = { after, before, version, control }
    const taken = takeGroupMac(ethernet ? { ethernet } : {})
    return {
      ...(Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)) as object),
      pods: endpoint,
      direction,
      igmp: igmp as Draft<'igmp'>['igmp'],
      ...(ipv4 ? { ipv4 } : {}),
      ...(taken.fields?.ethernet ? { ethernet: taken.fields.ethernet } : {}),
      ...(taken.groupMac ? { groupMac: true as const } : {}),
      count: count ?? { atLeast: 1 },
    }
  })
}

/** Whether this expectation is (also) about something that must not have been seen, and so needs a control. */
export function needsControl(expectation: ReadExpectation): boolean {
  if (expectation.check === 'not-delivered') return true
  return expectation.check === 'igmp' && allowsNone(expectation.want.count)
}

function timeSchemas(refs: References, { stream }: Shapes, facts: StepFacts) {
  const maxMs = leaf<number>({ type: 'number', exclusiveMinimum: 0 }, (value, problem) =>
    typeof value === 'number' && value > 0 && value <= 3_600_000
      ? value
      : problem('out-of-range', `expected milliseconds above 0, ${found(value)}`, 'maxMs: 0.5'),
  ).exactOptional()
  const bound = (given: number | undefined, byProfile: number | undefined): Bound => {
    const limit = given ?? byProfile
    return { ...(limit === undefined ? {} : { maxMs: limit }), enforced: facts.settings.timing.enforced }
  }
  const delay = (kinds: readonly string[]) =>
    mapping({
      stream: refs.step(SENDS),
      from: refs.endpoints.exactOptional(),
      to: refs.endpoints,
      step: refs.step(kinds),
      maxMs,
    })
  return {
    latency: () =>
      mapping({ ...stream, to: refs.endpoints, maxMs }).transform((given, context): Draft<'latency'> => {
        checkFrom(given, facts, mistakes(context, given))
        return { ...given, ...bound(given.maxMs, facts.settings.timing.latencyMs) }
      }),
    'join-delay': () =>
      delay(['join', 'igmp', 'run', 'group', 'link']).transform((given, context): Draft<'join-delay'> => {
        checkFrom(given, facts, mistakes(context, given))
        return { ...given, ...bound(given.maxMs, facts.settings.timing.joinDelayMs) }
      }),
    'leave-delay': () =>
      delay(['leave', 'igmp', 'stop', 'kill', 'group', 'link']).transform((given, context): Draft<'leave-delay'> => {
        checkFrom(given, facts, mistakes(context, given))
        return { ...given, ...bound(given.maxMs, facts.settings.timing.leaveDelayMs) }
      }),
  }
}

function dropsSchema(refs: References) {
  const snapshot = refs.step(['snapshot'])
  const pair = list(snapshot, 'two snapshots')
  return mapping({
    between: pair,
    node: refs.node,
    reasons: leaf<Record<string, Amount>>({ type: 'object', minProperties: 1 }, (value, problem) => {
      const names = typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : []
      if (names.length === 0)
        return problem(
          'wrong-type',
          `expected drop reasons and amounts, ${found(value)}`,
          'reasons: { bad-checksum: 1 }',
        )
      const reasons: Record<string, Amount> = {}
      for (const [name, inner] of names) {
        const result = amount.safeParse(inner)
        if (result.success) reasons[name] = result.data
        else report(result.error, problem, [name])
      }
      return reasons
    }),
  }).transform(
    ({ between, ...want }, context): Draft<'drops'> => ({ ...want, between: pairOf(between, context as never) }),
  )
}

function pimSchema(refs: References, { window }: Shapes) {
  const { ethernet } = frameShape(refs)
  return mapping({
    ...window,
    node: refs.node,
    interface: interfaceName,
    direction: oneOf(['in', 'out']),
    ...pimShape(refs),
    count: amount.exactOptional(),
    ipv4: ipv4Schema(refs).exactOptional(),
    ethernet,
    holdtimeS: amount.exactOptional(),
    upstream: refs.address.exactOptional(),
    rp: refs.address.exactOptional(),
  }).transform(({ count, ...given }) => ({ ...given, count: count ?? { atLeast: 1 } }) as Draft<'pim'>)
}

function outputSchema(refs: References) {
  return mapping({
    program: refs.step(['run']),
    source: oneOf(['stdout', 'stderr']).exactOptional(),
    contains: text().exactOptional(),
    equals: list(text('a line'), 'lines').exactOptional(),
    count: amount.exactOptional(),
    exitCode: int(0, 255).exactOptional(),
  }).transform((given, context): Draft<'output'> => {
    const { program, source, ...want } = given
    const wanted = ['contains', 'equals', 'count', 'exitCode'].some(key => key in given)
    if (!wanted)
      mistakes(context, given)('empty-output', 'says nothing about the output', 'contains, equals, count or exitCode')
    return { step: program, source: source ?? 'stdout', ...want }
  })
}
