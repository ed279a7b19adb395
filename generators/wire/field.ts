/** One fixed field of a header: reads and writes an unsigned number at (frame, start of the header). */
export interface Field {
  /** Of its first byte, from the start of the header. */
  readonly offset: number
  readonly bits: number
  /** Past the end of the frame it reads 0 and never throws: check lengths first. */
  get(frame: Uint8Array, at: number): number
  /** Takes the low `bits` of the value; neighbouring bits stay. */
  set(frame: Uint8Array, at: number, value: number): void
}

export type Fields = Readonly<Record<string, Field>>

/** A header of fixed length as a table: reading, writing, matching and naming differences all come from it. */
export interface Header<F extends Fields> {
  readonly name: string
  /** In bytes. */
  readonly length: number
  readonly fields: F
}

/** Values by field name; left out = not looked at (matching) or left to the builder (writing). */
export type Values<F extends Fields> = { readonly [K in keyof F]?: number | undefined }

/** A field that is not as wanted; `at` is its first byte in the frame. */
export interface Difference {
  field: string
  at: number
  expected: number | string
  actual: number | string
}

/** Where the walk over a variable part stopped before its time. */
export interface Malformed {
  at: number
  why: string
}

export function header<F extends Fields>(name: string, length: number, fields: F): Header<F> {
  return { name, length, fields }
}

/** Writes the given fields and no other bit. */
export function writeFields<F extends Fields>(
  header: Header<F>,
  frame: Uint8Array,
  at: number,
  values: Values<F>,
): void {
  for (const name in header.fields) {
    const value = values[name]
    if (value !== undefined) (header.fields[name] as Field).set(frame, at, value)
  }
}

/** Every field by name; for reports and tests, too slow for a packet loop. */
export function readFields<F extends Fields>(
  header: Header<F>,
  frame: Uint8Array,
  at: number,
): Record<keyof F, number> {
  const values = {} as Record<keyof F, number>
  for (const name in header.fields) values[name] = (header.fields[name] as Field).get(frame, at)
  return values
}

/** The first given field that differs, in the table's order; undefined when all are as wanted. */
export function mismatch<F extends Fields>(
  header: Header<F>,
  frame: Uint8Array,
  at: number,
  want: Values<F>,
): Difference | undefined {
  for (const name in header.fields) {
    const difference = differenceOf(header, name, frame, at, want[name])
    if (difference) return difference
  }
  return undefined
}

/** Every given field that differs. */
export function mismatches<F extends Fields>(
  header: Header<F>,
  frame: Uint8Array,
  at: number,
  want: Values<F>,
): Difference[] {
  const found: Difference[] = []
  for (const name in header.fields) {
    const difference = differenceOf(header, name, frame, at, want[name])
    if (difference) found.push(difference)
  }
  return found
}

function differenceOf<F extends Fields>(
  header: Header<F>,
  name: keyof F & string,
  frame: Uint8Array,
  at: number,
  expected: number | undefined,
): Difference | undefined {
  if (expected === undefined) return undefined
  const field = header.fields[name] as Field
  const end = at + field.offset + Math.ceil(field.bits / 8)
  const place = { field: `${header.name}.${name}`, at: at + field.offset }
  if (end > frame.length) return { ...place, expected, actual: 'missing' }
  const actual = field.get(frame, at)
  return actual === expected ? undefined : { ...place, expected, actual }
}

export function u8(offset: number): Field {
  return {
    offset,
    bits: 8,
    get: (frame, at) => frame[at + offset]! & 0xff,
    set: (frame, at, value) => {
      frame[at + offset] = value
    },
  }
}

export function u16(offset: number): Field {
  return {
    offset,
    bits: 16,
    get: (frame, at) => readU16(frame, at + offset),
    set: (frame, at, value) => writeU16(frame, at + offset, value),
  }
}

export function u24(offset: number): Field {
  return {
    offset,
    bits: 24,
    get: (frame, at) => (frame[at + offset]! << 16) | readU16(frame, at + offset + 1),
    set: (frame, at, value) => {
      frame[at + offset] = value >>> 16
      writeU16(frame, at + offset + 1, value)
    },
  }
}

export function u32(offset: number): Field {
  return {
    offset,
    bits: 32,
    get: (frame, at) => readU32(frame, at + offset),
    set: (frame, at, value) => writeU32(frame, at + offset, value),
  }
}

/** A MAC address as one number; exact, since doubles hold 53 bits. */
export function u48(offset: number): Field {
  return {
    offset,
    bits: 48,
    get: (frame, at) => readU16(frame, at + offset) * 0x1_0000_0000 + readU32(frame, at + offset + 2),
    set: (frame, at, value) => {
      writeU16(frame, at + offset, Math.floor(value / 0x1_0000_0000))
      writeU32(frame, at + offset + 2, value >>> 0)
    },
  }
}

/** `width` bits of one octet, `shift` bits above its lowest. */
export function bitsOfU8(offset: number, shift: number, width: number): Field {
  const mask = (1 << width) - 1
  return {
    offset,
    bits: width,
    get: (frame, at) => (frame[at + offset]! >> shift) & mask,
    set: (frame, at, value) => {
      frame[at + offset] = (frame[at + offset]! & ~(mask << shift)) | ((value & mask) << shift)
    },
  }
}

/** `width` bits of a 16-bit word, `shift` bits above its lowest. */
export function bitsOfU16(offset: number, shift: number, width: number): Field {
  const mask = (1 << width) - 1
  return {
    offset,
    bits: width,
    get: (frame, at) => (readU16(frame, at + offset) >> shift) & mask,
    set: (frame, at, value) => {
      const word = readU16(frame, at + offset)
      writeU16(frame, at + offset, (word & ~(mask << shift)) | ((value & mask) << shift))
    },
  }
}

// The only array reads without a bounds check: outside the frame they give undefined, which the operators turn to 0.

export function readU8(frame: Uint8Array, at: number): number {
  return frame[at]! & 0xff
}

export function readU16(frame: Uint8Array, at: number): number {
  return (frame[at]! << 8) | frame[at + 1]!
}

export function readU32(frame: Uint8Array, at: number): number {
  return ((frame[at]! << 24) | (frame[at + 1]! << 16) | (frame[at + 2]! << 8) | frame[at + 3]!) >>> 0
}

export function writeU16(frame: Uint8Array, at: number, value: number): void {
  frame[at] = value >>> 8
  frame[at + 1] = value
}

export function writeU32(frame: Uint8Array, at: number, value: number): void {
  frame[at] = value >>> 24
  frame[at + 1] = value >>> 16
  frame[at + 2] = value >>> 8
  frame[at + 3] = value
}
