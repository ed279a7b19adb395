import { execa } from 'execa'
import { formatIpv4 } from '../../generators/wire/address.ts'
import type { GroupTable } from '../observation.ts'
import { UserError } from '../suite/errors.ts'
import { groupTablesOf } from './group-tables.ts'
import type { CommandName, Inventory, InventoryCommand } from './inventory.ts'
import type { RemoteControl } from './remote-site.ts'

const LIMIT_MS = 30_000

/** Groups and tables by the commands of an inventory; `nodeOf` tells its node by the name that suites use. */
export class CommandControl implements RemoteControl {
  readonly version?: string
  private readonly inventory: Inventory
  private readonly nodeOf: (node: string) => string
  /** Under way or done: what one run does for all nodes is run once. */
  private readonly onces = new Map<string, Promise<string>>()

  constructor(inventory: Inventory, nodeOf: (node: string) => string) {
    this.inventory = inventory
    this.nodeOf = nodeOf
    if (inventory.version !== undefined) this.version = inventory.version
  }

  async enableGroup(node: string, group: number): Promise<void> {
    this.onces.delete(`groupDelete ${formatIpv4(group)}`)
    await this.run('groupAdd', node, group)
  }

  async tryEnableGroup(node: string, group: number): Promise<boolean> {
    try {
      await this.enableGroup(node, group)
      return true
    } catch (error) {
      if (error instanceof CommandFailed && /limit|full|too many|E2BIG|already holds/i.test(error.message)) return false
      throw error
    }
  }

  async disableGroup(node: string, group: number): Promise<void> {
    this.onces.delete(`groupAdd ${formatIpv4(group)}`)
    await this.run('groupDelete', node, group)
  }

  async tables(node: string): Promise<GroupTable[]> {
    const text = await this.run('subscribers', node)
    return text === undefined ? [] : parsed('subscribers', text, groupTablesOf)
  }

  async drops(node: string): Promise<Record<string, number>> {
    const text = await this.run('drops', node)
    return text === undefined ? {} : parsed('drops', text, value => JSON.parse(value) as Record<string, number>)
  }

  async metrics(node: string): Promise<string> {
    return (await this.run('metrics', node)) ?? ''
  }

  /** Undefined where the inventory has no such command: the SUT needs none. */
  private run(name: CommandName, node: string, group?: number): Promise<string> | undefined {
    const entry = this.inventory.commands[name]
    if (!entry) return undefined
    if (!entry.once || group === undefined) return this.start(entry, node, group)
    const key = `${name} ${formatIpv4(group)}`
    const known = this.onces.get(key) ?? this.start(entry, node, group)
    this.onces.set(key, known)
    return known
  }

  private async start({ command, where }: InventoryCommand, node: string, group?: number): Promise<string> {
    const name = this.nodeOf(node)
    const prefix = where === 'node' ? (this.inventory.nodes[name]?.command ?? []) : []
    const put = (word: string): string =>
      word.replaceAll('{node}', name).replaceAll('{group}', group === undefined ? '' : formatIpv4(group))
    const [file = '', ...args] = [...prefix, ...command.map(put)]
    const result = await execa(file, args, { reject: false, stdin: 'ignore', timeout: LIMIT_MS })
    if (result.failed) throw new CommandFailed([file, ...args], result.stderr || result.shortMessage || 'it failed')
    return result.stdout
  }
}

/** A command of the inventory that did not do what it was asked. */
export class CommandFailed extends Error {
  constructor(words: readonly string[], why: string) {
    super(`${words.join(' ')}: ${why.trim().split('\n').slice(-2).join('; ')}`)
    this.name = 'CommandFailed'
  }
}

function parsed<T>(name: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new UserError('inventory', `command ${name} of the inventory: ${why}; it printed: ${text.slice(0, 200)}`)
  }
}
