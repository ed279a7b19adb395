import { formatIpv4, formatMac } from './address.ts'
import { readU8, readU16, readU32 } from './field.ts'
import { FLOW_FIELD } from './flow-fields.ts'
import type { DataRecord } from './flow-sets.ts'
import type { TemplateField } from './flow-template.ts'

/** A number of any length, exact; 0 for no octets. */
export function readUnsigned(bytes: Uint8Array, at: number, lengthBytes: number): bigint {
  if (lengthBytes === 4) return BigInt(readU32(bytes, at))
  if (lengthBytes === 8) {
    const high = readU32(bytes, at)
    const low = readU32(bytes, at + 4)
    return high === 0 ? BigInt(low) : (BigInt(high) << 32n) | BigInt(low)
  }
  let value = 0n
  for (let i = 0; i < lengthBytes; i++) value = (value << 8n) | BigInt(readU8(bytes, at + i))
  return value
}

/** As readUnsigned, in a number: exact to 6 octets, and to 2^53 beyond. */
export function readNumber(bytes: Uint8Array, at: number, lengthBytes: number): number {
  if (lengthBytes === 4) return readU32(bytes, at)
  if (lengthBytes === 2) return readU16(bytes, at)
  if (lengthBytes === 1) return readU8(bytes, at)
  let value = 0
  for (let i = 0; i < lengthBytes; i++) value = value * 256 + readU8(bytes, at + i)
  return value
}

/** What a field of a record says; undefined where it has no octets. `octets` and what nothing here knows are hex. */
export type FlowValue = number | bigint | string | boolean

/** Where IANA's field `id` is in the record's template; -1 if it has none. */
export function fieldIndex(record: DataRecord, id: number): number {
  return record.template.indexOf.get(id) ?? -1
}

export function unsignedOf(record: DataRecord, index: number): bigint {
  return readUnsigned(record.bytes, record.at + (record.offsets[index] as number), record.lengths[index] as number)
}

export function numberOf(record: DataRecord, index: number): number {
  return readNumber(record.bytes, record.at + (record.offsets[index] as number), record.lengths[index] as number)
}

/** One field as people and JSON want it; too slow for a loop over many records. */
export function fieldValue(record: DataRecord, index: number): FlowValue | undefined {
  const { type } = record.template.fields[index] as TemplateField
  const at = record.at + (record.offsets[index] as number)
  const length = record.lengths[index] as number
  if (length === 0) return type === 'text' || type === 'octets' ? '' : undefined
  const { bytes } = record
  switch (type) {
    case 'ipv4':
      return length === 4 ? formatIpv4(readU32(bytes, at)) : hex(bytes, at, length)
    case 'ipv6':
      return length === 16 ? formatIpv6(readUnsigned(bytes, at, length)) : hex(bytes, at, length)
    case 'mac':
      return length === 6 ? formatMac(readNumber(bytes, at, length)) : hex(bytes, at, length)
    case 'text':
      return text(bytes, at, length)
    case 'octets':
      return hex(bytes, at, length)
    case 'boolean':
      return readNumber(bytes, at, length) === 1
    case 'float':
      return float(bytes, at, length)
    case 'signed':
      return plain(BigInt.asIntN(length * 8, readUnsigned(bytes, at, length)))
    default:
      return plain(readUnsigned(bytes, at, length))
  }
}

/** Every field by name but padding, in the template's order; a name that comes twice gets its place behind it. */
export function fieldValues(record: DataRecord): Record<string, FlowValue> {
  const values: Record<string, FlowValue> = {}
  for (const [i, { name, id, enterprise }] of record.template.fields.entries()) {
    if (id === FLOW_FIELD.paddingOctets && enterprise === 0) continue
    const value = fieldValue(record, i)
    if (value !== undefined) values[name in values ? `${name} #${i + 1}` : name] = value
  }
  return values
}

/** A number while it is exact in one. */
export function plain(value: bigint): number | bigint {
  return value >= -BigInt(Number.MAX_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value
}

function float(bytes: Uint8Array, at: number, length: number): FlowValue {
  if (length !== 4 && length !== 8) return hex(bytes, at, length)
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, length)
  return length === 4 ? view.getFloat32(0) : view.getFloat64(0)
}

/** Text may be padded with zeros in NetFlow v9. */
function text(bytes: Uint8Array, at: number, length: number): string {
  return new TextDecoder().decode(bytes.subarray(at, at + length)).replace(/\0+$/, '')
}

function hex(bytes: Uint8Array, at: number, length: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, length).toString('hex')
}

/** RFC 5952: the longest run of zero groups, of two or more, as `::`. */
export function formatIpv6(address: bigint): string {
  const groups = Array.from({ length: 8 }, (_, i) => Number((address >> BigInt(112 - 16 * i)) & 0xffffn).toString(16))
  const runs = [...groups.join(':').matchAll(/(?<![^:])0(?::0)+(?![^:])/g)]
  const longest = runs.sort((a, b) => b[0].length - a[0].length || a.index - b.index)[0]
  if (!longest) return groups.join(':')
  const whole = groups.join(':')
  const before = whole.slice(0, longest.index).replace(/:$/, '')
  const after = whole.slice(longest.index + longest[0].length).replace(/^:/, '')
  return `${before}::${after}`
}
