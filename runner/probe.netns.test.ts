import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { tryOut } from './probe/capability.ts'
import { type Capability, probe } from './probe.ts'

const test = suite('probe')

const CASTPROOF = fileURLToPath(new URL('../castproof', import.meta.url))

test('every capability says what was found, and a remedy when it is not there', async () => {
  const before = readdirSync(tmpdir()).filter(name => name.startsWith('castproof-probe-'))
  const capabilities = await probe()
  assert.is(new Set(capabilities.map(one => one.name)).size, capabilities.length)
  for (const one of capabilities) {
    assert.ok(one.found.length > 0 && !one.found.includes('\n'), JSON.stringify(one))
    assert.is(one.ok, one.remedy === '', JSON.stringify(one))
    assert.ok(one.neededFor.length > 0)
  }
  const after = readdirSync(tmpdir()).filter(name => name.startsWith('castproof-probe-'))
  assert.equal(after, before)
})

test('without privileges it says so and exits 3', async () => {
  const nobody = ['--reuid', '65534', '--clear-groups', '--inh-caps=-all', '--bounding-set=-all']
  const { exitCode, stdout } = await execa('setpriv', [...nobody, CASTPROOF, 'probe', '--json'], { reject: false })
  assert.is(exitCode, 3)
  const { reference, capabilities } = JSON.parse(stdout) as { reference: boolean; capabilities: Capability[] }
  assert.is(reference, false)
  const lacking = capabilities.filter(one => !one.ok).map(one => one.name)
  for (const name of ['root', 'namespaces', 'packet-socket', 'veth', 'tc-bpf']) assert.ok(lacking.includes(name), name)
})

test('a trial that throws tells the line that matters', async () => {
  const trial = { name: 'x', neededFor: ['y'], remedy: 'do z' }
  const run = () => {
    throw Object.assign(new Error('Command failed: ip\nmore'), { stderr: 'warning: a\nError: Unknown device type.' })
  }
  const expected = { ...trial, ok: false, found: 'Error: Unknown device type.' }
  assert.equal(await tryOut({ ...trial, run }), expected)
})

test.run()
