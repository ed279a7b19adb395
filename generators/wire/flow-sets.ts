import { header, type Malformed, readU8, readU16, readU32, u16 } from './field.ts'
import { V9_SCOPE, VARIABLE_LENGTH } from './flow-fields.ts'
import { compileTemplate, type FlowTemplate, type TemplateField, templateField } from './flow-template.ts'

/** What begins a FlowSet of NetFlow v9 (RFC 3954 §5.2) and a Set of IPFIX (RFC 7011 §3.3.2). */
export const flowSet = header('flowSet', 4, { flowSetId: u16(0), length: u16(2) })

/** Template Record (RFC 3954 §5.2, RFC 7011 §3.4.1). */
export const templateRecord = header('templateRecord', 4, { templateId: u16(0), fieldCount: u16(2) })

/** RFC 3954 §6.1: lengths in octets. */
export const optionsTemplateRecord = header('optionsTemplateRecord', 6, {
  templateId: u16(0),
  optionScopeLength: u16(2),
  optionLength: u16(4),
})

/** RFC 7011 §3.4.2.2: counts of fields. */
export const ipfixOptionsTemplateRecord = header('ipfixOptionsTemplateRecord', 6, {
  templateId: u16(0),
  fieldCount: u16(2),
  scopeFieldCount: u16(4),
})

/** RFC 3954 §5.2; in IPFIX the first bit says that an enterprise number follows (RFC 7011 §3.2). */
export const fieldSpecifier = header('fieldSpecifier', 4, { type: u16(0), length: u16(2) })

export const FIRST_DATA_SET_ID = 256
const ENTERPRISE_BIT = 0x8000

/** Which of the two: they differ in how Options Templates count, in enterprise numbers, and in values of variable length. */
export type FlowDialect = 'netflow9' | 'ipfix'

/** Walks what follows a message header. The walk ends at a length that cannot be: where the next would begin is not known then. */
export interface FlowSetWalk {
  id: number
  /** Of the FlowSet's own header. */
  at: number
  end: number
  malformed: Malformed | undefined
  next(): boolean
}

export function flowSets(bytes: Uint8Array, at: number, end: number): FlowSetWalk {
  const stop = Math.min(end, bytes.length)
  const walk: FlowSetWalk = {
    id: 0,
    at,
    end: at,
    malformed: undefined,
    next() {
      if (walk.malformed || walk.end >= stop) return false
      walk.malformed = flowSetTrouble(bytes, walk.end, stop)
      if (walk.malformed) return false
      walk.at = walk.end
      walk.id = readU16(bytes, walk.at)
      walk.end = walk.at + readU16(bytes, walk.at + 2)
      return true
    },
  }
  return walk
}

function flowSetTrouble(bytes: Uint8Array, at: number, stop: number): Malformed | undefined {
  if (at + flowSet.length > stop) return { at, why: `${stop - at} octets behind the last FlowSet` }
  const length = flowSet.fields.length.get(bytes, at)
  if (length < flowSet.length) return { at, why: `FlowSet length ${length} is less than the 4 octets of its header` }
  if (at + length > stop) return { at, why: `FlowSet length ${length} goes ${at + length - stop} octets past the end` }
  return undefined
}

/** Walks the records of a Template or Options Template FlowSet; one that cannot be read ends the walk. */
export interface TemplateWalk {
  at: number
  template: FlowTemplate
  /** IPFIX: this template is no longer used (RFC 7011 §8.1); its `fields` are empty. */
  isWithdrawal: boolean
  malformed: Malformed | undefined
  next(): boolean
}

const NOTHING = compileTemplate(0, [])

interface ReadTemplate {
  template: FlowTemplate
  end: number
}

