import { z } from 'zod'
import type { FrameSpec, IgmpFields } from '../../generators/frame-spec.ts'
import type { FrameLengths, StreamSpec } from '../../generators/stream-spec.ts'
import { IGMP_TYPE } from '../../generators/wire/igmp.ts'
import { exporterOf, exporterShape } from './exporter-schema.ts'
import { frameShape, igmpShape, ipv4Schema, takeGroupMac } from './frame-schema.ts'
import { bool, hexText, int, type Leaf, leaf, list, mapping, oneOf, text } from './leaf.ts'
import { LateAddress, type Names, type References } from './names.ts'
import { interfaceName, pimShape } from './pim-schema.ts'
import { type Action, ALTERATIONS, ENCRYPTION_DOES, SYSCTLS } from './plan-types.ts'
import { PROGRAM_NAMES, PROGRAMS } from './programs.ts'
import { didYouMean } from './suggest.ts'

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

const id = () =>
  leaf({ type: 'string', pattern: ID.source }, (value, problem) =>
    typeof value === 'string' && ID.test(value)
      ? value
      : problem('bad-id', `not a step id: ${String(value)}`, 'a letter, then letters, digits, hyphens'),
  )
const ID = /^[a-zA-Z][\w-]{0,40}$/

const MAX_MS = 3_600_000
const durationMs = () => int(1, MAX_MS, 'milliseconds')

/** IMIX simple: lengths on the wire with FCS 64, 594 (570 plus headers) and 1518 in the ratio 7:4:1; here without FCS. */
export const IMIX_SIMPLE = [
  { bytes: 60, weight: 7 },
  { bytes: 590, weight: 4 },
  { bytes: 1514, weight: 1 },
]

/** One schema for each kind of step, bound to the names of a case and made when first needed. */
export function stepSchemas(names: Names, refs: References) {
  return {
    join: () => joinSchema(refs),
    leave: () => leaveSchema(refs),
    send: () => sendSchema(names, refs),
    igmp: () => igmpStepSchema(refs),
    wait: () => waitSchema(names, refs),
    link: () => linkSchema(refs),
    kill: () =>
      mapping({ id: id().exactOptional(), endpoint: refs.endpoints }).transform(
        ({ id, endpoint }): ReadStep => read('kill', id, { action: 'kill', pods: endpoint }),
      ),
    revive: () =>
      mapping({ id: id().exactOptional(), endpoint: refs.endpoints }).transform(
        ({ id, endpoint }): ReadStep => read('revive', id, { action: 'revive', pods: endpoint }),
      ),
    group: () => groupSchema(names, refs),
    run: () => runSchema(refs),
    stop: () =>
      mapping({ id: id().exactOptional(), program: refs.step(['run']) }).transform(
        ({ id, program }): ReadStep => read('stop', id, { action: 'stop', program }),
      ),
    snapshot: () => mapping({ id: id() }).transform(({ id }): ReadStep => read('snapshot', id, { action: 'snapshot' })),
    exporter: () =>
      mapping({ id: id(), ...exporterShape(refs) }).transform(
        ({ id, node, ...given }): ReadStep =>
          read('exporter', id, {
            action: 'exporter',
            node,
            config: exporterOf(given as Parameters<typeof exporterOf>[0]),
          }),
      ),
    flush: () =>
      mapping({ id: id().exactOptional(), exporter: refs.step(['exporter']) }).transform(
        ({ id, exporter }): ReadStep => read('flush', id, { action: 'flush', exporter }),
      ),
    agent: () =>
      mapping({ id: id().exactOptional(), node: refs.node, do: oneOf(['restart']) }).transform(
        ({ id, node, do: what }): ReadStep => read('agent', id, { action: 'agent', node, do: what }),
      ),
    encryption: () => encryptionSchema(names, refs),
    xfrm: () => xfrmSchema(refs),
    sysctl: () => sysctlSchema(refs),
    replay: () => replaySchema(refs),
  }
}

