import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { formatUserError, UserError, UserErrors } from '../suite/errors.ts'
import { readInventory } from './inventory.ts'

const test = suite('inventory')

const GOOD = `castproof-inventory: 1
nodes:
  n1: { command: [ip, netns, exec, n1], uplink: eth0 }
pods:
  a: { node: n1, command: [ip, netns, exec, a] }
`

let folder: string

test.before(() => {
  folder = mkdtempSync(join(tmpdir(), 'castproof-inventory-'))
})

test.after(() => rmSync(folder, { recursive: true }))

function read(text: string) {
  const path = join(folder, 'inventory.yaml')
  writeFileSync(path, text)
  return readInventory(path, 'inventory.yaml')
}

function mistakesOf(text: string): string[] {
  try {
    read(text)
  } catch (error) {
    if (error instanceof UserErrors) return error.errors.map(formatUserError)
    throw error
  }
  return []
}

test('what is left out has its default', () => {
  const { agent, pods, commands, lacks, overlay } = read(GOOD)
  assert.equal(agent, ['castproof', 'agent'])
  assert.equal(pods['a'], { node: 'n1', command: ['ip', 'netns', 'exec', 'a'], interface: 'eth0' })
  assert.equal([commands, lacks, overlay], [{}, [], undefined])
})

test('a command that names no node is run once for all, on this machine', () => {
  const commands =
    'commands:\n  groupAdd: { command: [add, "{group}"] }\n  groupDelete: { command: [del, "{group}", "{node}"] }\n'
  const found = read(`${GOOD}${commands}  subscribers: { command: [list], where: node }\n`).commands
  assert.equal([found.groupAdd?.once, found.groupDelete?.once, found.subscribers?.once], [true, false, false])
})

const BROKEN: readonly [change: (good: string) => string, message: RegExp][] = [
  [text => text.replace('node: n1', 'node: n9'), /inventory\.yaml:5:14: error: no node is called n9 \[unknown-node\]/],
  [text => text.replace('[ip, netns, exec, a]', 'ip netns exec a'), /:5:27: error: expected a list of words/],
  [
    text => text.replace('uplink: eth0', 'uplnk: eth0'),
    /:3:\d+: error: unknown key `uplnk`[\s\S]*did you mean `uplink`/,
  ],
  [text => text.replace(', uplink: eth0', ''), /:3:3: error: node n1 has neither `uplink` nor `address`/],
  [text => text.replace(', uplink: eth0', ', address: 1.2.3'), /expected an IPv4 address, found text `1\.2\.3`/],
  [text => `${text}lacks: [ssn]\n`, /:6:9: error: expected something that cases need[\s\S]*did you mean `ssm`/],
  [text => text.replace('castproof-inventory: 1', 'castproof-inventory: 2'), /:1:22: error: expected one of 1/],
  [text => text.replace('exec, a]', 'exec, 5]'), /expected a list of words[\s\S]*quote numbers/],
  [() => 'nodes: [', /inventory\.yaml:1:/],
]

test('every mistake is told with its place', () => {
  for (const [change, message] of BROKEN) assert.match(mistakesOf(change(GOOD)).join('\n'), message)
})

test('a file that is not there is a mistake of whoever named it', () => {
  assert.throws(
    () => readInventory('/nowhere/at/all.yaml'),
    (error: unknown) => error instanceof UserError && /there is no inventory/.test(error.message),
  )
})

test.run()
