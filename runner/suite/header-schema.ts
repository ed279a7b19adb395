import type { z } from 'zod'
import { asIpv4, isMulticast } from '../../generators/wire/address.ts'
import { DERIVATIONS } from '../ipsec/derive.ts'
import { bool, found, int, type Leaf, leaf, list, mapping, oneOf, type Problem, text } from './leaf.ts'
import { mistakes, parsed } from './mistakes.ts'
import { pairsIn } from './pairs.ts'
import type { EncryptionTopology, QuerierTimers } from './plan-types.ts'
import { didYouMean } from './suggest.ts'

export const TARGETS = ['reference', 'bridge', 'host', 'router', 'kubernetes', 'exec'] as const
/** What cases that name no target are for: pods on nodes, whoever joins them; their needs say the rest. */
const ANY_NETWORK: (typeof TARGETS)[number][] = ['reference', 'exec', 'kubernetes']

export const LEVELS = ['basic', 'core', 'extended', 'secure'] as const

/** What a case may need and a target may lack; a target's probe answers for each (missing: skip with the reason). */
export const NEEDS: Readonly<Record<string, string>> = {
  igmpv1: 'IGMPv1 reports are understood',
  igmpv2: 'IGMPv2 reports and leaves are understood',
  igmpv3: 'IGMPv3 reports are understood',
  ssm: 'source filters are applied to delivery',
  querier: 'a querier whose timers can be set',
  bootstrap: 'routers learn the Rendezvous Point from Bootstrap messages',
  overlay: 'nodes are joined by a VXLAN overlay that taps can see',
  uplink: "taps and sending on a node's uplink",
  tables: 'group and subscriber tables can be read',
  drops: 'drops are counted by reason and can be read',
  metrics: 'agents serve Prometheus metrics',
  'group-control': 'groups are enabled and disabled by command',
  'many-groups': 'a thousand groups are enabled in a moment',
  'mtu-1500': 'interfaces of pods take IP packets of 1500 octets',
  'link-control': 'links of pods and nodes can be taken down',
  'pod-control': 'pods can be killed',
  'agent-control': "a node's control plane can be restarted",
  esp: 'ESP in the kernel, between nodes',
  tracing: 'a tracing program in the kernel',
  netem: 'delay and loss on links',
  nfdump: 'nfcapd and nfdump, to be given flow records',
  nfacctd: 'pmacct, to be given flow records',
  socat: 'socat in the pods',
  tcpdump: 'tcpdump in the pods',
  http: 'an HTTP server and client in the pods',
  ping: 'ping in the pods',
}

export interface Header {
  suite: string
  title: string
  targets: string[]
  needs: string[]
  covers: string[]
  level: string
  topology: TopologyGiven
  exclusive: boolean
  groups: Record<string, GroupGiven>
}

export interface TopologyGiven {
  nodes: string[]
  /** Role → node and how many pods. */
  endpoints: Record<string, { node: string; count: number }>
  querier: boolean | Partial<QuerierTimers>
  encryption?: EncryptionTopology
  metrics: boolean
  private: boolean
}

export type GroupGiven = { enabled: boolean; count: number } & ({ address?: number } | { aliasOf: string })

export const DEFAULT_NODES = ['n1', 'n2', 'n3']

/** Where an endpoint stands that is attached to the network between the nodes and belongs to none: a stranger. */
export const UNDERLAY = 'underlay'

const NAME = /^[a-z][a-z0-9-]{0,30}$/
const SUITE_ID = /^[a-z0-9][a-z0-9-]*(\/[a-z0-9][a-z0-9-]*)*$/

const nodeName: Leaf<string> = leaf({ type: 'string', pattern: NAME.source }, (value, problem) =>
  typeof value === 'string' && NAME.test(value)
    ? value
    : problem(
        'bad-name',
        `expected the name of a node, ${found(value)}`,
        'a lower-case letter, then letters, digits, hyphens: n1',
      ),
)

const suiteId: Leaf<string> = leaf({ type: 'string', pattern: SUITE_ID.source }, (value, problem) =>
  typeof value === 'string' && SUITE_ID.test(value)
    ? value
    : problem(
        'bad-id',
        `expected the suite's id, ${found(value)}`,
        'its path below suites/ without .yaml: igmp/v3-join',
      ),
)