/** `at` and `end` are those of the FlowSet: its own header is passed over. */
export function templates(
  bytes: Uint8Array,
  at: number,
  end: number,
  dialect: FlowDialect,
  kind: 'template' | 'options',
): TemplateWalk {
  const read = kind === 'template' ? readTemplate : dialect === 'ipfix' ? readIpfixOptions : readOptions
  let nextAt = at + flowSet.length
  const walk: TemplateWalk = {
    at: nextAt,
    template: NOTHING,
    isWithdrawal: false,
    malformed: undefined,
    next() {
      // Padding is accepted in every kind of FlowSet (RFC 3954 §9); no template begins with an ID of 0.
      if (walk.malformed || nextAt + templateRecord.length > end || isZero(bytes, nextAt, end)) return false
      const found = read(bytes, nextAt, end, dialect)
      if ('why' in found) walk.malformed = found
      if ('why' in found) return false
      walk.at = nextAt
      walk.template = found.template
      walk.isWithdrawal = found.template.fields.length === 0
      nextAt = found.end
      return true
    },
  }
  return walk
}

function readTemplate(bytes: Uint8Array, at: number, end: number, dialect: FlowDialect): ReadTemplate | Malformed {
  const { templateId, fieldCount } = templateRecord.fields
  const count = fieldCount.get(bytes, at)
  const id = templateId.get(bytes, at)
  if (count === 0 && dialect === 'ipfix') return withdrawal(id, at + templateRecord.length)
  return specifiers(bytes, { at, end, id, from: at + templateRecord.length, count, scopes: 0, dialect })
}

function readIpfixOptions(bytes: Uint8Array, at: number, end: number): ReadTemplate | Malformed {
  const { templateId, fieldCount, scopeFieldCount } = ipfixOptionsTemplateRecord.fields
  const [id, count, scopes] = [templateId.get(bytes, at), fieldCount.get(bytes, at), scopeFieldCount.get(bytes, at)]
  // A withdrawal has no Scope Field Count (RFC 7011 §8.1).
  if (count === 0) return withdrawal(id, at + templateRecord.length)
  if (at + ipfixOptionsTemplateRecord.length > end) return { at, why: 'Options Template Record cut short' }
  if (scopes === 0 || scopes > count) return { at, why: `Scope Field Count ${scopes} of ${count} fields` }
  const from = at + ipfixOptionsTemplateRecord.length
  return specifiers(bytes, { at, end, id, from, count, scopes, dialect: 'ipfix' })
}

function readOptions(bytes: Uint8Array, at: number, end: number): ReadTemplate | Malformed {
  if (at + optionsTemplateRecord.length > end) return { at, why: 'Options Template Record cut short' }
  const { templateId, optionScopeLength, optionLength } = optionsTemplateRecord.fields
  const [scope, option] = [optionScopeLength.get(bytes, at), optionLength.get(bytes, at)]
  if (scope % 4 !== 0 || option % 4 !== 0) {
    return { at, why: `Option Scope Length ${scope} and Option Length ${option} are not whole field specifiers` }
  }
  const id = templateId.get(bytes, at)
  const from = at + optionsTemplateRecord.length
  return specifiers(bytes, { at, end, id, from, count: (scope + option) / 4, scopes: scope / 4, dialect: 'netflow9' })
}

function withdrawal(id: number, end: number): ReadTemplate {
  return { template: compileTemplate(id, []), end }
}

interface Specifiers {
  /** Of the record, its template ID and first field specifier. */
  at: number
  id: number
  from: number
  end: number
  count: number
  scopes: number
  dialect: FlowDialect
}

function specifiers(bytes: Uint8Array, wanted: Specifiers): ReadTemplate | Malformed {
  const { at, id, from, end, count, scopes, dialect } = wanted
  if (id < FIRST_DATA_SET_ID) return { at, why: `template ID ${id} is below ${FIRST_DATA_SET_ID}` }
  if (count === 0) return { at, why: `template ${id} has no fields` }
  if (from + count * fieldSpecifier.length > end)
    return { at, why: `template ${id} says ${count} fields, which are not there` }
  const fields: TemplateField[] = []
  let next = from
  while (fields.length < count) {
    if (next + specifierBytes(bytes, next, dialect) > end) return { at: next, why: `template ${id} is cut short` }
    fields.push(specifier(bytes, next, dialect, fields.length < scopes))
    next += specifierBytes(bytes, next, dialect)
  }
  const template = compileTemplate(id, fields, scopes)
  if (template.recordBytes === 0) return { at, why: `template ${id} makes records of 0 octets` }
  return { template, end: next }
}

