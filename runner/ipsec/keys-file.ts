import { readFileSync, statSync } from 'node:fs'
import type { z } from 'zod'
import type { EspKey } from '../../captures/esp-opener.ts'
import { asIpv4 } from '../../generators/wire/address.ts'
import { HMAC_ICV_BITS, type HmacName } from '../../generators/wire/esp-cipher.ts'
import { UserError, UserErrors } from '../suite/errors.ts'
import { userErrors } from '../suite/issues.ts'
import { bool, found, int, leaf, list, mapping, oneOf, text } from '../suite/leaf.ts'
import { mistakes } from '../suite/mistakes.ts'
import { MAX_FILE_BYTES, parseSource, type Source } from '../suite/source.ts'
import { isBootId } from './derive.ts'
import { KeyBytes } from './key-bytes.ts'
import { globalKeys, type KeyNode, pairKeys } from './pair-keys.ts'
import { bytesOfHex, cipherOf, type EspKeys, parseSecretLines } from './secret.ts'
import { isTsharkTable, parseTsharkSas } from './tshark-sas.ts'

/**
 * Keys to open captures with: a YAML file of ours, Cilium's secret as it is, or Wireshark's table `esp_sa` (docs/encryption.md).
 * Whatever is wrong with the file is said with its place, and never with its text.
 */