const covers = leaf<string[]>(
  {
    anyOf: [
      { type: 'array', items: { type: 'string', pattern: '^[A-Z][0-9]{2}$|^\\$' }, minItems: 1 },
      { type: 'string', pattern: '^\\$' },
    ],
  },
  (value, problem) => {
    if (!Array.isArray(value) || value.length === 0)
      return problem(
        'wrong-type',
        `expected a list of requirement ids, ${found(value)}`,
        'covers: [D01]; `castproof list --requirements` shows them',
      )
    const wrong = value.findIndex(item => typeof item !== 'string' || !/^[A-Z]\d{2}$/.test(item))
    return wrong < 0
      ? value
      : problem('bad-id', `expected a requirement id, ${found(value[wrong])}`, 'a letter and two digits: D01', [wrong])
  },
)

const needs = list(
  leaf<string>({ enum: Object.keys(NEEDS) }, (value, problem) =>
    typeof value === 'string' && value in NEEDS
      ? value
      : problem('unknown-need', `no capability \`${String(value)}\``, didYouMean(String(value), Object.keys(NEEDS))),
  ),
  'capabilities',
)

const endpoint = leaf<{ node: string; count: number }>(
  {
    anyOf: [
      { type: 'string' },
      {
        type: 'object',
        properties: { node: { type: 'string' }, count: { type: 'integer' } },
        required: ['node'],
        additionalProperties: false,
      },
    ],
  },
  (value, problem) => {
    if (typeof value === 'string') return { node: value, count: 1 }
    const given = parsed(
      mapping({ node: nodeName, count: int(1, 4096, 'pods').exactOptional() }, 'a node or { node, count }'),
      value,
      problem,
    )
    return given && { node: given.node, count: given.count ?? 1 }
  },
)

/** A mapping whose keys the author chooses. */
function named<T>(item: z.ZodType<T>, what: string): Leaf<Record<string, T>> {
  const key = (name: string, problem: Problem) =>
    NAME.test(name)
      ? name
      : problem('bad-name', `\`${name}\` cannot name ${what}`, 'a lower-case letter, then letters, digits, hyphens')
  return leaf<Record<string, T>>({ type: 'object' }, (value, problem) => {
    const pairs = pairsIn(value, problem, { what: `a mapping of ${what}`, key, item })
    return pairs && Object.fromEntries(pairs)
  })
}

const timerMs = () => int(1, 3_600_000, 'milliseconds').exactOptional()

export const timerShape = {
  robustness: int(1, 7).exactOptional(),
  queryIntervalMs: timerMs(),
  queryResponseIntervalMs: timerMs(),
  lastMemberQueryIntervalMs: timerMs(),
  version: oneOf([2, 3]).exactOptional(),
}
const timers = mapping(timerShape, 'true or timers')

const querier = leaf<boolean | Partial<QuerierTimers>>(
  { anyOf: [{ type: 'boolean' }, { type: 'object' }] },
  (value, problem) => {
    if (typeof value === 'boolean') return value
    return parsed(timers, value, problem) as Partial<QuerierTimers> | undefined
  },
)

/** What Cilium does since 1.18, but for the mode, which has to be said. */
const ENCRYPTION_DEFAULTS = { algorithm: 'aes-gcm', derivation: 'boot-ids', esn: true, windowPackets: 1024 } as const

/** In one order of keys: what is equal shares a stage. */
function encryptionOf({
  mode,
  ...rest
}: Pick<EncryptionTopology, 'mode'> & Partial<EncryptionTopology>): EncryptionTopology {
  return { mode, ...ENCRYPTION_DEFAULTS, ...rest }
}

const encryptionMode = () => oneOf(['overlay-in-esp', 'esp-in-overlay', 'both'])

const encryptionDetails = mapping(
  {
    mode: encryptionMode(),
    algorithm: oneOf(['aes-gcm', 'aes-gcm-256', 'aes-cbc-sha256', 'aes-cbc-sha512']).exactOptional(),
    derivation: oneOf(DERIVATIONS).exactOptional(),
    esn: bool().exactOptional(),
    windowPackets: int(1, 4096, 'packets').exactOptional(),
  },
  'a mode, or a mapping with mode, algorithm, derivation, esn, windowPackets',
)

const encryption = leaf<EncryptionTopology>(
  { anyOf: [{ type: 'string', enum: ['overlay-in-esp', 'esp-in-overlay', 'both'] }, { type: 'object' }] },
  (value, problem) => {
    if (typeof value === 'string') {
      const mode = parsed(encryptionMode(), value, problem)
      return mode && encryptionOf({ mode })
    }
    const given = parsed(encryptionDetails, value, problem)
    return given && encryptionOf(given)
  },
)

