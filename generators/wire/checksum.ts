import { readU16 } from './field.ts'

/**
 * Ones-complement sum of the bytes from `at` to `end`, folded to 16 bits, not inverted; an odd last byte counts as
 * the high half of a word (RFC 1071 §1). `start` carries a sum on, for example of a pseudo header. What lies past the
 * frame counts as 0.
 */
export function sum16(frame: Uint8Array, at: number, end: number, start = 0): number {
  const stop = Math.min(end, frame.length)
  let sum = start
  let i = at
  for (; i + 1 < stop; i += 2) {
    sum += readU16(frame, i)
    // Folded before it could leave the 31 bits that V8 keeps unboxed.
    if (sum > 0x3fff_0000) sum = (sum & 0xffff) + (sum >>> 16)
  }
  if (i < stop) sum += readU16(frame, i) & 0xff00
  return fold16(sum)
}

/** For sums below 2^32. */
export function fold16(sum: number): number {
  let folded = sum
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16)
  return folded
}

/** The Internet checksum to put on the wire, with the checksum field itself 0 in the range (RFC 1071 §1). */
export function checksum16(frame: Uint8Array, at: number, end: number, start = 0): number {
  return ~sum16(frame, at, end, start) & 0xffff
}

/** A checksum after one 16-bit word it covers changed: HC' = ~(~HC + ~m + m') (RFC 1624 §3, equation 3). */
export function updateChecksum16(checksum: number, oldWord: number, newWord: number): number {
  return ~fold16((~checksum & 0xffff) + (~oldWord & 0xffff) + newWord) & 0xffff
}
