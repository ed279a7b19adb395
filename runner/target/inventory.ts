import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { asIpv4 } from '../../generators/wire/address.ts'
import { UserError, UserErrors } from '../suite/errors.ts'
import { NEEDS } from '../suite/header-schema.ts'
import { userErrors } from '../suite/issues.ts'
import { found, int, type Leaf, leaf, list, mapping, oneOf, text } from '../suite/leaf.ts'
import { parseSource, type Source } from '../suite/source.ts'
import { didYouMean } from '../suite/suggest.ts'

/** Hosts of a lab that somebody else keeps, and how to get at them (docs/targets.md). */
export interface Inventory {
  description: string
  /** What starts an agent behind each prefix. */
  agent: string[]
  nodes: Record<string, InventoryNode>
  pods: Record<string, InventoryPod>
  overlay?: { udpPort: number; vni: number }
  commands: Partial<Record<CommandName, InventoryCommand>>
  lacks: string[]
  version?: string
}

export interface InventoryNode {
  command: string[]
  uplink?: string
  overlay?: string
  /** Dotted; left out: of the uplink. */
  address?: string
}

export interface InventoryPod {
  node: string
  command: string[]
  interface: string
}

/** `{group}` and `{node}` in its words are put in. */
export interface InventoryCommand {
  command: string[]
  /** `here`, or behind the node's prefix. */
  where: 'here' | 'node'
  /** One run serves all nodes. */
  once: boolean
}

export const COMMAND_NAMES = ['groupAdd', 'groupDelete', 'subscribers', 'drops', 'metrics', 'status'] as const
export type CommandName = (typeof COMMAND_NAMES)[number]

const MAX_WORDS = 100

const words: Leaf<string[]> = leaf({ type: 'array', items: { type: 'string' } }, (value, problem) => {
  if (typeof value === 'string')
    return problem(
      'wrong-type',
      `expected a list of words, ${found(value)}`,
      `[${value.split(' ').join(', ')}]: no shell reads it`,
    )
  if (!Array.isArray(value) || value.length > MAX_WORDS || !value.every(word => typeof word === 'string'))
    return problem(
      'wrong-type',
      `expected a list of words, ${found(value)}`,
      'command: [ip, netns, exec, n1]; quote numbers',
    )
  return value as string[]
})

const someWords: Leaf<string[]> = words.refine(value => value.length > 0, 'the command has no word') as Leaf<string[]>

const address: Leaf<string> = leaf({ type: 'string', format: 'ipv4' }, (value, problem) =>
  typeof value === 'string' && asIpv4(value) !== undefined
    ? value
    : problem('bad-address', `expected an IPv4 address, ${found(value)}`),
)

const deviceName: Leaf<string> = leaf({ type: 'string' }, (value, problem) =>
  typeof value === 'string' && /^[^\s/]{1,15}$/.test(value)
    ? value
    : problem('bad-interface', `expected the name of an interface, ${found(value)}`, 'interface: eth0'),
)

const need: Leaf<string> = leaf({ type: 'string' }, (value, problem) =>
  typeof value === 'string' && value in NEEDS
    ? value
    : problem(
        'not-one-of',
        `expected something that cases need, ${found(value)}`,
        didYouMean(String(value), Object.keys(NEEDS)),
      ),
)

const command = mapping({
  command: someWords,
  where: oneOf(['here', 'node']).exactOptional(),
})

const byName = <T>(item: Leaf<T>, what: string): Leaf<Record<string, T>> =>
  z.record(z.string().regex(/^[a-z0-9][a-z0-9.-]{0,62}$/, 'a name is small letters, digits, dots and hyphens'), item, {
    error: issue => `expected ${what} by name, ${found(issue.input)}`,
  }) as unknown as Leaf<Record<string, T>>

