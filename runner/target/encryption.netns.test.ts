import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { inNetns } from '../../generators/linux/netns.ts'
import { skip } from '../../test/skip.ts'
import { suite } from '../../test/suite.ts'
import { readKeysFile } from '../ipsec/keys-file.ts'
import type { EncryptionTopology } from '../suite/plan-types.ts'
import { Bed } from './bed.ts'
import { Encryption } from './encryption.ts'
import { IpSession } from './ip-session.ts'
import { ipWithKeys } from './xfrm-kernel.ts'

const test = suite('encryption of a bed', { timeoutMs: 120_000 })

const BOTH: EncryptionTopology = {
  mode: 'both',
  algorithm: 'aes-gcm',
  derivation: 'boot-ids',
  esn: true,
  windowPackets: 1024,
}
const PEERS = 2
const LAYERS = 2
const STATES = PEERS * LAYERS * 2

let bed: Bed | undefined
let encryption: Encryption | undefined
test.afterEach(async () => {
  await encryption?.close()
  encryption = undefined
  await bed?.close()
  bed = undefined
})

/** Undefined, and the test counts as skipped, where the kernel has no ESP. */
async function encrypted(options: Partial<EncryptionTopology> = {}, faults: string[] = []) {
  bed = await Bed.create({ nodes: ['n1', 'n2', 'n3'], pods: [] })
  encryption = new Encryption(bed.nodeList, { ...BOTH, ...options }, { vni: 2, setRouter: () => {} })
  await encryption.prepare()
  try {
    await encryption.install(faults)
    return encryption
  } catch (error) {
    if (!/algorithm not found|not supported|No such file/.test(String(error))) throw error
    skip('esp', String(error))
    return undefined
  }
}

test('states both ways with every other node, in the declared form', async () => {
  for (const algorithm of ['aes-gcm', 'aes-gcm-256', 'aes-cbc-sha256', 'aes-cbc-sha512'] as const) {
    const encryption = await encrypted({ algorithm })
    if (!encryption) return
    const states = await encryption.states('n1')
    assert.is(states.length, STATES, algorithm)
    assert.ok(states.every(state => state.spi === 3 && state.esn && state.windowPackets === 1024))
    assert.is(states.filter(state => state.direction === 'out' && state.layer === 'overlay').length, PEERS)
    await encryption.close()
    await bed?.close()
  }
})

test('a rotation has both keys for a while, then the new one; numbers may be set at both ends', async () => {
  const encryption = await encrypted()
  if (!encryption) return
  await encryption.beginRotation()
  assert.is((await encryption.states('n2')).length, 2 * STATES)
  await encryption.endRotation()
  const states = await encryption.states('n2')
  assert.equal(
    states.map(state => state.spi),
    states.map(() => 4),
  )
  await encryption.setSequence({ node: 'n1', peer: 'n2', sequence: 2 ** 32 + 5 })
  const out = (await encryption.states('n1')).filter(state => state.oseq === 2 ** 32 + 5)
  const seen = (await encryption.states('n2')).filter(state => state.seq === 2 ** 32 + 5)
  assert.is(out.length, LAYERS)
  assert.is(seen.length, LAYERS)
})

test('what was changed is as new after restore, with other keys', async () => {
  const encryption = await encrypted()
  if (!encryption) return
  await encryption.loseStates({ node: 'n1', peer: 'n2', direction: 'out' })
  assert.is((await encryption.states('n1')).length, STATES - LAYERS)
  await encryption.forget(['n3'])
  assert.is((await encryption.states('n3')).length, 0)
  await encryption.restore()
  for (const node of ['n1', 'n2', 'n3']) assert.is((await encryption.states(node)).length, STATES)
  const secrets = encryption.keysFile().match(/^ {4}3\+ .*$/gm) ?? []
  assert.is(new Set(secrets).size, 2)
})

test('the keys file is one that castproof decrypt reads, also after a reboot', async () => {
  const encryption = await encrypted()
  if (!encryption) return
  const file = join(mkdtempSync(join(tmpdir(), 'castproof-keys-')), 'keys.yaml')
  const readAgain = (): number => {
    writeFileSync(file, encryption.keysFile())
    return readKeysFile(file).length
  }
  const before = readAgain()
  await encryption.reboot(['n1'])
  assert.ok(before > 0 && readAgain() > before)
  rmSync(dirname(file), { recursive: true })
})

test('no key in what ip says, in arguments, or in what is observed', async () => {
  const encryption = await encrypted()
  if (!encryption || !bed) return
  const [node] = bed.nodeList
  assert.ok(node)
  const { stdout } = await inNetns(node.ns, () => execa('ip', ['xfrm', 'state']))
  const keys = [...stdout.matchAll(/aead \S+ 0x([0-9a-f]+)/g)].map(match => match[1] ?? '')
  assert.ok(keys.length > 0)
  const session = new IpSession(node.ns)
  // Where it wants a length, it repeats what it got.
  const wrong = `xfrm state add src 1.1.1.1 dst 2.2.2.2 proto esp spi 1 mode tunnel aead rfc4106(gcm(aes)) 128 0x${keys[0]}`
  const said = await ipWithKeys(session, [wrong]).then(
    () => '',
    error => String(error),
  )
  assert.match(said, /\[key\]/)
  await session.close()
  const told = said + JSON.stringify([await encryption.states('n1'), await encryption.errors('n1')])
  for (const key of keys) assert.not.match(told, new RegExp(key.slice(0, 8)))
})

test.run()
