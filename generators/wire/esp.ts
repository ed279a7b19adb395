import { header, type Malformed, readU8, u8, u32 } from './field.ts'

/** ESP header (RFC 4303 §2); IV, ciphertext and ICV follow, in lengths that only the SA knows. */
export const esp = header('esp', 8, { spi: u32(0), sequence: u32(4) })

/** The last two octets of the plaintext (RFC 4303 §2.5, §2.6). */
export const espTrailer = header('espTrailer', 2, { padLength: u8(0), nextHeader: u8(1) })

/** IPV4 is tunnel mode; a receiver silently drops NO_NEXT_HEADER, a dummy packet (RFC 4303 §2.6). */
export const ESP_NEXT_HEADER = { IPV4: 4, NO_NEXT_HEADER: 59 } as const

/** What the plaintext of an ESP packet holds: payload, padding, trailer. */
export interface EspPlaintext {
  payloadBytes: number
  padLength: number
  nextHeader: number
}

/** The trailer of a whole plaintext; the padding must count 1, 2, 3 … (RFC 4303 §2.4). */
export function readEspTrailer(plain: Uint8Array): EspPlaintext | Malformed {
  const at = plain.length - espTrailer.length
  if (at < 0) return { at: 0, why: 'no room for Pad Length and Next Header' }
  const padLength = espTrailer.fields.padLength.get(plain, at)
  const payloadBytes = at - padLength
  if (payloadBytes < 0) return { at, why: `Pad Length ${padLength} is more than the ${at} octets before it` }
  for (let i = 0; i < padLength; i++) {
    if (readU8(plain, payloadBytes + i) !== i + 1)
      return { at: payloadBytes + i, why: 'padding does not count 1, 2, 3' }
  }
  return { payloadBytes, padLength, nextHeader: espTrailer.fields.nextHeader.get(plain, at) }
}

/** Padding that brings payload and trailer to a whole number of blocks, never less than 4 octets (RFC 4303 §2.4). */
export function espPadLength(payloadBytes: number, blockBytes: number): number {
  const block = Math.max(blockBytes, 4)
  return (block - ((payloadBytes + espTrailer.length) % block)) % block
}
