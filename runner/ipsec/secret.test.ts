import { inspect } from 'node:util'
import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { parseIpv4 } from '../../generators/wire/address.ts'
import { suite } from '../../test/suite.ts'
import { formatUserError, UserError } from '../suite/errors.ts'
import { DERIVATIONS, deriveKeys, type TunnelEnd } from './derive.ts'
import { type AeadKeys, cipherOf, type EspKeys, parseSecret, type SplitKeys } from './secret.ts'

const test = suite('the secret cilium-ipsec-keys')

const KEY = '00112233445566778899aabbccddeeff01020304'
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const aead = (keys: EspKeys) => hex((keys as AeadKeys).key.bytes)

test('AEAD form, with and without + and 0x; blank lines', () => {
  for (const [line, spi, perPair] of [
    [`3+ rfc4106(gcm(aes)) ${KEY} 128`, 3, true],
    [`15 rfc4106(gcm(aes)) 0x${KEY} 96\n`, 15, false],
    [`\n  1+  rfc4106(gcm(aes))\t${KEY.toUpperCase()} 128  \r\n\n`, 1, true],
  ] as const) {
    const secret = parseSecret(line, 'keys')
    assert.equal([secret.spi, secret.perPair, aead(secret.keys)], [spi, perPair, KEY])
  }
})

test('split form; the ICV is what Linux takes when told nothing', () => {
  const secret = parseSecret(`4 hmac(sha256) ${'ab'.repeat(32)} cbc(aes) ${'cd'.repeat(16)}`, 'keys')
  const keys = secret.keys as SplitKeys
  assert.equal([hex(keys.integrityKey.bytes), hex(keys.encryptionKey.bytes)], ['ab'.repeat(32), 'cd'.repeat(16)])
  assert.is(cipherOf(keys).icvBytes, 12)
})

test('of several lines the last is in force, and each must be right', () => {
  assert.is(parseSecret(`3+ rfc4106(gcm(aes)) ${KEY} 128\n4+ rfc4106(gcm(aes)) ${KEY} 128`, 'keys').spi, 4)
  assert.throws(
    () => parseSecret(`3 bad\n4+ rfc4106(gcm(aes)) ${KEY} 128`, 'keys'),
    (e: UserError) => e.line === 1,
  )
})

const MISTAKES: [line: string, message: RegExp][] = [
  ['', /there is no key/],
  [`rfc4106(gcm(aes)) ${KEY} 128`, /field 1 is no SPI/],
  [`${KEY} rfc4106(gcm(aes)) 3 128`, /field 1 is no SPI/],
  [`0 rfc4106(gcm(aes)) ${KEY} 128`, /SPI 0 is not from 1 to 15/],
  [`16+ rfc4106(gcm(aes)) ${KEY} 128`, /SPI 16 is not from 1 to 15/],
  [`3 rfc4106(gcm(aes)) ${KEY}`, /expected 4 fields with rfc4106\(gcm\(aes\)\), found 3/],
  [`3 rfc4106(gcm(aes)) ${KEY} 128 9`, /expected 4 fields .* found 5/],
  [`3 rfc4106(gcm(aes)) ${KEY} 64`, /field 4 is no ICV length/],
  [`3 rfc4106(gcm(aes)) ${KEY} ${KEY}`, /field 4 is no ICV length/],
  [`3 rfc4106(gcm(aes)) ${KEY} 256`, /ICV of 64, 96 or 128 bits, not 256/],
  [`3 rfc4106(gcm(aes)) ${KEY.slice(2)} 128`, /takes 20, 28 or 36 octets .* not 19/],
  [`3 rfc4106(gcm(aes)) ${KEY.slice(1)} 128`, /field 3, the key: 39 hex digits are no whole octets/],
  [`3 rfc4106(gcm(aes)) x${KEY} 128`, /field 3, the key: character 1 is no hex digit/],
  ['3 rfc4106(gcm(aes)) 0x 128', /field 3, the key: there are no hex digits/],
  [
    `3 rfc7539esp(chacha20,poly1305) ${KEY} 128`,
    /algorithm rfc7539esp\(chacha20,poly1305\) is not known; there are rfc4106/,
  ],
  [`3 hmac(md5) ${KEY} cbc(aes) ${KEY}`, /algorithm hmac\(md5\) is not known; there are hmac\(sha1\)/],
  [`3 ${KEY} hmac(sha256) cbc(aes) ${KEY}`, /field 2: is no algorithm that is known/],
  [`3 hmac(sha256) ${KEY} cbc(aes)`, /expected 5 fields with hmac\(sha256\), found 4/],
  [`3 hmac(sha256) ${KEY} cbc(des3_ede) ${KEY}`, /field 4: algorithm cbc\(des3_ede\) is not known/],
  [`3 hmac(sha256) ${KEY} cbc(aes) ${KEY}`, /cbc\(aes\) takes 16, 24 or 32 octets, not 20/],
]

