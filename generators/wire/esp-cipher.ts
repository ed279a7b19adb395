import { createCipheriv, createDecipheriv, createHmac, createSecretKey, timingSafeEqual } from 'node:crypto'
import { esp } from './esp.ts'
import { writeU32 } from './field.ts'

/**
 * Algorithms with their keys. Keys live in closures and key objects alone: printed, serialised or in an error, a cipher is its
 * name. `sequenceHigh` is given for extended sequence numbers only (RFC 4303 §2.2.1).
 */
export interface EspCipher {
  /** As Linux calls it. */
  readonly name: string
  readonly ivBytes: number
  /** Plaintext is padded to a multiple of this. */
  readonly blockBytes: number
  readonly icvBytes: number
  /** An IV that never repeats and follows from the sequence number, so that the same input gives the same packet. */
  ivFor(sequence: number, sequenceHigh: number): Uint8Array
  /** Ciphertext and ICV of the packet whose header and IV are `head`. */
  encrypt(head: Uint8Array, plain: Uint8Array, sequenceHigh: number | undefined): Uint8Array
  /** The plaintext of a whole ESP packet; undefined when the ICV is another. */
  decrypt(packet: Uint8Array, sequenceHigh: number | undefined): Uint8Array | undefined
}

/** ICV lengths that RFC 4106 §6 allows, in bits. */
export const GCM_ICV_BITS: readonly number[] = [64, 96, 128]
const GCM_KEY_BYTES: readonly number[] = [16, 24, 32]
const GCM_SALT_BYTES = 4
const GCM_IV_BYTES = 8

/** AES-GCM (RFC 4106): `keyMaterial` is the AES key and four octets of salt, as Linux and Cilium take it. */
export function gcmCipher(keyMaterial: Uint8Array, icvBits = 128): EspCipher {
  const keyBytes = keyMaterial.length - GCM_SALT_BYTES
  if (!GCM_KEY_BYTES.includes(keyBytes)) {
    throw new RangeError(`${GCM} takes 20, 28 or 36 octets (AES key and 4 of salt), not ${keyMaterial.length}`)
  }
  if (!GCM_ICV_BITS.includes(icvBits)) throw new RangeError(`${GCM} has an ICV of 64, 96 or 128 bits, not ${icvBits}`)
  const key = createSecretKey(keyMaterial.subarray(0, keyBytes))
  const salt = keyMaterial.slice(keyBytes)
  const icvBytes = icvBits / 8
  const algorithm = `aes-${keyBytes * 8}-gcm` as 'aes-128-gcm'
  const nonce = (packet: Uint8Array) => Buffer.concat([salt, packet.subarray(esp.length, esp.length + GCM_IV_BYTES)])
  const options = { authTagLength: icvBytes }
  return {
    name: GCM,
    ivBytes: GCM_IV_BYTES,
    blockBytes: 4,
    icvBytes,
    ivFor: counterIv,
    encrypt(head, plain, sequenceHigh) {
      const cipher = createCipheriv(algorithm, key, nonce(head), options)
      cipher.setAAD(gcmAad(head, sequenceHigh))
      return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
    },
    decrypt(packet, sequenceHigh) {
      const icvAt = packet.length - icvBytes
      const decipher = createDecipheriv(algorithm, key, nonce(packet), options)
      decipher.setAAD(gcmAad(packet, sequenceHigh))
      decipher.setAuthTag(packet.subarray(icvAt))
      const plain = decipher.update(packet.subarray(esp.length + GCM_IV_BYTES, icvAt))
      return finished(decipher) ? plain : undefined
    },
  }
}

const GCM = 'rfc4106(gcm(aes))'

/** node:crypto tells a wrong tag by throwing. */
function finished(decipher: { final(): Uint8Array }): boolean {
  try {
    decipher.final()
    return true
  } catch {
    return false
  }
}

/** SPI and sequence number, with the high half between them if it is extended (RFC 4106 §5). */
function gcmAad(packet: Uint8Array, sequenceHigh: number | undefined): Uint8Array {
  if (sequenceHigh === undefined) return packet.subarray(0, esp.length)
  const aad = new Uint8Array(12)
  aad.set(packet.subarray(0, 4))
  writeU32(aad, 4, sequenceHigh)
  aad.set(packet.subarray(4, 8), 8)
  return aad
}

