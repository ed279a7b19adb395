import type { CompiledStream, StreamAbout } from './stream.ts'
import type { StreamSpec } from './stream-spec.ts'
import type { StreamSlots, TemplateFrame, Variant } from './template.ts'

/**
 * `sent.bin`: what the kernel took, append-only. Little-endian blocks, each `u32 kind, u32 length`, then `length` bytes of
 * content and zeros up to a multiple of 8. The first block is `head`. Unknown kinds are passed over.
 */
export const SENT_SCHEMA = 'castproof-sent/1'

/** "CPS1" as the kind of the first block, so that the file says what it is. */
export const BLOCK = { head: 0x3153_5043, stream: 1, frames: 2 } as const

export const BLOCK_HEADER_BYTES = 8

/** Content of `head`, JSON. */
export interface SentHead {
  schema: typeof SENT_SCHEMA
  /** CLOCK_REALTIME of the run's start in decimal: times in the file count from here. */
  runStartNs: string
}

/** Content of `stream`, JSON; the n-th such block is stream n of the `frames` blocks. */
export interface SentStreamHead extends StreamAbout {
  number: number
  name: string
  spec: StreamSpec
  slots: StreamSlots
  /** Template frames of each variant in the order they leave, as hex. */
  variants: { hex: string; stampAt: number; idAt: number }[][]
}

/**
 * Content of `frames`: 24 bytes of head, then columns of `count` entries: u32 stamp time after `baseNs`, u32 lag of the kernel's
 * taking after the stamp, both ns, u16 variant. Sequences are consecutive from `firstSequence`.
 */
export const FRAMES_HEAD = { stream: 0, firstSequence: 4, baseNs: 8, count: 16, bytes: 24 } as const

export const BYTES_PER_FRAME = 10

export function streamHead(stream: CompiledStream): SentStreamHead {
  const { spec, slots, about } = stream
  const text = (frame: TemplateFrame) => ({
    hex: Buffer.from(frame.bytes).toString('hex'),
    stampAt: frame.stampAt,
    idAt: frame.idAt,
  })
  const variants = stream.variants.map(variant => variant.map(text))
  return { ...about, number: spec.number, name: spec.name, spec, slots, variants }
}

export function variantsOf(head: SentStreamHead): Variant[] {
  return head.variants.map(variant =>
    variant.map(({ hex, stampAt, idAt }) => ({ bytes: Uint8Array.from(Buffer.from(hex, 'hex')), stampAt, idAt })),
  )
}

export function padded8(bytes: number): number {
  return (bytes + 7) & ~7
}