for (const [line, message] of MISTAKES) {
  test(`refused: ${line.replaceAll(KEY.slice(2), '…')}`, () => {
    const error = caught(() => parseSecret(`\n${line}`, 'keys.txt'))
    assert.ok(error instanceof UserError)
    assert.match(error.message, message)
    assert.match(formatUserError(error), /^keys\.txt:[12]:1: error: .* \[bad-secret\]\n {2}= the format is SPI/)
    assert.not(containsPartOf(`${formatUserError(error)} ${inspect(error)}`, KEY))
  })
}

test('any text is read or refused, and never repeated', () => {
  const words = fc.array(
    fc.oneof(fc.constantFrom('3+', 'rfc4106(gcm(aes))', 'hmac(sha256)', 'cbc(aes)', '128', KEY, '\n'), fc.string()),
  )
  fc.assert(
    fc.property(words, list => {
      const error = caught(() => parseSecret(list.join(' '), 'k'))
      assert.ok(error === undefined || error instanceof UserError, String(error))
      assert.not(containsPartOf(formatUserError(error ?? new UserError('', '')), KEY))
    }),
    { numRuns: 2000 },
  )
})

const A: TunnelEnd = { address: parseIpv4('192.168.50.1'), bootId: '11111111-2222-3333-4444-555555555555' }
const B: TunnelEnd = { address: parseIpv4('192.168.50.2'), bootId: 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee' }

// Each computed apart from this code: printf and sha256sum over the secret, both addresses as octets and the boot IDs.
test('a key for each direction of each pair', () => {
  const { keys } = parseSecret(`3+ rfc4106(gcm(aes)) ${KEY} 128`, 'keys')
  assert.is(aead(deriveKeys(keys, 'boot-ids', A, B)), '0164dea4a28b2b6096ba77ddf0f93a028a66d351')
  assert.is(aead(deriveKeys(keys, 'boot-ids', B, A)), '9bcddf9b29d9f9d76148ada3e56d41199a1f74a0')
  assert.is(aead(deriveKeys(keys, 'addresses', A, B)), '3d1f9bd5a90c23b812c773a257a4fe34244b13dc')
  assert.is(aead(deriveKeys(keys, 'global', A, B)), KEY)
})

test('authentication and encryption keys are derived each for itself, above 32 octets with SHA-512', () => {
  const { keys } = parseSecret(`3+ hmac(sha512) ${'ab'.repeat(64)} cbc(aes) ${'cd'.repeat(16)}`, 'keys')
  const derived = deriveKeys(keys, 'boot-ids', A, B) as SplitKeys
  assert.is(
    hex(derived.integrityKey.bytes),
    'c3a5e548dfbcc4b7e7de457c261124931ad052980cfd2ddcf528995abccffc52a6f060c8c7ed5032a319350328915cf4cf79e79c171a176cb7847ad3f466c688',
  )
  assert.is(hex(derived.encryptionKey.bytes), 'f1abc3c16fcf860c4f9ea4d999510f75')
})

test('boot IDs that are missing or something else are refused', () => {
  const { keys } = parseSecret(`3+ rfc4106(gcm(aes)) ${KEY} 128`, 'keys')
  for (const end of [{ address: 1 }, { address: 1, bootId: 'x' }]) {
    assert.throws(() => deriveKeys(keys, 'boot-ids', A, end), /boot ID of a node is missing/)
  }
})

test('keys printed, serialised or in a message are [key]', () => {
  const secret = parseSecret(`3+ rfc4106(gcm(aes)) ${KEY} 128`, 'keys')
  for (const derivation of DERIVATIONS) {
    const keys = deriveKeys(secret.keys, derivation, A, B)
    const shown = [
      inspect(keys, { depth: 9, showHidden: true }),
      JSON.stringify(keys),
      `${(keys as AeadKeys).key}`,
    ].join()
    assert.not(containsPartOf(shown, aead(keys)))
    assert.match(shown, /\[key\]/)
  }
})

/** Any eight digits of the key. */
function containsPartOf(text: string, key: string): boolean {
  for (let i = 0; i + 8 <= key.length; i++) if (text.toLowerCase().includes(key.slice(i, i + 8))) return true
  return false
}

function caught(run: () => unknown): UserError | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    return error as UserError
  }
}

test.run()