function read(kind: StepKind, id: string | undefined, action: Action): ReadStep {
  return { kind, ...(id === undefined ? {} : { id }), action, inner: [] }
}

const lists = new WeakMap<References, Leaf<(ReadStep | undefined)[]>>()

/** One item of `steps`: a mapping with one key that is a kind of step, and perhaps `when`. Made once, for `while` holds it. */
export function stepList(names: Names, refs: References): Leaf<(ReadStep | undefined)[]> {
  const made = lists.get(refs) ?? list(oneKey<ReadStep>(stepSchemas(names, refs), 'step'), 'steps')
  lists.set(refs, made)
  return made
}

/** A mapping with exactly one of these keys; `when: false` (of a matrix row) leaves the item out. */
export function oneKey<T>(schemas: Record<string, () => z.ZodType<T>>, what: string): Leaf<T | undefined> {
  const keys = Object.keys(schemas)
  const shape = Object.fromEntries(keys.map(key => [key, z.lazy(schemas[key]!).exactOptional()]))
  return mapping({ ...shape, when: bool().exactOptional() }, `a mapping with one key, the kind of ${what}`)
    .transform((item, context) => {
      const given = keys.filter(key => key in item)
      // An unknown key has been reported, and says more than the absence of a known one.
      if (given.length === 0 && context.issues.length > 0) return undefined
      if (given.length === 1) return item['when'] === false ? undefined : (item as Record<string, T>)[given[0]!]
      context.issues.push({
        code: 'custom',
        message: given.length === 0 ? `no kind of ${what} is named` : `${given.join(' and ')} in one ${what}`,
        input: item,
        params: {
          code: `one-${what}`,
          hint: given.length === 0 ? `known: ${keys.join(', ')}` : 'begin each with a `-` of its own',
        },
      })
      return undefined
    })
    .meta({ minProperties: 1, maxProperties: 2 }) as unknown as Leaf<T | undefined>
}

function joinSchema(refs: References) {
  return mapping({
    id: id().exactOptional(),
    endpoint: refs.endpoints,
    group: refs.groups,
    version: oneOf([1, 2, 3]).exactOptional(),
    include: refs.addresses.exactOptional(),
    exclude: refs.addresses.exactOptional(),
    hosts: refs.addresses.exactOptional(),
    robustness: int(1, 7).exactOptional(),
    via: oneOf(['emulator', 'socket']).exactOptional(),
    answers: bool().exactOptional(),
  }).transform((join, context): ReadStep => {
    const version = join.version ?? 3
    const mistake = (message: string, hint: string, key: string) =>
      context.issues.push({ code: 'custom', message, input: join, path: [key], params: { code: 'bad-join', hint } })
    if (join.include && join.exclude)
      mistake('include and exclude in one join', 'a filter has one mode (RFC 3376 §3.2)', 'exclude')
    if (join.include?.length === 0)
      mistake('include of no source is a leave', 'use a `leave` step, or exclude: [] for all sources', 'include')
    if (version < 3 && (join.include || join.exclude))
      mistake(`IGMPv${version} has no source filters`, 'version: 3', 'version')
    if (join.via === 'socket' && (version < 3 || join.hosts || join.robustness !== undefined))
      mistake("the pod's kernel decides version, address and robustness itself", 'via: emulator', 'via')
    const filter = filterOf(join.include, join.exclude)
    return read('join', join.id, {
      action: 'join',
      pods: join.endpoint,
      ...groupsOf(join.group),
      igmpVersion: version,
      ...(filter ? { filter } : {}),
      ...(join.hosts ? { hosts: join.hosts } : {}),
      robustness: join.robustness ?? 2,
      via: join.via ?? 'emulator',
      answers: join.answers ?? true,
    })
  })
}

function filterOf(
  include?: number[],
  exclude?: number[],
): { mode: 'include' | 'exclude'; sources: number[] } | undefined {
  if (include) return { mode: 'include', sources: include }
  return exclude && exclude.length > 0 ? { mode: 'exclude', sources: exclude } : undefined
}

