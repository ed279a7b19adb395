import { asIpv4, asMac, isMulticast } from '../../generators/wire/address.ts'
import { found, type Leaf, leaf, type Problem } from './leaf.ts'
import { didYouMean } from './suggest.ts'

/** What the text of one case may refer to, known before its steps are read. */
export interface Names {
  /** Role → pods of the stage. */
  roles: ReadonlyMap<string, readonly string[]>
  nodes: readonly string[]
  nodeOf(pod: string): string
  /** `g` → its leased addresses; more than one for `count:`. */
  groups: ReadonlyMap<string, readonly number[]>
  /** Step id → what kind of step it is. */
  steps: ReadonlyMap<string, string>
  /** UDP port of this case alone. */
  port: number
}

/**
 * Stands where an address belongs that only the site knows; `plan.ts` turns it into a Binding. Typed as the value it
 * stands for, so that schemas need not know.
 */
export class LateAddress {
  readonly of: { pod: string } | { node: string }
  readonly what: 'ip' | 'mac' | 'text'

  constructor(of: LateAddress['of'], what: LateAddress['what']) {
    this.of = of
    this.what = what
  }
}

/** The reusable pieces of the suite language, each bound to the names of one case. */
export function references(names: Names) {
  const pods = roleReader(names)
  return {
    /** One role or a list of roles → pods. */
    endpoints: leaf(ROLES_JSON, (value, problem) => pods(value, problem)),
    /** One role that is one pod. */
    endpoint: leaf(ROLE_JSON, (value, problem) => onePod(value, pods(value, problem), problem)),
    node: nodeRef(names),
    nodes: leaf({ anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] }, (value, problem) =>
      eachOf(value, problem, (item, here) => readNode(names, item, here)),
    ),
    group: leaf(GROUP_JSON, (value, problem) => oneGroup(value, readGroups(names, value, problem), problem)),
    groups: leaf({ anyOf: [GROUP_JSON, { type: 'array', items: GROUP_JSON }] }, (value, problem) => {
      const all = eachOf(value, problem, (item, here) => readGroups(names, item, here))
      return all?.flat()
    }),
    address: addressRef(names, pods),
    addresses: leaf({ type: 'array', items: ADDRESS_JSON }, (value, problem) => readAddresses(names, value, problem)),
    mac: macRef(names, pods),
    addressText: addressText(names, pods),
    step: (kinds: readonly string[]) => stepRef(names, kinds),
    anyStep: stepRef(names, []),
  }
}

export type References = ReturnType<typeof references>

const ROLE_JSON = { type: 'string', pattern: '^[a-z][a-z0-9-]*$|^\\$' }
const ROLES_JSON = { anyOf: [ROLE_JSON, { type: 'array', items: ROLE_JSON, minItems: 1 }] }
const GROUP_JSON = { type: 'string', pattern: '^\\$|^2(2[4-9]|3[0-9])\\.' }
const ADDRESS_JSON = { type: 'string', pattern: '^[$@]|^[0-9.]+$' }

/** `value`, or each item of it when it is a list; undefined as soon as one had a problem. */
function eachOf<T>(
  value: unknown,
  problem: Problem,
  read: (item: unknown, problem: Problem) => T | undefined,
): T[] | undefined {
  if (!Array.isArray(value)) {
    const one = read(value, problem)
    return one === undefined ? undefined : [one]
  }
  if (value.length === 0) return problem('empty-list', 'the list is empty', 'name at least one')
  const all = value.map((item, i) =>
    read(item, (code, message, hint, path = []) => problem(code, message, hint, [i, ...path])),
  )
  return all.some(item => item === undefined) ? undefined : (all as T[])
}

