import { parseIpv4, parseMac } from './address.ts'
import { writeU16, writeU32 } from './field.ts'
import { V9_SCOPE, VARIABLE_LENGTH } from './flow-fields.ts'
import { type FlowDialect, flowSet } from './flow-sets.ts'
import type { FlowTemplate, TemplateField } from './flow-template.ts'
import type { FlowValue } from './flow-value.ts'

/** Values by field name, as `fieldValues` gives them; one left out is written as zeros. */
export type FlowValues = Readonly<Record<string, FlowValue | Uint8Array | undefined>>

/** A FlowSet to write: templates (all with scopes or all without), or records of one template, or octets as they are. */
export interface FlowSetSpec {
  templates?: readonly FlowTemplate[]
  /** IPFIX: these template IDs are no longer used (RFC 7011 §8.1). */
  withdraw?: readonly number[]
  data?: { template: FlowTemplate; records: readonly FlowValues[] }
  raw?: Uint8Array
  /** Left out, as for every field here: what is right. */
  flowSetId?: number
  length?: number
  paddingBytes?: number
}

const SET_IDS = { netflow9: { template: 0, options: 1 }, ipfix: { template: 2, options: 3 } } as const

/** Header, body and padding to 4 octets (RFC 3954 §5.3). */
export function writeFlowSet(spec: FlowSetSpec, dialect: FlowDialect): Uint8Array {
  const body = bodyOf(spec, dialect)
  const padding = spec.paddingBytes ?? (4 - (body.length % 4)) % 4
  const bytes = new Uint8Array(flowSet.length + body.length + padding)
  flowSet.fields.flowSetId.set(bytes, 0, spec.flowSetId ?? setIdOf(spec, dialect))
  flowSet.fields.length.set(bytes, 0, spec.length ?? bytes.length)
  bytes.set(body, flowSet.length)
  return bytes
}

function setIdOf(spec: FlowSetSpec, dialect: FlowDialect): number {
  if (spec.data) return spec.data.template.id
  return SET_IDS[dialect][(spec.templates?.[0]?.scopeFieldCount ?? 0) > 0 ? 'options' : 'template']
}

function bodyOf(spec: FlowSetSpec, dialect: FlowDialect): Uint8Array {
  const parts = [
    ...(spec.templates ?? []).map(template => writeTemplate(template, dialect)),
    ...(spec.withdraw ?? []).map(id => words(id, 0)),
    ...(spec.data?.records ?? []).map(values => writeRecord(spec.data?.template as FlowTemplate, values)),
    ...(spec.raw ? [spec.raw] : []),
  ]
  return joined(parts)
}

/** How many records the header of a v9 message counts: templates, options templates and data alike (RFC 3954 §5.1). */
export function recordCountOf(specs: readonly FlowSetSpec[]): number {
  return specs.reduce((sum, { templates = [], data }) => sum + templates.length + (data?.records.length ?? 0), 0)
}

export function writeTemplate(template: FlowTemplate, dialect: FlowDialect): Uint8Array {
  const fields = template.fields.map(field => writeSpecifier(field, dialect))
  return joined([templateHeader(template, dialect), ...fields])
}

function templateHeader({ id, fields, scopeFieldCount }: FlowTemplate, dialect: FlowDialect): Uint8Array {
  if (scopeFieldCount === 0) return words(id, fields.length)
  if (dialect === 'ipfix') return words(id, fields.length, scopeFieldCount)
  return words(id, scopeFieldCount * 4, (fields.length - scopeFieldCount) * 4)
}

function writeSpecifier({ id, enterprise, lengthBytes }: TemplateField, dialect: FlowDialect): Uint8Array {
  if (dialect === 'netflow9' || enterprise === 0 || enterprise === V9_SCOPE) return words(id, lengthBytes)
  return words(id | 0x8000, lengthBytes, enterprise >>> 16, enterprise & 0xffff)
}

function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 2)
  for (const [i, value] of values.entries()) writeU16(bytes, i * 2, value)
  return bytes
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

export function writeRecord(template: FlowTemplate, values: FlowValues): Uint8Array {
  return joined(template.fields.map(field => writeValue(field, values[field.name])))
}

function writeValue({ lengthBytes, type }: TemplateField, value: FlowValue | Uint8Array | undefined): Uint8Array {
  const octets = typeof value === 'string' ? textOctets(type, value) : value
  if (lengthBytes === VARIABLE_LENGTH) return variable(octets instanceof Uint8Array ? octets : new Uint8Array(0))
  const bytes = new Uint8Array(lengthBytes)
  if (octets instanceof Uint8Array) bytes.set(octets.subarray(0, lengthBytes))
  else if (type === 'float') writeFloat(bytes, Number(octets ?? 0))
  else writeUnsigned(bytes, 0, lengthBytes, BigInt(octets ?? 0))
  return bytes
}

/** Its length before it, in one octet or three (RFC 7011 §7). */
function variable(octets: Uint8Array): Uint8Array {
  const { length } = octets
  const head = length < 0xff ? Uint8Array.of(length) : Uint8Array.of(0xff, length >>> 8, length)
  return joined([head, octets])
}

function textOctets(type: TemplateField['type'], value: string): Uint8Array | bigint {
  if (type === 'ipv4') return BigInt(parseIpv4(value))
  if (type === 'mac') return BigInt(parseMac(value))
  if (type === 'ipv6') return parseIpv6(value)
  return type === 'octets' ? Uint8Array.from(Buffer.from(value, 'hex')) : new TextEncoder().encode(value)
}

function writeFloat(bytes: Uint8Array, value: number): void {
  const view = new DataView(bytes.buffer)
  if (bytes.length === 4) view.setFloat32(0, value)
  else view.setFloat64(0, value)
}

/** Takes the low octets of the value, as a counter that wraps does. */
export function writeUnsigned(bytes: Uint8Array, at: number, lengthBytes: number, value: bigint): void {
  if (lengthBytes === 4) writeU32(bytes, at, Number(BigInt.asUintN(32, value)))
  else
    for (let i = 0; i < lengthBytes; i++) bytes[at + i] = Number((value >> BigInt(8 * (lengthBytes - 1 - i))) & 0xffn)
}

/** Eight groups with one `::` at most; RangeError on anything else. */
export function parseIpv6(text: string): bigint {
  const halves = text.split('::')
  const groups = halves.map(half => (half === '' ? [] : half.split(':')))
  const count = groups.reduce((sum, half) => sum + half.length, 0)
  const all = [...(groups[0] ?? []), ...new Array<string>(8 - Math.min(8, count)).fill('0'), ...(groups[1] ?? [])]
  const isWhole = halves.length === 1 ? count === 8 : halves.length === 2 && count < 8
  if (!isWhole || !all.every(group => /^[0-9a-f]{1,4}$/i.test(group)))
    throw new RangeError(`not an IPv6 address: "${text}"`)
  return all.reduce((address, group) => (address << 16n) | BigInt(`0x${group}`), 0n)
}
