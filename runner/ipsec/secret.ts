import {
  cbcHmacCipher,
  type EspCipher,
  gcmCipher,
  HMAC_ICV_BITS,
  type HmacName,
} from '../../generators/wire/esp-cipher.ts'
import { UserError } from '../suite/errors.ts'
import { KeyBytes } from './key-bytes.ts'

/** AES-GCM: the key with its salt. */
export interface AeadKeys {
  kind: 'aead'
  algorithm: 'rfc4106(gcm(aes))'
  key: KeyBytes
  icvBits: number
}

/** Encryption and integrity apart. */
export interface SplitKeys {
  kind: 'split'
  encryption: 'cbc(aes)'
  encryptionKey: KeyBytes
  integrity: HmacName
  integrityKey: KeyBytes
  /** Left out: what Linux takes when told nothing, as Cilium does. */
  icvBits?: number
}

export type EspKeys = AeadKeys | SplitKeys

/** A line of the secret `cilium-ipsec-keys`. */
export interface IpsecSecret {
  spi: number
  /** A `+` behind the SPI: a key for each direction of each pair of nodes, and extended sequence numbers. */
  perPair: boolean
  keys: EspKeys
}

/** The SPI stands in four bits of a packet's mark. */
export const MAX_CILIUM_SPI = 15

const FORMAT = 'SPI[+] rfc4106(gcm(aes)) HEX 128, or SPI[+] hmac(sha256) HEX cbc(aes) HEX'

/** The key in force: of several lines the last. */
export function parseSecret(text: string, file: string): IpsecSecret {
  return parseSecretLines(text, file).at(-1) as IpsecSecret
}

/**
 * Every line's key, at least one: a capture may hold packets of before a rotation. UserError with place, and never with a word
 * that could be a key.
 */
export function parseSecretLines(text: string, file: string, firstLine = 1): IpsecSecret[] {
  const lines = text.split(/\r?\n/).map((line, i) => ({ line, number: i + firstLine }))
  const secrets = lines
    .filter(({ line }) => line.trim() !== '')
    .map(({ line, number }) => parseLine(line, message => refuse(file, number, message)))
  if (secrets.length === 0) throw refuse(file, firstLine, 'there is no key')
  return secrets
}

type Refuse = (message: string) => UserError

/** The line itself is not shown: it is a key. */
function refuse(file: string, line: number, message: string): UserError {
  const position = { file, line, col: 1, length: 1, source: '' }
  return new UserError('bad-secret', message, { position, hint: `the format is ${FORMAT}` })
}

function parseLine(line: string, wrong: Refuse): IpsecSecret {
  const [first = '', ...fields] = line.trim().split(/\s+/)
  const spi = /^(\d{1,9})(\+?)$/.exec(first)
  if (!spi) throw wrong('field 1 is no SPI: a number from 1 to 15, with + for a key of each pair of nodes')
  const number = Number(spi[1])
  if (number < 1 || number > MAX_CILIUM_SPI) throw wrong(`SPI ${number} is not from 1 to ${MAX_CILIUM_SPI}`)
  return { spi: number, perPair: spi[2] === '+', keys: keysOf(fields, wrong) }
}

function keysOf(fields: readonly string[], wrong: Refuse): EspKeys {
  const [algorithm = '', key = '', ...rest] = fields
  try {
    return algorithm.startsWith('rfc') ? aeadKeys(algorithm, key, rest, wrong) : splitKeys(algorithm, key, rest, wrong)
  } catch (error) {
    // From the cipher: lengths, and no keys.
    throw error instanceof RangeError ? wrong(error.message) : error
  }
}

function aeadKeys(algorithm: string, hex: string, rest: readonly string[], wrong: Refuse): AeadKeys {
  if (algorithm !== 'rfc4106(gcm(aes))') throw wrong(unknownAlgorithm(2, algorithm, ['rfc4106(gcm(aes))']))
  if (rest.length !== 1) throw wrong(`expected 4 fields with ${algorithm}, found ${rest.length + 3}`)
  const icvBits = Number(/^\d{1,4}$/.exec(rest[0] ?? '')?.[0])
  if (![96, 128, 256].includes(icvBits)) throw wrong('field 4 is no ICV length in bits: 96 or 128')
  const keys: AeadKeys = { kind: 'aead', algorithm, key: hexKey(hex, 3, wrong), icvBits }
  // Cilium's parser takes 256, which no kernel has.
  cipherOf(keys)
  return keys
}

function splitKeys(integrity: string, integrityHex: string, rest: readonly string[], wrong: Refuse): SplitKeys {
  if (!isHmac(integrity))
    throw wrong(unknownAlgorithm(2, integrity, [...Object.keys(HMAC_ICV_BITS), 'rfc4106(gcm(aes))']))
  if (rest.length !== 2) throw wrong(`expected 5 fields with ${integrity}, found ${rest.length + 3}`)
  const [encryption = '', encryptionHex = ''] = rest
  if (encryption !== 'cbc(aes)') throw wrong(unknownAlgorithm(4, encryption, ['cbc(aes)']))
  const integrityKey = hexKey(integrityHex, 3, wrong)
  const keys: SplitKeys = {
    kind: 'split',
    encryption,
    encryptionKey: hexKey(encryptionHex, 5, wrong),
    integrity,
    integrityKey,
  }
  cipherOf(keys)
  return keys
}

export function isHmac(name: string): name is HmacName {
  return Object.hasOwn(HMAC_ICV_BITS, name)
}

/** Only what looks like an algorithm is repeated: fields in the wrong order put a key there. */
function unknownAlgorithm(field: number, name: string, known: readonly string[]): string {
  const shown = /^[a-z]+[\da-z]*\([\w(), -]{1,40}\)$/.test(name)
    ? `algorithm ${name} is not known`
    : 'is no algorithm that is known'
  return `field ${field}: ${shown}; there are ${known.join(', ')}`
}

function hexKey(text: string, field: number, wrong: Refuse): KeyBytes {
  const bytes = bytesOfHex(text)
  if (typeof bytes === 'string') throw wrong(`field ${field}, the key: ${bytes}`)
  return new KeyBytes(bytes)
}

/** What is wrong with the digits, without them. */
export function bytesOfHex(text: string): Uint8Array | string {
  const digits = text.replace(/^0x/i, '')
  if (digits === '') return 'there are no hex digits'
  const odd = /[^0-9a-f]/i.exec(digits)
  if (odd) return `character ${odd.index + 1} is no hex digit`
  if (digits.length % 2 !== 0) return `${digits.length} hex digits are no whole octets`
  return Uint8Array.from(Buffer.from(digits, 'hex'))
}

/** RangeError for lengths that the algorithm does not have. */
export function cipherOf(keys: EspKeys): EspCipher {
  if (keys.kind === 'aead') return gcmCipher(keys.key.bytes, keys.icvBits)
  return cbcHmacCipher(keys.encryptionKey.bytes, keys.integrity, keys.integrityKey.bytes, keys.icvBits)
}