function specifierBytes(bytes: Uint8Array, at: number, dialect: FlowDialect): number {
  return dialect === 'ipfix' && readU16(bytes, at) & ENTERPRISE_BIT ? 8 : fieldSpecifier.length
}

function specifier(bytes: Uint8Array, at: number, dialect: FlowDialect, isScope: boolean): TemplateField {
  const type = fieldSpecifier.fields.type.get(bytes, at)
  const length = fieldSpecifier.fields.length.get(bytes, at)
  if (dialect === 'netflow9') return templateField(type, isScope ? V9_SCOPE : 0, length)
  const enterprise = type & ENTERPRISE_BIT ? readU32(bytes, at + 4) : 0
  return templateField(type & ~ENTERPRISE_BIT, enterprise, length)
}

/** One Flow Data Record or Options Data Record where it lies; the walk's own object, so valid until its next step. */
export interface DataRecord {
  readonly bytes: Uint8Array
  readonly template: FlowTemplate
  at: number
  end: number
  /** Of each field's value, from `at`. */
  offsets: readonly number[]
  lengths: readonly number[]
}

export interface DataRecordWalk extends DataRecord {
  malformed: Malformed | undefined
  /** What is behind the last record, once `next` said false. */
  paddingBytes: number
  next(): boolean
}

/** Records of a Data FlowSet at `at`. What is left and shorter than a record is padding (RFC 3954 §5.3). */
export function dataRecords(
  bytes: Uint8Array,
  at: number,
  end: number,
  template: FlowTemplate,
  dialect: FlowDialect,
): DataRecordWalk {
  const varies = template.isVariable && dialect === 'ipfix'
  const walk: DataRecordWalk = {
    bytes,
    template,
    at: at + flowSet.length,
    end: at + flowSet.length,
    offsets: varies ? [...template.offsets] : template.offsets,
    lengths: varies ? [...template.lengths] : template.lengths,
    malformed: undefined,
    paddingBytes: 0,
    next() {
      walk.paddingBytes = end - walk.end
      if (walk.malformed || walk.end + template.recordBytes > end) return false
      if (varies && isShortPadding(bytes, walk.end, end)) return false
      walk.at = walk.end
      walk.end = varies ? measure(walk, end) : walk.at + template.recordBytes
      return walk.malformed === undefined
    },
  }
  // In NetFlow v9 65535 is a length like any other (RFC 3954 §5.2): no record of it fits into a message.
  if (template.isVariable && !varies)
    walk.malformed = { at, why: `template ${template.id} has a field of 65535 octets` }
  return walk
}

/** A record whose every length is 0 could be as short as padding, and zeros up to the next word are padding (RFC 7011 §3.3.1). */
function isShortPadding(bytes: Uint8Array, at: number, end: number): boolean {
  return end - at < 4 && isZero(bytes, at, end)
}

/** Fills in where the values are; the end of the record. */
function measure(walk: DataRecordWalk, end: number): number {
  const { bytes, template } = walk
  const [offsets, lengths] = [walk.offsets as number[], walk.lengths as number[]]
  let next = walk.at
  for (let i = 0; i < template.lengths.length; i++) {
    let length = template.lengths[i] as number
    if (length === VARIABLE_LENGTH) {
      // One octet, or 255 and two more (RFC 7011 §7).
      const isLong = readU8(bytes, next) === 0xff
      length = isLong ? readU16(bytes, next + 1) : readU8(bytes, next)
      next += isLong ? 3 : 1
    }
    offsets[i] = next - walk.at
    lengths[i] = length
    next += length
    if (next > end) {
      walk.malformed = {
        at: walk.at,
        why: `field ${i + 1} of a record of template ${template.id} goes past the end of its set`,
      }
      return walk.at
    }
  }
  return next
}

export function isZero(bytes: Uint8Array, at: number, end: number): boolean {
  for (let i = at; i < end; i++) if (bytes[i] !== 0) return false
  return true
}
