import type { Difference, Field, Header } from '../../generators/wire/field.ts'
import { IP_PROTOCOL, ipv4, ipv4End, ipv4HeaderLength } from '../../generators/wire/ipv4.ts'
import { udp } from '../../generators/wire/udp.ts'

/**
 * The first difference from the IP header to the datagram's end, named by its field; undefined when the bytes are the
 * same. Ethernet padding behind Total Length is not part of it.
 */
export function contentDifference(
  sent: Uint8Array,
  sentAt: number,
  seen: Uint8Array,
  seenAt: number,
): Difference | undefined {
  const sentEnd = ipv4End(sent, sentAt, sent.length)
  const length = sentEnd - sentAt
  const seenLength = ipv4End(seen, seenAt, seen.length) - seenAt
  const common = Math.min(length, seenLength)
  for (let i = 0; i < common; i++) {
    if (sent[sentAt + i] !== seen[seenAt + i]) return named(sent, sentAt, seen, seenAt, i)
  }
  if (length === seenLength) return undefined
  return { field: 'datagram length', at: seenAt + common, expected: length, actual: seenLength }
}

/** The IPv4 checksum differs whenever another header field does: that other field is the news. */
function named(sent: Uint8Array, sentAt: number, seen: Uint8Array, seenAt: number, i: number): Difference {
  const headerBytes = ipv4HeaderLength(sent, sentAt)
  const inHeader = fieldDifference(ipv4, sent, sentAt, seen, seenAt, 'checksum')
  if (i < ipv4.length && inHeader) return inHeader
  if (i < headerBytes) return byteDifference('ipv4.options', sent, sentAt, seen, seenAt, i)
  const isUdp =
    ipv4.fields.protocol.get(sent, sentAt) === IP_PROTOCOL.UDP && ipv4.fields.fragmentOffset.get(sent, sentAt) === 0
  if (isUdp && i < headerBytes + udp.length) {
    const inUdp = fieldDifference(udp, sent, sentAt + headerBytes, seen, seenAt + headerBytes, 'checksum')
    if (inUdp) return inUdp
  }
  const payloadAt = headerBytes + (isUdp ? udp.length : 0)
  return byteDifference(`payload byte ${i - payloadAt}`, sent, sentAt, seen, seenAt, i)
}

/** The first field that differs, the checksum last. */
function fieldDifference<F extends Record<string, Field>>(
  header: Header<F>,
  sent: Uint8Array,
  sentAt: number,
  seen: Uint8Array,
  seenAt: number,
  last: keyof F & string,
): Difference | undefined {
  const names = [...Object.keys(header.fields).filter(name => name !== last), last]
  for (const name of names) {
    const field = header.fields[name] as Field
    const expected = field.get(sent, sentAt)
    const actual = field.get(seen, seenAt)
    if (expected !== actual) return { field: `${header.name}.${name}`, at: seenAt + field.offset, expected, actual }
  }
  return undefined
}

function byteDifference(field: string, sent: Uint8Array, sentAt: number, seen: Uint8Array, seenAt: number, i: number) {
  return { field, at: seenAt + i, expected: sent[sentAt + i] ?? 0, actual: seen[seenAt + i] ?? 0 }
}
