import { updateChecksum16 } from './wire/checksum.ts'
import { writeU16 } from './wire/field.ts'
import { ipv4 } from './wire/ipv4.ts'
import { patchStamp } from './wire/stamp.ts'

/** Final bytes and the slots that change with the sequence number; nothing else is written per frame. */
export interface TemplateFrame {
  readonly bytes: Uint8Array
  /** Where the stamp starts; -1 = this frame carries none. */
  readonly stampAt: number
  /** IPv4 header whose ID follows the sequence, as fragments of different datagrams must differ (RFC 791 §3.2); -1 = fixed. */
  readonly idAt: number
}

/** The frames of one sequence number in the order they leave: one, or the fragments of one datagram. */
export type Variant = readonly TemplateFrame[]

/** What is the same in every frame of a stream. */
export interface StreamSlots {
  /** `stampBase(run, stream)`. */
  readonly stampBase: number
  /** ID of sequence 0. */
  readonly idBase: number
}

/** Writes the slots into a copy of the template's bytes that starts at `at`. About 6 ns for a stamp. */
export function patchFrame(
  into: Uint8Array,
  at: number,
  frame: TemplateFrame,
  slots: StreamSlots,
  sequence: number,
  timeUs: number,
): void {
  if (frame.stampAt >= 0) patchStamp(into, at + frame.stampAt, slots.stampBase, sequence, timeUs)
  if (frame.idAt >= 0) patchId(into, at + frame.idAt, frame, (slots.idBase + sequence) & 0xffff)
}

function patchId(into: Uint8Array, ipAt: number, frame: TemplateFrame, id: number): void {
  const checksum = ipv4.fields.checksum.get(frame.bytes, frame.idAt)
  const templateId = ipv4.fields.id.get(frame.bytes, frame.idAt)
  writeU16(into, ipAt + ipv4.fields.id.offset, id)
  writeU16(into, ipAt + ipv4.fields.checksum.offset, updateChecksum16(checksum, templateId, id))
}

/** The variant's frames as they leave for `sequence`, in fresh buffers. */
export function rebuildFrames(variant: Variant, slots: StreamSlots, sequence: number, timeUs: number): Uint8Array[] {
  return variant.map(frame => {
    const bytes = frame.bytes.slice()
    patchFrame(bytes, 0, frame, slots, sequence, timeUs)
    return bytes
  })
}