const file = mapping(
  {
    'castproof-inventory': oneOf([1]),
    description: text('a line about it', 200).exactOptional(),
    version: text('the version of the SUT', 64).exactOptional(),
    agent: someWords.exactOptional(),
    nodes: byName(
      mapping({
        command: words,
        uplink: deviceName.exactOptional(),
        overlay: deviceName.exactOptional(),
        address: address.exactOptional(),
      }),
      'nodes',
    ),
    pods: byName(mapping({ node: text('a node'), command: words, interface: deviceName.exactOptional() }), 'pods'),
    overlay: mapping({
      udpPort: int(1, 65_535, 'a UDP port').exactOptional(),
      vni: int(0, 0xff_ffff, 'a VNI'),
    }).exactOptional(),
    commands: mapping(Object.fromEntries(COMMAND_NAMES.map(name => [name, command.exactOptional()]))).exactOptional(),
    lacks: list(need, 'needs').exactOptional(),
  },
  'an inventory',
)

const DEFAULT_UDP_PORT = 8472

/** Every mistake of the file at once, each with its place. */
export function readInventory(path: string, shown = path): Inventory {
  const { source, errors } = parseSource(shown, bytesOf(path, shown))
  if (!source) throw new UserErrors(errors)
  const parsed = file.safeParse(source.value)
  if (!parsed.success) throw new UserErrors(userErrors(parsed.error, source))
  const given = parsed.data as unknown as Given
  const mistakes = [...errors, ...acrossParts(given, source)]
  if (mistakes.length > 0) throw new UserErrors(mistakes)
  return inventoryOf(given, shown)
}

interface Given {
  description?: string
  version?: string
  agent?: string[]
  nodes: Record<string, InventoryNode>
  pods: Record<string, { node: string; command: string[]; interface?: string }>
  overlay?: { udpPort?: number; vni: number }
  commands?: Partial<Record<CommandName, { command: string[]; where?: 'here' | 'node' }>>
  lacks?: string[]
}

function bytesOf(path: string, shown: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const hint = '--target exec:FILE names an inventory; docs/targets.md has one'
    if (code === 'ENOENT') throw new UserError('no-such-file', `there is no inventory ${shown}`, { hint })
    throw new UserError('inventory', `cannot read ${shown}: ${message}`, { hint })
  }
}

function acrossParts(given: Given, source: Source): UserError[] {
  const nodes = Object.keys(given.nodes)
  const strays = Object.entries(given.pods).filter(([, { node }]) => !nodes.includes(node))
  const mistakes = strays.map(
    ([pod, { node }]) =>
      new UserError('unknown-node', `no node is called ${node}`, {
        position: source.at(['pods', pod, 'node']),
        hint: didYouMean(node, nodes),
      }),
  )
  if (nodes.length === 0)
    mistakes.push(new UserError('no-nodes', 'there is no node', { position: source.at(['nodes']) }))
  const unaddressed = Object.entries(given.nodes).filter(
    ([, node]) => node.address === undefined && node.uplink === undefined,
  )
  return [
    ...mistakes,
    ...unaddressed.map(
      ([node]) =>
        new UserError('missing-key', `node ${node} has neither \`uplink\` nor \`address\``, {
          position: source.atKey(['nodes', node]),
          hint: 'uplink: eth0',
        }),
    ),
  ]
}

function inventoryOf(given: Given, shown: string): Inventory {
  const { description, version, agent = ['castproof', 'agent'], nodes, lacks = [], overlay } = given
  const commands = Object.entries(given.commands ?? {}).map(([name, { command: line, where = 'here' }]) => {
    const once = where === 'here' && !line.some(word => word.includes('{node}'))
    return [name, { command: line, where, once }]
  })
  return {
    description: description ?? `hosts of ${shown}`,
    agent,
    nodes,
    pods: Object.fromEntries(Object.entries(given.pods).map(([name, pod]) => [name, { interface: 'eth0', ...pod }])),
    ...(overlay === undefined ? {} : { overlay: { udpPort: DEFAULT_UDP_PORT, ...overlay } }),
    commands: Object.fromEntries(commands),
    lacks,
    ...(version === undefined ? {} : { version }),
  }
}