function groupsOf(groups: number[]): { group: number; groups?: number[] } {
  return { group: groups[0]!, ...(groups.length > 1 ? { groups } : {}) }
}

function leaveSchema(refs: References) {
  return mapping({
    id: id().exactOptional(),
    endpoint: refs.endpoints,
    group: refs.groups,
    hosts: refs.addresses.exactOptional(),
  }).transform(
    (leave): ReadStep =>
      read('leave', leave.id, {
        action: 'leave',
        pods: leave.endpoint,
        ...groupsOf(leave.group),
        ...(leave.hosts ? { hosts: leave.hosts } : {}),
      }),
  )
}

const frameBytes = () => int(60, 9014, 'an Ethernet frame length without FCS')

function rateShape() {
  return {
    ratePps: int(1, 100_000_000, 'frames a second').exactOptional(),
    bitsPerSecond: int(1, 400_000_000_000, 'bits a second').exactOptional(),
    rate: oneOf(['max']).exactOptional(),
    burst: mapping({ frames: int(1, 1_000_000), gapUs: int(0, 60_000_000) }).exactOptional(),
  }
}

interface RateGiven {
  ratePps?: number
  bitsPerSecond?: number
  rate?: 'max'
}

function rateOf({ ratePps, bitsPerSecond, rate }: RateGiven): StreamSpec['rate'] {
  if (rate !== undefined) return rate
  return bitsPerSecond === undefined ? { pps: ratePps ?? DEFAULT_PPS } : { bitsPerSecond }
}

const DEFAULT_PPS = 1000

const mix: Leaf<{ bytes: number; weight: number }[]> = z
  .union([z.literal('imix'), z.array(mapping({ bytes: frameBytes(), weight: int(1, 1000) })).min(1)])
  .transform(value => (value === 'imix' ? IMIX_SIMPLE : value)) as unknown as Leaf<{ bytes: number; weight: number }[]>

function sendSchema(names: Names, refs: References) {
  return mapping({
    id: id(),
    from: refs.endpoints,
    to: refs.endpoint.exactOptional(),
    count: int(1, 100_000_000).exactOptional(),
    durationMs: durationMs().exactOptional(),
    ...rateShape(),
    lengthBytes: frameBytes().exactOptional(),
    sweepBytes: list(frameBytes(), 'frame lengths', { min: 1 }).exactOptional(),
    mix: mix.exactOptional(),
    ...frameShape(refs),
    destinations: destinations(names, refs).exactOptional(),
    stamped: bool().exactOptional(),
    firstSequence: int(0, 0xffff_0000).exactOptional(),
    fragmentBytes: int(28, 65_535).exactOptional(),
    fragmentOrder: oneOf(['forward', 'reverse']).exactOptional(),
    prime: leaf<false | string[]>(
      { anyOf: [{ const: false }, { const: 'auto' }, { type: 'array', items: { type: 'string' } }] },
      (value, problem) => {
        if (value === false) return false
        const pods = refs.endpoints.safeParse(value)
        return pods.success
          ? pods.data
          : problem(
              'bad-prime',
              'expected false or a list of endpoints',
              'left out, the pods of `delivered` are primed',
            )
      },
    ).exactOptional(),
    get while(): z.ZodOptional<Leaf<(ReadStep | undefined)[]>> {
      return z.lazy(() => stepList(names, refs)).optional() as unknown as z.ZodOptional<Leaf<(ReadStep | undefined)[]>>
    },
  }).transform((send, context): ReadStep => {
    const mistake = (message: string, hint: string, key?: string) =>
      context.issues.push({
        code: 'custom',
        message,
        input: send,
        path: key ? [key] : [],
        params: { code: 'bad-send', hint },
      })
    exclusiveKeys(send, ['ratePps', 'bitsPerSecond', 'rate'], false, mistake)
    exclusiveKeys(send, ['lengthBytes', 'sweepBytes', 'mix'], false, mistake)
    exclusiveKeys(send, ['igmp', 'esp', 'vxlan'], false, mistake)
    exclusiveKeys(send, ['to', 'destinations'], false, mistake)
    if (send.count === undefined && send.durationMs === undefined) mistake('neither count nor durationMs', 'count: 100')
    const frame = frameOf(send as unknown as FrameSpec & { to?: string }, names)
    if (takeGroupMac(frame).groupMac)
      mistake(
        'groupMac is what is expected, not what is sent',
        'leave ethernet.dst out: it is filled in right',
        'ethernet',
      )
    if (frame.ipv4?.dst === undefined && send.destinations === undefined && frame.igmp === undefined)
      mistake('nothing says where it goes', 'ipv4: { dst: $g }, to: rx, or destinations', 'id')
    const lengths = lengthsOf(send)
    const inner = (send.while ?? []).filter(step => step !== undefined)
    return {
      kind: 'send',
      id: send.id,
      inner,
      ...(send.prime === undefined ? {} : { prime: send.prime }),
      action: {
        action: 'send',
        pods: send.from,
        stream: {
          frame,
          stamped: send.stamped ?? isStampable(frame),
          ...(send.count === undefined ? {} : { count: send.count }),
          ...(send.durationMs === undefined ? {} : { durationMs: send.durationMs }),
          rate: rateOf(send),
          ...(send.burst ? { burst: send.burst } : {}),
          ...(lengths ? { lengths } : {}),
          ...(send.destinations ? { destinations: send.destinations } : {}),
          ...(send.firstSequence === undefined ? {} : { firstSequence: send.firstSequence }),
          ...(send.fragmentBytes === undefined ? {} : { fragmentBytes: send.fragmentBytes }),
          ...(send.fragmentOrder === undefined ? {} : { fragmentOrder: send.fragmentOrder }),
        },
        prime: [],
        meanwhile: [],
      },
    }
  })
}