const topology = mapping({
  nodes: list(nodeName, 'nodes', { min: 1 }).exactOptional(),
  endpoints: named(endpoint, 'endpoints').exactOptional(),
  querier: querier.exactOptional(),
  encryption: encryption.exactOptional(),
  metrics: bool().exactOptional(),
  private: bool().exactOptional(),
}).transform((given, context): TopologyGiven => {
  const nodes = given.nodes ?? DEFAULT_NODES
  const mistake = mistakes(context, given)
  const reserved = nodes.indexOf(UNDERLAY)
  if (reserved >= 0)
    mistake(
      'reserved',
      '`underlay` is no node but the network between them',
      'endpoints may stand on it without it being listed',
      ['nodes', reserved],
    )
  const twice = nodes.findIndex((node, i) => nodes.indexOf(node) !== i)
  if (twice >= 0) mistake('twice', `node \`${nodes[twice]}\` is there twice`, 'name each node once', ['nodes', twice])
  for (const [role, { node }] of Object.entries(given.endpoints ?? {})) {
    if (!nodes.includes(node) && node !== UNDERLAY)
      mistake(
        'unknown-node',
        `endpoint \`${role}\` is on node \`${node}\`, which is not in nodes`,
        didYouMean(node, nodes),
        ['endpoints', role],
      )
    if (nodes.includes(role))
      mistake('ambiguous', `\`${role}\` names a node and an endpoint`, 'give the endpoint another name', [
        'endpoints',
        role,
      ])
  }
  return {
    nodes,
    endpoints: given.endpoints ?? {},
    querier: given.querier ?? false,
    ...(given.encryption ? { encryption: given.encryption } : {}),
    metrics: given.metrics ?? false,
    private: given.private ?? false,
  }
})

const groupDetails = mapping(
  {
    enabled: bool().exactOptional(),
    address: text('an address').exactOptional(),
    aliasOf: text('a group').exactOptional(),
    count: int(1, 4096, 'groups').exactOptional(),
  },
  'an address, or a mapping with enabled, address, aliasOf, count',
)

const group = leaf<GroupGiven>(
  {
    anyOf: [
      { type: 'string' },
      {
        type: 'object',
        properties: {
          enabled: { type: 'boolean' },
          address: { type: 'string' },
          aliasOf: { type: 'string' },
          count: { type: 'integer' },
        },
      },
    ],
  },
  (value, problem) => {
    if (typeof value === 'string') return literalGroup(value, problem)
    const given = parsed(groupDetails, value, problem)
    if (!given) return undefined
    const { enabled = true, count = 1, address, aliasOf } = given
    if (aliasOf !== undefined) {
      if (address !== undefined || count > 1)
        return problem('bad-group', 'aliasOf excludes address and count', '{ aliasOf: g }')
      return { enabled, count, aliasOf: aliasOf.replace(/^\$/, '') }
    }
    if (address === undefined) return { enabled, count }
    const literal = literalGroup(address, problem, ['address'])
    return literal && { ...literal, enabled, count }
  },
)

function literalGroup(
  value: string,
  problem: Problem,
  path: PropertyKey[] = [],
): (GroupGiven & { address: number }) | undefined {
  const address = asIpv4(value)
  if (address === undefined)
    return problem('bad-address', `\`${value}\` is not an IPv4 address`, '239.1.2.3, or {} for a leased group', path)
  if (!isMulticast(address))
    return problem(
      'unicast-group',
      `${value} is a unicast address, not a group`,
      'groups are 224.0.0.0 to 239.255.255.255',
      path,
    )
  return { enabled: true, count: 1, address }
}

/** All keys but `steps`, `expect`, `params` and `matrix`. */
export const headerShape = {
  castproof: leaf<1>({ const: 1 }, (value, problem) =>
    value === 1
      ? 1
      : problem(
          'version',
          `expected castproof: 1, ${found(value)}`,
          'the version of the suite language; 1 is the only one',
        ),
  ),
  suite: suiteId,
  title: text('a title', 160).exactOptional(),
  targets: list(oneOf(TARGETS), 'targets', { min: 1 }).exactOptional(),
  needs: needs.exactOptional(),
  covers,
  level: oneOf(LEVELS).exactOptional(),
  topology: topology.exactOptional(),
  exclusive: oneOf(['node', false]).exactOptional(),
  groups: named(group, 'groups').exactOptional(),
}

export const headerSchema = mapping(headerShape, 'a suite')

/** What follows when a key is left out. */
export function headerOf(given: Partial<z.output<typeof headerSchema>>, fallback: { suite: string }): Header {
  const suite = given.suite ?? fallback.suite
  return {
    suite,
    title: given.title ?? suite,
    targets: given.targets ?? ANY_NETWORK,
    needs: given.needs ?? [],
    covers: given.covers ?? [],
    level: given.level ?? 'core',
    topology: given.topology ?? { nodes: DEFAULT_NODES, endpoints: {}, querier: false, metrics: false, private: false },
    exclusive: given.exclusive === 'node',
    groups: given.groups ?? {},
  }
}