function roleReader(names: Names) {
  const readRole = (value: unknown, problem: Problem): readonly string[] | undefined => {
    if (typeof value !== 'string')
      return problem('wrong-type', `expected a role of topology.endpoints, ${found(value)}`)
    const pods = names.roles.get(value)
    if (pods) return pods
    return problem('unknown-role', `no endpoint has the role \`${value}\``, roleHint(value, names))
  }
  return (value: unknown, problem: Problem): string[] | undefined => {
    const all = eachOf(value, problem, readRole)
    return all ? [...new Set(all.flat())] : undefined
  }
}

function roleHint(value: string, names: Names): string {
  if (names.nodes.includes(value)) return `${value} is a node; endpoints are ${[...names.roles.keys()].join(', ')}`
  return didYouMean(value, names.roles.keys())
}

function onePod(value: unknown, pods: string[] | undefined, problem: Problem): string | undefined {
  if (!pods) return undefined
  if (pods.length === 1) return pods[0]
  return problem('many-pods', `\`${String(value)}\` is ${pods.length} pods, and just one belongs here`)
}

function readNode(names: Names, value: unknown, problem: Problem): string | undefined {
  if (typeof value !== 'string') return problem('wrong-type', `expected the name of a node, ${found(value)}`)
  if (names.nodes.includes(value)) return value
  const role = names.roles.has(value) ? `\`${value}\` is an endpoint, and a node belongs here; ` : ''
  return problem('unknown-node', `no node has the name \`${value}\``, role + didYouMean(value, names.nodes))
}

function nodeRef(names: Names): Leaf<string> {
  return leaf({ type: 'string' }, (value, problem) => readNode(names, value, problem))
}

/** `$g`, `$many` (all of a range), `$many.3` (one of them, from 0), or a literal multicast address. */
function readGroups(names: Names, value: unknown, problem: Problem): number[] | undefined {
  if (typeof value !== 'string') return problem('wrong-type', `expected a group like $g or 239.1.2.3, ${found(value)}`)
  if (value.startsWith('$')) return readLeased(names, value, problem)
  const address = asIpv4(value)
  if (address === undefined)
    return problem(
      'bad-address',
      `\`${value}\` is not a group`,
      'write $g for a leased group, or four octets 224…239.x.x.x',
    )
  if (!isMulticast(address))
    return problem(
      'unicast-group',
      `${value} is a unicast address, not a group`,
      'groups are 224.0.0.0 to 239.255.255.255; $g leases one',
    )
  return [address]
}

function readLeased(names: Names, value: string, problem: Problem): number[] | undefined {
  const match = /^\$\{?([a-zA-Z][\w-]*)\}?(?:\.(\d+))?$/.exec(value)
  const name = match?.[1]
  const all = name === undefined ? undefined : names.groups.get(name)
  if (!all)
    return problem(
      'unknown-group',
      `\`${value}\` is neither a parameter nor a group`,
      didYouMean(
        value,
        [...names.groups.keys()].map(each => `$${each}`),
      ),
    )
  if (match?.[2] === undefined) return [...all]
  const one = all[Number(match[2])]
  if (one === undefined) return problem('out-of-range', `\`$${name}\` has ${all.length} groups, numbered from 0`)
  return [one]
}

function oneGroup(value: unknown, groups: number[] | undefined, problem: Problem): number | undefined {
  if (!groups) return undefined
  if (groups.length === 1) return groups[0]
  return problem(
    'many-groups',
    `\`${String(value)}\` is ${groups.length} groups, and just one belongs here`,
    `pick one: ${String(value)}.0`,
  )
}

type PodReader = ReturnType<typeof roleReader>

/** `@rx` → that pod's address, `@n2` → that node's underlay address; known when the site is up. */
function late(names: Names, pods: PodReader, value: string, what: LateAddress['what'], problem: Problem) {
  const name = value.slice(1)
  if (!names.roles.has(name) && names.nodes.includes(name)) return new LateAddress({ node: name }, what)
  const pod = onePod(value, pods(name, problem), problem)
  return pod === undefined ? undefined : new LateAddress({ pod }, what)
}