type Mistake = (message: string, hint: string, key?: string) => void

function exclusiveKeys(value: object, keys: string[], needed: boolean, mistake: Mistake): void {
  const given = keys.filter(key => key in value)
  if (given.length > 1) mistake(`${given.join(' and ')} exclude each other`, `keep one of ${keys.join(', ')}`, given[1])
  if (needed && given.length === 0) mistake(`\`${keys[0]}\` is missing`, `one of ${keys.join(', ')}`)
}

const LAYERS = ['ethernet', 'vlan', 'ipv4', 'udp', 'igmp', 'esp', 'vxlan', 'inner', 'payload'] as const

/** The layers of the step; UDP with the case's own port unless something else is carried. */
function frameOf(send: FrameSpec & { to?: string }, names: Names): FrameSpec {
  const frame: Record<string, unknown> = {}
  for (const layer of LAYERS) if (send[layer] !== undefined) frame[layer] = send[layer]
  if (send.to !== undefined) frame['ipv4'] = { dst: new LateAddress({ pod: send.to }, 'ip'), ...send.ipv4 }
  if ([send.igmp, send.esp, send.payload, send.vxlan].every(layer => layer === undefined))
    frame['udp'] = { dstPort: names.port, ...send.udp }
  return frame as FrameSpec
}

function lengthsOf(send: {
  lengthBytes?: number
  sweepBytes?: number[]
  mix?: { bytes: number; weight: number }[]
}): FrameLengths | undefined {
  if (send.lengthBytes !== undefined) return { bytes: send.lengthBytes }
  if (send.sweepBytes) return { sweepBytes: send.sweepBytes }
  return send.mix ? { mix: send.mix } : undefined
}

/** The stamp is the UDP payload of the innermost frame, where the suite put nothing else. */
function isStampable(frame: FrameSpec): boolean {
  if (frame.inner) return isStampable(frame.inner)
  return [frame.igmp, frame.arp, frame.esp, frame.payload, frame.vxlan].every(layer => layer === undefined)
}

