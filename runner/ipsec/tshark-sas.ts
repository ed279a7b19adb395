import type { EspKey } from '../../captures/esp-opener.ts'
import { asIpv4 } from '../../generators/wire/address.ts'
import type { HmacName } from '../../generators/wire/esp-cipher.ts'
import { UserError } from '../suite/errors.ts'
import { KeyBytes } from './key-bytes.ts'
import { bytesOfHex, cipherOf, type EspKeys } from './secret.ts'

/** Whether a file is Wireshark's table `esp_sa`. */
export function isTsharkTable(text: string): boolean {
  return /^\s*(#.*\n\s*)*"IPv[46]",/i.test(text)
}

/** Wireshark's `esp_sa`, as it lies in a profile: a line an SA, fields in quotes. Lines for IPv6 are left out. */
export function parseTsharkSas(text: string, file: string): EspKey[] {
  return text.split(/\r?\n/).flatMap((line, i) => {
    if (line.trim() === '' || line.trimStart().startsWith('#')) return []
    return parseLine(line, message => wrongLine(file, i + 1, message))
  })
}

type Refuse = (message: string) => UserError

function wrongLine(file: string, line: number, message: string): UserError {
  const position = { file, line, col: 1, length: 1, source: '' }
  const hint =
    'Edit > Preferences > Protocols > ESP > ESP SAs: "IPv4","source","destination","SPI","encryption","key","authentication","key"'
  return new UserError('bad-keys', message, { position, hint })
}

function parseLine(line: string, wrong: Refuse): EspKey[] {
  const fields = [...line.matchAll(/"([^"]*)"(?:,|\s*$)/g)].map(([, field]) => field ?? '')
  if (fields.length < 8) throw wrong(`expected at least 8 fields in quotes, found ${fields.length}`)
  const [
    protocol = '',
    src = '',
    dst = '',
    spiText = '',
    encryption = '',
    key = '',
    authentication = '',
    authKey = '',
  ] = fields
  if (protocol.toLowerCase() !== 'ipv4') return []
  const spi = Number(spiText)
  if (!Number.isInteger(spi) || spi < 1 || spi > 0xffff_ffff) throw wrong('field 4 is no SPI')
  const keys = keysOf({ encryption, key, authentication, authKey }, wrong)
  // Releases from 4.2 on have two more: length of the sequence number, high half.
  const [size = '32-bit', high = '0'] = fields.slice(8)
  return [
    {
      ...addressField('src', src, 2, wrong),
      ...addressField('dst', dst, 3, wrong),
      sa: { spi, cipher: cipherWithin(keys, wrong), esn: size.startsWith('64') },
      sequenceHigh: Number(high) >>> 0,
      label: `esp_sa, SPI ${spi}`,
      scope: 'pair',
    },
  ]
}

/** An asterisk is any address; patterns with some, and prefixes, are not taken. */
function addressField(name: 'src' | 'dst', text: string, field: number, wrong: Refuse): { src?: number; dst?: number } {
  if (text === '*') return {}
  const address = asIpv4(text)
  if (address === undefined) throw wrong(`field ${field} is neither an IPv4 address nor *`)
  return { [name]: address }
}

const HMAC: Readonly<Record<string, [HmacName, number]>> = {
  'HMAC-SHA-1-96': ['hmac(sha1)', 96],
  'HMAC-SHA-256-96': ['hmac(sha256)', 96],
  'HMAC-SHA-256-128': ['hmac(sha256)', 128],
  'HMAC-SHA-384-192': ['hmac(sha384)', 192],
  'HMAC-SHA-512-256': ['hmac(sha512)', 256],
}

function keysOf(
  given: { encryption: string; key: string; authentication: string; authKey: string },
  wrong: Refuse,
): EspKeys {
  const icvOctets = /^AES-GCM with (8|12|16) octet ICV/.exec(given.encryption)?.[1]
  const key = keyOf(given.key, 6, wrong)
  if (icvOctets !== undefined)
    return { kind: 'aead', algorithm: 'rfc4106(gcm(aes))', key, icvBits: Number(icvOctets) * 8 }
  if (!/^AES-CBC\b/.test(given.encryption))
    throw wrong('field 5: the encryptions that can be opened are AES-CBC and AES-GCM with 8, 12 or 16 octet ICV')
  const [integrity, icvBits] = HMAC[given.authentication.split(' ')[0] ?? ''] ?? []
  if (integrity === undefined || icvBits === undefined)
    throw wrong(`field 7: the authentications that can be checked are ${Object.keys(HMAC).join(', ')}`)
  const integrityKey = keyOf(given.authKey, 8, wrong)
  return { kind: 'split', encryption: 'cbc(aes)', encryptionKey: key, integrity, integrityKey, icvBits }
}

function keyOf(text: string, field: number, wrong: Refuse): KeyBytes {
  // Without 0x Wireshark takes the characters themselves.
  const bytes = /^0x/i.test(text) ? bytesOfHex(text) : Uint8Array.from(Buffer.from(text, 'latin1'))
  if (typeof bytes === 'string') throw wrong(`field ${field}, the key: ${bytes}`)
  return new KeyBytes(bytes)
}

function cipherWithin(keys: EspKeys, wrong: Refuse) {
  try {
    return cipherOf(keys)
  } catch (error) {
    throw error instanceof RangeError ? wrong(error.message) : error
  }
}