export function readKeysFile(path: string, shown = path): EspKey[] {
  const content = readText(path, shown)
  if (isTsharkTable(content)) return parseTsharkSas(content, shown)
  if (/^\s*\d+\+?\s+\S+\(/.test(content)) return globalKeys(parseSecretLines(content, shown))
  try {
    return readYaml(content, shown)
  } catch (error) {
    throw error instanceof UserErrors ? new UserErrors(error.errors.map(discreet)) : error
  }
}

function readText(path: string, shown: string): string {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (!stat)
    throw new UserError('no-such-file', `there is no file ${shown}`, { hint: 'docs/encryption.md has the formats' })
  if (!stat.isFile()) throw new UserError('not-a-file', `${shown} is not a regular file`)
  if (stat.size > MAX_FILE_BYTES)
    throw new UserError('too-large', `${shown} has ${stat.size} bytes: that is no file of keys`)
  const content = readFileSync(path, 'utf8')
  if (content.trim() === '')
    throw new UserError('empty-file', `${shown} is empty`, { hint: 'docs/encryption.md has the formats' })
  return content
}

/** The error without the line that it is about, and without any run of hex digits that could be part of a key. */
function discreet(error: UserError): UserError {
  const without = (message: string) => message.replace(/(?:[0-9a-f]{2}[\s:-]?){4,}[0-9a-f]?/gi, '...')
  const position = error.position && { ...error.position, source: '' }
  return new UserError(error.code, without(error.message), {
    ...(position && { position }),
    ...(error.hint !== undefined && { hint: without(error.hint) }),
  })
}

const hexKey = leaf<KeyBytes>({ type: 'string' }, (value, problem) => {
  if (typeof value === 'number') return problem('wrong-type', 'the key was read as a number', "quote it: key: '0011…'")
  if (typeof value !== 'string') return problem('wrong-type', 'expected a key in hex digits')
  const bytes = bytesOfHex(value.replaceAll(/[\s:]/g, ''))
  if (typeof bytes === 'string') return problem('bad-key', `the key: ${bytes}`, 'hex digits, two an octet')
  return new KeyBytes(bytes)
})

const address = leaf<number>(
  { type: 'string' },
  (value, problem) =>
    asIpv4(String(value)) ??
    problem('bad-address', `expected an IPv4 address, ${found(value)}`, 'for example 192.168.50.1'),
)

const bootId = leaf<string>({ type: 'string' }, (value, problem) =>
  typeof value === 'string' && isBootId(value)
    ? value
    : problem('bad-boot-id', 'expected a boot ID of 36 characters', 'cat /proc/sys/kernel/random/boot_id on that node'),
)

const saSchema = mapping({
  spi: int(1, 0xffff_ffff, 'an SPI'),
  src: address.exactOptional(),
  dst: address.exactOptional(),
  algorithm: oneOf(['rfc4106(gcm(aes))']).exactOptional(),
  encryption: oneOf(['cbc(aes)']).exactOptional(),
  key: hexKey,
  integrity: oneOf(Object.keys(HMAC_ICV_BITS) as HmacName[]).exactOptional(),
  integrityKey: hexKey.exactOptional(),
  icvBits: int(64, 256, 'an ICV length in bits').exactOptional(),
  esn: bool().exactOptional(),
  sequenceHigh: int(0, 0xffff_ffff, 'the high half of a sequence number').exactOptional(),
  name: text('a name').exactOptional(),
}).transform((given, context): EspKey | undefined => {
  const wrong = mistakes(context, given)
  const keys = keysOf(given)
  if (typeof keys === 'string') return wrong('bad-sa', keys, 'docs/encryption.md has the formats')
  try {
    const { spi, src, dst, esn = false, sequenceHigh, name = `SPI ${spi}` } = given
    const ends = { ...(src === undefined ? {} : { src }), ...(dst === undefined ? {} : { dst }) }
    const high = sequenceHigh === undefined ? {} : { sequenceHigh }
    return { ...ends, ...high, sa: { spi, esn, cipher: cipherOf(keys) }, label: name, scope: 'pair' }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return wrong('bad-key', error.message, 'a key of that length, or the algorithm that it is for')
  }
})

interface GivenKeys {
  algorithm?: 'rfc4106(gcm(aes))'
  encryption?: 'cbc(aes)'
  key: KeyBytes
  integrity?: HmacName
  integrityKey?: KeyBytes
  icvBits?: number
}

/** The keys, or what is wrong with the choice of algorithms. */
function keysOf({ algorithm, encryption, key, integrity, integrityKey, icvBits }: GivenKeys): EspKeys | string {
  if (algorithm !== undefined && (encryption ?? integrity ?? integrityKey) === undefined)
    return { kind: 'aead', algorithm, key, icvBits: icvBits ?? 128 }
  if (algorithm !== undefined) return '`algorithm` has no `encryption`, `integrity` or `integrityKey` beside it'
  if (encryption === undefined || integrity === undefined || integrityKey === undefined)
    return 'expected `algorithm` and `key`, or `encryption`, `key`, `integrity` and `integrityKey`'
  const split = { kind: 'split' as const, encryption, encryptionKey: key, integrity, integrityKey }
  return icvBits === undefined ? split : { ...split, icvBits }
}

const ciliumSchema = mapping({
  secret: leaf<string>({ type: 'string' }, (value, problem) =>
    typeof value === 'string' ? value : problem('wrong-type', 'expected the lines of the secret', 'secret: |'),
  ),
  nodes: list(
    mapping({
      name: text('a name'),
      addresses: list(address, 'addresses', { min: 1 }),
      bootId: bootId.exactOptional(),
    }),
    'nodes',
  ).exactOptional(),
})

const fileSchema = mapping({
  castproof: oneOf([1]),
  sas: list(saSchema as z.ZodType<EspKey | undefined>, 'security associations').exactOptional(),
  cilium: ciliumSchema.exactOptional(),
})

function readYaml(content: string, shown: string): EspKey[] {
  const { source, errors } = parseSource(shown, Buffer.from(content))
  if (!source) throw new UserErrors(errors)
  const parsed = fileSchema.safeParse(source.value)
  if (!parsed.success) throw new UserErrors(userErrors(parsed.error, source))
  const { sas = [], cilium } = parsed.data
  const keys = sas.filter(key => key !== undefined)
  if (cilium) keys.push(...ciliumKeys(cilium, shown, source))
  if (keys.length === 0)
    throw new UserErrors([new UserError('no-keys', `${shown} holds no key`, { hint: 'give `sas:` or `cilium:`' })])
  return keys
}

function ciliumKeys(cilium: { secret: string; nodes?: KeyNode[] }, shown: string, source: Source): EspKey[] {
  // A block of text begins on the line below its key.
  const { line } = source.atKey(['cilium', 'secret'])
  const secrets = parseSecretLines(cilium.secret, shown, cilium.secret.includes('\n') ? line + 1 : line)
  return cilium.nodes ? pairKeys(secrets, cilium.nodes) : globalKeys(secrets)
}