/** `[{ group, port }]` as listed, or `{ groups, ports }`: every group with every port. */
function destinations(names: Names, refs: References): Leaf<{ group: number; port: number }[]> {
  const port = int(1, 65_535, 'a UDP port')
  const listed = mapping({ group: refs.group, port: port.exactOptional() })
  const product = mapping({ groups: refs.groups, ports: list(port, 'ports', { min: 1 }).exactOptional() })
  return leaf<{ group: number; port: number }[]>(
    { anyOf: [{ type: 'array' }, { type: 'object', properties: { groups: {}, ports: { type: 'array' } } }] },
    (value, problem) => {
      if (Array.isArray(value)) {
        const all = value.map((item, i) => parsed(listed, item, problem, [i]))
        return all.some(each => each === undefined)
          ? undefined
          : all.map(each => ({ group: each!.group, port: each!.port ?? names.port }))
      }
      const both = parsed(product, value, problem, [])
      return both?.groups.flatMap(group => (both.ports ?? [names.port]).map(each => ({ group, port: each })))
    },
  )
}

/** Parses a part inside a leaf; its problems become problems of the leaf. */
function parsed<S extends z.ZodType>(
  schema: S,
  value: unknown,
  problem: Parameters<Parameters<typeof leaf>[1]>[1],
  path: PropertyKey[],
): z.output<S> | undefined {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  for (const issue of result.error.issues) {
    const params = (issue as { params?: { code?: string; hint?: string } }).params
    problem(params?.code ?? issue.code, issue.message, params?.hint, [...path, ...issue.path])
  }
  return undefined
}

export const IGMP_MESSAGES = {
  'v1-report': { type: IGMP_TYPE.V1_MEMBERSHIP_REPORT },
  'v2-report': { type: IGMP_TYPE.V2_MEMBERSHIP_REPORT },
  'v2-leave': { type: IGMP_TYPE.V2_LEAVE_GROUP },
  'v3-report': { type: IGMP_TYPE.V3_MEMBERSHIP_REPORT },
  'v1-query': { type: IGMP_TYPE.MEMBERSHIP_QUERY, maxRespCode: 0 },
  'v2-query': { type: IGMP_TYPE.MEMBERSHIP_QUERY },
  'v3-query': { type: IGMP_TYPE.MEMBERSHIP_QUERY, qrv: 2 },
} as const satisfies Record<string, IgmpFields>

const MESSAGE_NAMES = Object.keys(IGMP_MESSAGES) as (keyof typeof IGMP_MESSAGES)[]

/** Raw IGMP: a message by name with fields to lie about, or its octets as hex. */
function igmpStepSchema(refs: References) {
  const { ethernet, vlan } = frameShape(refs)
  return mapping({
    id: id().exactOptional(),
    from: refs.endpoints,
    message: oneOf(MESSAGE_NAMES).exactOptional(),
    hex: hexText({ minBytes: 1, maxBytes: 1476 }).exactOptional(),
    ...igmpShape(refs),
    ethernet,
    vlan,
    ipv4: ipv4Schema(refs).exactOptional(),
    count: int(1, 100_000).exactOptional(),
    ...rateShape(),
  }).transform((given, context): ReadStep => {
    const { id, from, message, hex, count, ethernet, vlan, ipv4, ratePps, bitsPerSecond, rate, burst, ...fields } =
      given
    const mistake = (text: string, hint: string, key?: string) =>
      context.issues.push({
        code: 'custom',
        message: text,
        input: given,
        path: key ? [key] : [],
        params: { code: 'bad-igmp', hint },
      })
    exclusiveKeys(given, ['message', 'hex', 'type'], true, mistake)
    if (hex !== undefined && Object.keys(fields).length > 0)
      mistake(`hex and ${Object.keys(fields).join(', ')} exclude each other`, 'hex is the whole message', 'hex')
    const layers = { ...(ethernet ? { ethernet } : {}), ...(vlan ? { vlan } : {}) }
    const frame: FrameSpec =
      hex === undefined
        ? {
            ...layers,
            ...(ipv4 ? { ipv4 } : {}),
            igmp: { ...(message ? IGMP_MESSAGES[message] : {}), ...fields } as IgmpFields,
          }
        : { ...layers, ipv4: { ...hexHeader(hex), ...ipv4 }, payload: hex }
    return read('igmp', id, {
      action: 'send',
      pods: from,
      stream: {
        frame,
        stamped: false,
        count: count ?? 1,
        rate: rateOf({
          ...(ratePps === undefined ? {} : { ratePps }),
          ...(bitsPerSecond === undefined ? {} : { bitsPerSecond }),
          ...(rate === undefined ? {} : { rate }),
        }),
        ...(burst ? { burst } : {}),
      },
      prime: [],
      meanwhile: [],
    })
  })
}