/** A counter, as RFC 4106 §3.1 proposes. */
function counterIv(sequence: number, sequenceHigh: number): Uint8Array {
  const iv = new Uint8Array(GCM_IV_BYTES)
  writeU32(iv, 0, sequenceHigh)
  writeU32(iv, 4, sequence)
  return iv
}

/** ICV lengths of each hash in bits: first what Linux takes when told nothing, then what the RFC says if it is another. */
export const HMAC_ICV_BITS = {
  'hmac(sha1)': [96],
  // RFC 4868 §2.3 says 128; Linux kept 96 of an early draft, and Cilium names none.
  'hmac(sha256)': [96, 128],
  'hmac(sha384)': [192],
  'hmac(sha512)': [256],
} as const

export type HmacName = keyof typeof HMAC_ICV_BITS

const CBC_KEY_BYTES: readonly number[] = [16, 24, 32]
const AES_BLOCK_BYTES = 16

/** AES-CBC (RFC 3602) with an HMAC (RFC 2404, RFC 4868) over header, IV, ciphertext and the high half of an extended number. */
export function cbcHmacCipher(
  encryptionKey: Uint8Array,
  hmac: HmacName,
  integrityKey: Uint8Array,
  icvBits: number = HMAC_ICV_BITS[hmac][0],
): EspCipher {
  const keyBytes = encryptionKey.length
  if (!CBC_KEY_BYTES.includes(keyBytes)) throw new RangeError(`cbc(aes) takes 16, 24 or 32 octets, not ${keyBytes}`)
  if (integrityKey.length === 0) throw new RangeError(`${hmac} takes a key of at least one octet`)
  if (!(HMAC_ICV_BITS[hmac] as readonly number[]).includes(icvBits)) {
    throw new RangeError(`${hmac} has an ICV of ${HMAC_ICV_BITS[hmac].join(' or ')} bits, not ${icvBits}`)
  }
  const key = createSecretKey(encryptionKey)
  const macKey = createSecretKey(integrityKey)
  const icvBytes = icvBits / 8
  const algorithm = `aes-${keyBytes * 8}-cbc`
  const hash = hmac.slice('hmac('.length, -1)
  const icv = (covered: readonly Uint8Array[], sequenceHigh: number | undefined) => {
    const mac = createHmac(hash, macKey)
    for (const part of covered) mac.update(part)
    if (sequenceHigh !== undefined) mac.update(highOctets(sequenceHigh))
    return mac.digest().subarray(0, icvBytes)
  }
  return {
    name: `cbc(aes), ${hmac}`,
    ivBytes: AES_BLOCK_BYTES,
    blockBytes: AES_BLOCK_BYTES,
    icvBytes,
    // The number encrypted under the key: not to be guessed, and never the same twice (NIST SP 800-38A appendix C).
    ivFor(sequence, sequenceHigh) {
      const nonce = Buffer.concat([counterIv(sequence, sequenceHigh), new Uint8Array(8)])
      return createCipheriv(`aes-${keyBytes * 8}-ecb`, key, null)
        .setAutoPadding(false)
        .update(nonce)
    },
    encrypt(head, plain, sequenceHigh) {
      const cipher = createCipheriv(algorithm, key, head.subarray(esp.length)).setAutoPadding(false)
      const ciphertext = Buffer.concat([cipher.update(plain), cipher.final()])
      return Buffer.concat([ciphertext, icv([head, ciphertext], sequenceHigh)])
    },
    decrypt(packet, sequenceHigh) {
      const [from, icvAt] = [esp.length + AES_BLOCK_BYTES, packet.length - icvBytes]
      if (!timingSafeEqual(icv([packet.subarray(0, icvAt)], sequenceHigh), packet.subarray(icvAt))) return undefined
      const decipher = createDecipheriv(algorithm, key, packet.subarray(esp.length, from)).setAutoPadding(false)
      return Buffer.concat([decipher.update(packet.subarray(from, icvAt)), decipher.final()])
    },
  }
}

function highOctets(sequenceHigh: number): Uint8Array {
  const octets = new Uint8Array(4)
  writeU32(octets, 0, sequenceHigh)
  return octets
}
