import { execFileSync } from 'node:child_process'
import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { Datapath } from './datapath.ts'
import { DATAPATH_FAULTS, FAULTS, faultMask } from './faults.ts'
import { COMMAND, COUNTERS, DROP_REASONS, EVENT, LAYOUT } from './maps.ts'
import { objectPath } from './object-path.ts'

const test = suite('maps and BTF', { timeoutMs: 120_000 })

interface BtfType {
  kind: string
  name: string
  size?: number
  members?: { name: string; bits_offset: number }[]
  values?: { name: string; val: number }[]
}

const object = objectPath('mcast')
const types: BtfType[] = JSON.parse(
  execFileSync('bpftool', ['-j', 'btf', 'dump', 'file', object], { encoding: 'utf8' }),
).types

function find(kind: string, name: string): BtfType {
  const found = types.find(type => type.kind === kind && type.name === name)
  if (!found) throw new Error(`no ${kind} ${name} in BTF`)
  return found
}

/** Enumerators without their prefix, lower case with dashes, in order; the one that only counts them left out. */
function enumerators(name: string, prefix: string): string[] {
  const values = (find('ENUM', name).values ?? []).filter(value => value.name !== `${prefix}_MAX`)
  return values.map(value =>
    value.name
      .slice(prefix.length + 1)
      .toLowerCase()
      .replaceAll('_', '-'),
  )
}

for (const [name, layout] of Object.entries(LAYOUT))
  test(`layout of struct ${name}`, () => {
    const { size, members = [] } = find('STRUCT', name)
    const fromBtf = Object.fromEntries(members.map(member => [member.name, member.bits_offset / 8]))
    assert.equal({ ...layout }, { sizeBytes: size, ...fromBtf })
  })

test('drop reasons are those of enum mcast_drop, in its order', () => {
  assert.equal([...DROP_REASONS], enumerators('mcast_drop', 'DROP'))
})

test('counters are those of enum mcast_counter, in its order', () => {
  assert.equal([...COUNTERS], enumerators('mcast_counter', 'COUNTER'))
})

test('faults of the datapath are those of enum mcast_fault, in its order', () => {
  assert.equal(
    DATAPATH_FAULTS.map(fault => fault.name),
    enumerators('mcast_fault', 'FAULT'),
  )
})

test('commands and events have the numbers of the enumerations', () => {
  const numbers = (name: string) => (find('ENUM', name).values ?? []).map(value => value.val)
  assert.equal(Object.values(COMMAND), numbers('mcast_command_kind'))
  assert.equal(Object.values(EVENT), numbers('mcast_event_kind'))
})

test('every fault has its own name, a requirement and a description', () => {
  assert.is(new Set(FAULTS.map(fault => fault.name)).size, FAULTS.length)
  for (const fault of FAULTS) {
    assert.ok(fault.requirements.length > 0, fault.name)
    assert.ok(fault.description.length > 10, fault.name)
  }
  assert.throws(() => faultMask(['no-such-fault']), /no-such-fault/)
})

test('the verifier takes the programs with every single fault, and with all', () => {
  const names = FAULTS.map(fault => fault.name)
  for (const faults of [[], ...names.map(name => [name]), names])
    Datapath.load({ node: { name: 'n1', address: 0x0ae00004 }, vni: 2, faults }).close()
})

test.run()