function addressRef(names: Names, pods: PodReader): Leaf<number> {
  return leaf(ADDRESS_JSON, (value, problem) => readAddress(names, pods, value, problem))
}

function readAddress(names: Names, pods: PodReader, value: unknown, problem: Problem): number | undefined {
  if (typeof value === 'string' && value.startsWith('@'))
    return late(names, pods, value, 'ip', problem) as unknown as number | undefined
  if (typeof value === 'string' && value.startsWith('$'))
    return oneGroup(value, readLeased(names, value, problem), problem)
  const address = typeof value === 'string' ? asIpv4(value) : undefined
  if (address !== undefined) return address
  return problem(
    'bad-address',
    `expected an IPv4 address, ${found(value)}`,
    'four octets like 10.1.1.2, $g for a group, or @rx for the address of a pod',
  )
}

/** A list in which `@tx` stands for all pods of the role. */
function readAddresses(names: Names, value: unknown, problem: Problem): number[] | undefined {
  if (!Array.isArray(value))
    return problem(
      'wrong-type',
      `expected a list of addresses, ${found(value)}`,
      'write it in brackets: [@tx, 192.0.2.1]',
    )
  const pods = roleReader(names)
  const all = value.map((item, i): number[] | undefined => {
    const here: Problem = (code, message, hint, path = []) => problem(code, message, hint, [i, ...path])
    const role = typeof item === 'string' && item.startsWith('@') ? names.roles.get(item.slice(1)) : undefined
    if (role) return role.map(pod => new LateAddress({ pod }, 'ip') as unknown as number)
    if (typeof item === 'string' && item.startsWith('$')) return readLeased(names, item, here)
    const address = readAddress(names, pods, item, here)
    return address === undefined ? undefined : [address]
  })
  return all.some(item => item === undefined) ? undefined : (all as number[][]).flat()
}

function macRef(names: Names, pods: PodReader): Leaf<number> {
  return leaf({ type: 'string', pattern: '^@|^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$' }, (value, problem) => {
    if (typeof value === 'number')
      return problem(
        'wrong-type',
        'a MAC address read as a number',
        "quote it: '00:11:22:33:44:55' (YAML 1.1 counts all-digit ones in base 60)",
      )
    if (typeof value === 'string' && value.startsWith('@'))
      return late(names, pods, value, 'mac', problem) as unknown as number | undefined
    const mac = typeof value === 'string' ? asMac(value) : undefined
    return (
      mac ?? problem('bad-address', `expected a MAC address, ${found(value)}`, "six hex octets: '01:00:5e:00:00:01'")
    )
  })
}

/** An address as a program takes it. */
function addressText(names: Names, pods: PodReader): Leaf<string> {
  return leaf(ADDRESS_JSON, (value, problem) => {
    if (typeof value === 'string' && value.startsWith('@'))
      return late(names, pods, value, 'text', problem) as unknown as string | undefined
    const address = readAddress(names, pods, value, problem)
    return address === undefined ? undefined : [24, 16, 8, 0].map(shift => (address >>> shift) & 255).join('.')
  })
}

function stepRef(names: Names, kinds: readonly string[]): Leaf<string> {
  return leaf({ type: 'string' }, (value, problem) => {
    const what = kinds.length > 0 ? `the id of a ${kinds.join(' or ')} step` : 'the id of a step'
    if (typeof value !== 'string') return problem('wrong-type', `expected ${what}, ${found(value)}`)
    const kind = names.steps.get(value)
    const fitting = [...names.steps].filter(([, each]) => kinds.length === 0 || kinds.includes(each)).map(([id]) => id)
    if (kind === undefined)
      return problem('unknown-step', `no step has the id \`${value}\``, didYouMean(value, fitting))
    if (kinds.length > 0 && !kinds.includes(kind))
      return problem(
        'wrong-step',
        `step \`${value}\` is a ${kind} step, and ${what} belongs here`,
        didYouMean(value, fitting),
      )
    return value
  })
}