/** The IPv4 header of a message given as octets: RFC 3376 §4, destinations of §4.2.14, RFC 2236 §9 and RFC 1112 appendix I. */
function hexHeader(hex: string): NonNullable<FrameSpec['ipv4']> {
  const group = hex.length >= 16 ? Number.parseInt(hex.slice(8, 16), 16) : 0
  const type = Number.parseInt(hex.slice(0, 2), 16)
  const dst = HEX_DESTINATIONS[type] ?? (group >>> 28 === 0xe ? group : ALL_SYSTEMS_GROUP)
  return { tos: 0xc0, ttl: 1, protocol: 2, options: '94040000', dst }
}

const ALL_SYSTEMS_GROUP = 0xe000_0001
const HEX_DESTINATIONS: Readonly<Record<number, number>> = { 34: 0xe000_0016, 23: 0xe000_0002 }

const DEFAULT_WAIT_MS = 5000

function waitSchema(names: Names, refs: References) {
  const common = { id: id().exactOptional(), timeoutMs: durationMs().exactOptional() }
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
      return read('wait', wait.id, {
        action: 'wait',
        until: conditionOf(wait as unknown as WaitGiven, names),
        timeoutMs,
      })
    })
}

const WAITS = ['delivered', 'stopped', 'subscribed', 'unsubscribed', 'output', 'pim', 'frame', 'sent']

/** Message for a mapping whose deciding key is missing or unknown. */
function choiceError(key: string, known: readonly string[], input: unknown): string {
  const value = typeof input === 'object' && input !== null ? (input as Record<string, unknown>)[key] : undefined
  return value === undefined
    ? `\`${key}\` is missing; known: ${known.join(', ')}`
    : `unknown \`${key}: ${String(value)}\`; ${didYouMean(String(value), known)}`
}

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
    const pod = parsed(refs.endpoint, value, problem, [])
    return pod === undefined ? undefined : { pod }
  })
}

function linkSchema(refs: References) {
  return mapping({
    id: id().exactOptional(),
    endpoint: refs.endpoint.exactOptional(),
    node: refs.node.exactOptional(),
    up: bool(),
  }).transform((link, context): ReadStep => {
    exclusiveKeys(link, ['endpoint', 'node'], true, (message, hint, key) =>
      context.issues.push({
        code: 'custom',
        message,
        input: link,
        path: key ? [key] : [],
        params: { code: 'bad-link', hint },
      }),
    )
    const place = link.node === undefined ? { pod: link.endpoint! } : { node: link.node }
    return read('link', link.id, { action: 'link', ...place, up: link.up })
  })
}

function groupSchema(names: Names, refs: References) {
  return mapping({
    id: id().exactOptional(),
    enable: refs.groups.exactOptional(),
    disable: refs.groups.exactOptional(),
    nodes: refs.nodes.exactOptional(),
    refused: int(0, 100_000).exactOptional(),
  }).transform((group, context): ReadStep => {
    exclusiveKeys(group, ['enable', 'disable'], true, (message, hint, key) =>
      context.issues.push({
        code: 'custom',
        message,
        input: group,
        path: key ? [key] : [],
        params: { code: 'bad-group', hint },
      }),
    )
    return read('group', group.id, {
      action: 'group',
      groups: group.enable ?? group.disable ?? [],
      enable: group.enable !== undefined,
      nodes: group.nodes ?? [...names.nodes],
      refused: group.refused ?? 0,
    })
  })
}

