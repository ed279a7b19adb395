/** Bytes of a hex text; blanks are allowed. RangeError names `what` when it is not hex. */
export function hexBytes(text: string, what: string): Uint8Array {
  const digits = text.replace(/\s+/g, '')
  if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new RangeError(`${what}: not pairs of hex digits: "${text}"`)
  return Uint8Array.from(Buffer.from(digits, 'hex'))
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** Zero bytes up to a whole number of 32-bit words. */
export function padded32(bytes: Uint8Array): Uint8Array {
  const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4)
  padded.set(bytes)
  return padded
}
