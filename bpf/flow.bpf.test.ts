import { execFileSync } from 'node:child_process'
import * as assert from 'uvu/assert'
import { createNetns } from '../generators/linux/netns.ts'
import { suite } from '../test/suite.ts'
import { FLOW_LAYOUT, FlowCache } from './flow-cache.ts'
import { RECORD_FIELDS } from './flow-config.ts'
import { FLOW_CACHE_FAULTS, FLOW_FAULTS, flowFaultMask } from './flow-faults.ts'
import { objectPath } from './object-path.ts'
import { ROUTER_FAULTS, RouterFaults } from './router-faults.ts'

const test = suite('flow cache and BTF', { timeoutMs: 120_000 })

interface BtfType {
  kind: string
  name: string
  size?: number
  members?: { name: string; bits_offset: number }[]
  values?: { name: string; val: number }[]
}

function btf(object: string, kind: string, name: string): BtfType {
  const dump = execFileSync('bpftool', ['-j', 'btf', 'dump', 'file', objectPath(object)], { encoding: 'utf8' })
  const found = (JSON.parse(dump).types as BtfType[]).find(type => type.kind === kind && type.name === name)
  if (!found) throw new Error(`no ${kind} ${name} in BTF of ${object}`)
  return found
}

for (const [name, layout] of Object.entries(FLOW_LAYOUT))
  test(`layout of struct ${name}`, () => {
    const { size, members = [] } = btf('flow', 'STRUCT', name)
    const fromBtf = Object.fromEntries(members.map(member => [member.name, member.bits_offset / 8]))
    assert.equal({ ...layout }, { sizeBytes: size, ...fromBtf })
  })

/** Names in the C sources, as an enum that nothing uses leaves none in BTF. */
function enumerators(header: string, prefix: string): string[] {
  const text = execFileSync('grep', ['-oE', `^\t${prefix}[A-Z0-9_]+`, new URL(header, import.meta.url).pathname], {
    encoding: 'utf8',
  })
  const names = text.trim().split('\n')
  return names
    .map(name => name.trim().slice(prefix.length).toLowerCase().replaceAll('_', '-'))
    .filter(name => name !== 'max')
}

test('faults are those of the headers, in their order', () => {
  assert.equal(
    FLOW_CACHE_FAULTS.map(fault => fault.name),
    enumerators('flow-faults.h', 'FLOW_FAULT_'),
  )
  const routers = enumerators('router-faults.h', 'ROUTER_FAULT_')
  assert.equal(
    ROUTER_FAULTS.map(fault => fault.name.replace('-by-router', '')),
    routers,
  )
  assert.is(flowFaultMask([FLOW_FAULTS[3]?.name ?? '']), 8n)
})

test('keys of a record are the bits of enum flow_match', () => {
  const bits = Object.values(RECORD_FIELDS).flatMap(({ match }) => (match < 0 ? [] : [match]))
  assert.equal(
    bits,
    bits.map((_, i) => i),
  )
})

test('the verifier takes the programs with every single fault, and with all', () => {
  const ns = createNetns()
  const names = FLOW_CACHE_FAULTS.map(fault => fault.name)
  const options = { match: 0x3ff, outputCounters: true, sampling: 1, entries: 16 }
  for (const faults of [[], ...names.map(name => [name]), names]) FlowCache.load(ns, { ...options, faults }).close()
  for (const { name } of ROUTER_FAULTS) RouterFaults.attach([name], ns, []).close()
  ns.close()
})

test.run()
