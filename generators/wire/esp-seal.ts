import { ESP_NEXT_HEADER, esp, espPadLength, espTrailer, readEspTrailer } from './esp.ts'
import type { EspCipher } from './esp-cipher.ts'
import { writeFields } from './field.ts'

/** One direction of a security association, as far as its packets show it (RFC 4301 §4.4.2.1). */
export interface EspSa {
  spi: number
  cipher: EspCipher
  /** Extended sequence numbers: the ICV covers a high half that is not on the wire (RFC 4303 §2.2.1). */
  esn: boolean
}

/** What is sealed; a field left out gets the right value, a field given is sent as given. */
export interface EspContent {
  /** The inner packet: in tunnel mode from its IP header on. */
  payload: Uint8Array
  sequence: number
  sequenceHigh?: number
  spi?: number
  nextHeader?: number
  iv?: Uint8Array
  /** Whole padding; its length goes into Pad Length. */
  padding?: Uint8Array
}

/** The ESP packet from its header to its ICV (RFC 4303 §3.3). */
export function sealEsp(sa: EspSa, content: EspContent): Uint8Array {
  const { payload, sequence, sequenceHigh = 0 } = content
  const iv = content.iv ?? sa.cipher.ivFor(sequence, sequenceHigh)
  if (iv.length !== sa.cipher.ivBytes)
    throw new RangeError(`${sa.cipher.name} takes an IV of ${sa.cipher.ivBytes} octets`)
  const head = new Uint8Array(esp.length + iv.length)
  writeFields(esp, head, 0, { spi: content.spi ?? sa.spi, sequence })
  head.set(iv, esp.length)
  const sealed = sa.cipher.encrypt(head, plaintextOf(sa.cipher, content, payload), sa.esn ? sequenceHigh : undefined)
  const packet = new Uint8Array(head.length + sealed.length)
  packet.set(head)
  packet.set(sealed, head.length)
  return packet
}

function plaintextOf(cipher: EspCipher, content: EspContent, payload: Uint8Array): Uint8Array {
  const padding = content.padding ?? countingPadding(espPadLength(payload.length, cipher.blockBytes))
  const trailerAt = payload.length + padding.length
  if ((trailerAt + espTrailer.length) % cipher.blockBytes !== 0) {
    throw new RangeError(`padding of ${padding.length} octets does not fill a block of ${cipher.blockBytes}`)
  }
  const plain = new Uint8Array(trailerAt + espTrailer.length)
  plain.set(payload)
  plain.set(padding, payload.length)
  const nextHeader = content.nextHeader ?? ESP_NEXT_HEADER.IPV4
  writeFields(espTrailer, plain, trailerAt, { padLength: padding.length, nextHeader })
  return plain
}

function countingPadding(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i + 1)
}

/** What was inside an ESP packet. */
export interface EspContents {
  payload: Uint8Array
  nextHeader: number
  padLength: number
}

/** `wrong` says why the packet did not open. */
export type Opened = EspContents | { wrong: string }

/**
 * Opens the ESP packet in `bytes[at] … bytes[end - 1]` (RFC 4303 §3.4.4). The reader knows the high half of an extended number, or
 * tries some. Never throws on any bytes.
 */
export function openEsp(sa: EspSa, bytes: Uint8Array, at: number, end: number, sequenceHigh = 0): Opened {
  const { cipher } = sa
  const packet = bytes.subarray(at, Math.min(end, bytes.length))
  const sealedBytes = packet.length - esp.length - cipher.ivBytes - cipher.icvBytes
  if (sealedBytes < espTrailer.length) return { wrong: `cut short: ${packet.length} octets` }
  if (sealedBytes % cipher.blockBytes !== 0) return { wrong: `ciphertext of ${sealedBytes} octets is not whole blocks` }
  const plain = cipher.decrypt(packet, sa.esn ? sequenceHigh : undefined)
  if (!plain) return { wrong: 'wrong ICV: another key, or altered on the way' }
  const trailer = readEspTrailer(plain)
  if ('why' in trailer) return { wrong: trailer.why }
  const { payloadBytes, nextHeader, padLength } = trailer
  return { payload: plain.subarray(0, payloadBytes), nextHeader, padLength }
}