function encryptionSchema(names: Names, refs: References) {
  return mapping({ id: id().exactOptional(), do: oneOf(ENCRYPTION_DOES), nodes: refs.nodes.exactOptional() }).transform(
    ({ id, do: what, nodes }, context): ReadStep => {
      if (nodes && what.startsWith('rotate'))
        context.issues.push({
          code: 'custom',
          message: 'a rotation is of all nodes',
          input: nodes,
          path: ['nodes'],
          params: { code: 'bad-encryption', hint: 'leave nodes out' },
        })
      return read('encryption', id, { action: 'encryption', do: what, nodes: nodes ?? [...names.nodes] })
    },
  )
}

const MAX_SEQUENCE = 2 ** 33

function xfrmSchema(refs: References) {
  const lost = { peer: refs.node.exactOptional(), direction: oneOf(['out', 'in']).exactOptional() }
  const kind = <const K extends string>(what: K) => z.literal(what)
  return z
    .discriminatedUnion(
      'do',
      [
        mapping({ do: kind('lose-states'), id: id().exactOptional(), node: refs.node, ...lost }),
        mapping({ do: kind('lose-policies'), id: id().exactOptional(), node: refs.node, ...lost }),
        mapping({
          do: kind('sequence'),
          id: id().exactOptional(),
          node: refs.node,
          peer: refs.node,
          sequence: int(0, MAX_SEQUENCE, 'the last number used'),
        }),
      ],
      { error: issue => choiceError('do', ['lose-states', 'lose-policies', 'sequence'], issue.input) },
    )
    .transform(({ id, ...xfrm }): ReadStep => read('xfrm', id, { action: 'xfrm', ...xfrm } as Action))
}

function sysctlSchema(refs: References) {
  return mapping({
    id: id().exactOptional(),
    endpoint: refs.endpoint.exactOptional(),
    node: refs.node.exactOptional(),
    name: oneOf(SYSCTLS),
    interface: oneOf(['all', 'default', 'eth0', 'cilium_vxlan']).exactOptional(),
    value: int(0, 2),
  }).transform((given, context): ReadStep => {
    exclusiveKeys(given, ['endpoint', 'node'], true, (message, hint, key) =>
      context.issues.push({
        code: 'custom',
        message,
        input: given,
        path: key ? [key] : [],
        params: { code: 'bad-sysctl', hint },
      }),
    )
    const place = given.node === undefined ? { pod: given.endpoint! } : { node: given.node }
    const { name, value } = given
    return read('sysctl', given.id, { action: 'sysctl', ...place, name, interface: given.interface ?? 'all', value })
  })
}

function replaySchema(refs: References) {
  return mapping({
    id: id().exactOptional(),
    from: refs.endpoint,
    of: refs.step(['send']),
    node: refs.node,
    peer: refs.node,
    count: int(1, 100_000).exactOptional(),
    alter: oneOf(ALTERATIONS).exactOptional(),
  }).transform(({ id, from, of, node, peer, count, alter }): ReadStep => {
    const many = count === undefined ? {} : { count }
    return read('replay', id, { action: 'replay', pod: from, of, node, peer, ...many, alter: alter ?? 'none' })
  })
}

function runSchema(refs: References) {
  const options = PROGRAM_NAMES.map(name =>
    mapping({ id: id(), endpoint: refs.endpoint, program: z.literal(name), params: PROGRAMS[name].params(refs) }),
  )
  return z
    .discriminatedUnion('program', options as unknown as [(typeof options)[0]], {
      error: issue => choiceError('program', PROGRAM_NAMES, issue.input),
    })
    .transform(
      (run): ReadStep =>
        read('run', run.id, { action: 'run', pod: run.endpoint, program: run.program, params: run.params }),
    )
}
