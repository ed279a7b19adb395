import {
  type FlowFieldName,
  type FlowType,
  flowFieldByName,
  flowFieldName,
  flowFieldType,
  VARIABLE_LENGTH,
} from './flow-fields.ts'

/** One field of a template: what it is and how long. */
export interface TemplateField {
  readonly id: number
  /** 0 is IANA, `V9_SCOPE` a scope of NetFlow v9. */
  readonly enterprise: number
  /** `VARIABLE_LENGTH`: each record says. */
  readonly lengthBytes: number
  readonly name: string
  readonly type: FlowType
}

/** A Template Record or Options Template Record: a header table that came over the wire. */
export interface FlowTemplate {
  readonly id: number
  readonly fields: readonly TemplateField[]
  /** So many of the first fields are scopes; 0 is an ordinary template. */
  readonly scopeFieldCount: number
  /** Of a record; the least where a field varies. */
  readonly recordBytes: number
  readonly isVariable: boolean
  /** Of each field from the start of a record; right up to the first field that varies. */
  readonly offsets: readonly number[]
  readonly lengths: readonly number[]
  /** Index of IANA's fields by number; of two alike the first. */
  readonly indexOf: ReadonlyMap<number, number>
}

export function compileTemplate(id: number, fields: readonly TemplateField[], scopeFieldCount = 0): FlowTemplate {
  const lengths = fields.map(field => field.lengthBytes)
  const offsets: number[] = []
  let recordBytes = 0
  for (const length of lengths) {
    offsets.push(recordBytes)
    recordBytes += length === VARIABLE_LENGTH ? 1 : length
  }
  const ours = fields.map((field, i) => [field, i] as const).filter(([field]) => field.enterprise === 0)
  const indexOf = new Map(ours.reverse().map(([field, i]) => [field.id, i]))
  const isVariable = lengths.includes(VARIABLE_LENGTH)
  return { id, fields, scopeFieldCount, recordBytes, isVariable, offsets, lengths, indexOf }
}

export function templateField(id: number, enterprise: number, lengthBytes: number): TemplateField {
  return { id, enterprise, lengthBytes, name: flowFieldName(id, enterprise), type: flowFieldType(id, enterprise) }
}

/** A field by IANA's name in its usual length, by name and length, or by numbers. */
export type FieldChoice = FlowFieldName | readonly [FlowFieldName, number] | TemplateField

/** A template of ours: `flowTemplate(256, ['sourceIPv4Address', ['octetDeltaCount', 4]])`; scopes, if any, stand first. */
export function flowTemplate(id: number, choices: readonly FieldChoice[], scopeFieldCount = 0): FlowTemplate {
  return compileTemplate(id, choices.map(chosen), scopeFieldCount)
}

function chosen(choice: FieldChoice): TemplateField {
  if (typeof choice === 'object' && 'id' in choice) return choice
  const [name, lengthBytes] = typeof choice === 'string' ? [choice, undefined] : choice
  const { id, lengthBytes: usual } = flowFieldByName(name)
  return templateField(id, 0, lengthBytes ?? usual)
}

/** Whether records of both look alike: a refresh, and no new definition. */
export function sameTemplate(a: FlowTemplate, b: FlowTemplate): boolean {
  const same = (one: TemplateField, i: number) => {
    const other = b.fields[i] as TemplateField
    return one.id === other.id && one.enterprise === other.enterprise && one.lengthBytes === other.lengthBytes
  }
  const alike = a.fields.length === b.fields.length && a.scopeFieldCount === b.scopeFieldCount
  return alike && a.fields.every(same)
}
