import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { parse } from 'yaml'
import { openCapture } from '../../captures/capture-file.ts'
import { Decryptor } from '../../captures/decrypt.ts'
import { parseIpv4 } from '../../generators/wire/address.ts'
import { stampSequence } from '../../generators/wire/stamp.ts'
import { suite } from '../../test/suite.ts'
import { deriveKeys, type TunnelEnd } from './derive.ts'
import { readKeysFile } from './keys-file.ts'
import { type AeadKeys, parseSecretLines } from './secret.ts'

const test = suite('keys of each pair of nodes')

/**
 * The first ESP frames of `n1/eth0` in a run of the reference target in the VM (Linux 6.1, VXLAN in ESP, extended numbers), and the keys that
 * the run left: `castproof run suites/encryption/nothing-in-clear.yaml --sandbox vm`, then editcap -r.
 */
const CAPTURE = fileURLToPath(new URL('testdata/reference.pcapng', import.meta.url))
const KEYS = fileURLToPath(new URL('testdata/reference.yaml', import.meta.url))

/** SPI, number, key and stamp of each ESP frame, as we open them. */
function opened(): { frame: number; text: string; payload: string }[] {
  const decryptor = new Decryptor<number>(readKeysFile(KEYS))
  const frames: { frame: number; text: string; payload: string }[] = []
  const capture = openCapture(CAPTURE)
  capture.read(({ bytes, at, length, originalLength }) => {
    const result = decryptor.add('', bytes.slice(at, at + length), originalLength, 0)?.result
    assert.is(result?.kind, 'clear')
    if (result?.kind !== 'clear') return
    const [esp] = result.opened
    const text = `${esp?.key.label} ${esp?.sequence} ${stampSequence(result.frame, 92)}`
    frames.push({ frame: frames.length + 1, text, payload: Buffer.from(result.frame.subarray(92)).toString('hex') })
  })
  capture.close()
  return frames
}

test("what the kernel sealed with the pair's own key opens with it, and with nothing else that releases have made", () => {
  const frames = opened()
  assert.is(frames.length, 12)
  for (const { text } of frames) assert.match(text, /^n\d to n\d, pair key with boot IDs \d+ \d+$/)
})

test('tshark reads the same, with the keys that we derive', () => {
  const { cilium } = parse(readFileSync(KEYS, 'utf8')) as {
    cilium: { secret: string; nodes: { addresses: string[]; bootId: string }[] }
  }
  const ends = cilium.nodes.map(({ addresses: [address = ''], bootId }) => ({ address, bootId }))
  // The run made another secret after these frames.
  const secret = parseSecretLines(cilium.secret, KEYS)[0]
  const table = ends.flatMap(from => ends.filter(to => to !== from).map(to => tableLine(from, to)))
  function tableLine(from: { address: string; bootId: string }, to: { address: string; bootId: string }): string {
    const end = ({ address, bootId }: { address: string; bootId: string }): TunnelEnd => ({
      address: parseIpv4(address),
      bootId,
    })
    const { key } = deriveKeys(secret!.keys, 'boot-ids', end(from), end(to)) as AeadKeys
    const fields = [
      'IPv4',
      from.address,
      to.address,
      '0x00000003',
      'AES-GCM with 16 octet ICV [RFC4106]',
      `0x${Buffer.from(key.bytes).toString('hex')}`,
      'NULL',
      '',
    ]
    return `uat:esp_sa:${fields.map(field => `"${field}"`).join(',')}`
  }
  const args = [
    '-r',
    CAPTURE,
    '-d',
    'udp.port==8472,vxlan',
    '-o',
    'esp.enable_encryption_decode:TRUE',
    ...table.flatMap(line => ['-o', line]),
  ]
  const text = execFileSync('tshark', [...args, '-T', 'fields', '-e', 'frame.number', '-e', 'udp.payload'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const theirs = text
    .trimEnd()
    .split('\n')
    .map(line => {
      const [frame = '', payloads = ''] = line.split('\t')
      return `${frame} ${payloads.split(',').at(-1)}`
    })
  assert.equal(
    theirs,
    opened().map(({ frame, payload }) => `${frame} ${payload}`),
  )
})

test.run()
