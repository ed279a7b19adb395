import { formatIpv4 } from '../generators/wire/address.ts'
import { type CaptureFile, openCapture } from './capture-file.ts'
import { type ClosedEsp, Decryptor, type Outcome } from './decrypt.ts'
import type { EspKey, OpenedEsp } from './esp-opener.ts'
import type { CapturedFrame, Problem } from './pcapng.ts'
import { PcapngWriter } from './pcapng-writer.ts'

/** What one SA opened, in one direction. */
export interface SaSummary {
  src: string
  dst: string
  spi: number
  /** Which key it was: never the key. */
  key: string
  packets: number
  lowestSequence: number
  highestSequence: number
}

export interface DecryptSummary {
  frames: number
  written: number
  /** Frames, or packets joined from fragments, that held ESP. */
  esp: number
  opened: number
  /** Fragments that were joined to packets. */
  joined: number
  sas: SaSummary[]
  /** Why packets stayed closed, the most frequent reason first. */
  closed: { why: string; packets: number }[]
  problem: Problem | undefined
}

/** A frame that is kept until it is known what becomes of it. */
interface Held extends Omit<CapturedFrame, 'at' | 'fileOffset'> {
  number: number
}

/**
 * Copies a capture with what was inside ESP in the place of each ESP frame; what does not open stays as it is. Comments say which
 * frame it was, and why it is closed.
 */
export function decryptFile(input: string, output: string, keys: readonly EspKey[]): DecryptSummary {
  const capture = openCapture(input)
  try {
    const copy = new ClearCopy(capture, new PcapngWriter(output), keys)
    capture.read(frame => copy.add(frame))
    return copy.finish()
  } finally {
    capture.close()
  }
}

class ClearCopy {
  readonly #capture: CaptureFile
  readonly #writer: PcapngWriter
  readonly #decryptor: Decryptor<Held>
  readonly #interfaces = new Map<number, number>()
  readonly #sas = new Map<string, SaSummary>()
  readonly #closed = new Map<string, number>()
  #frames = 0
  #esp = 0
  #opened = 0
  #joined = 0

  constructor(capture: CaptureFile, writer: PcapngWriter, keys: readonly EspKey[]) {
    this.#capture = capture
    this.#writer = writer
    this.#decryptor = new Decryptor(keys)
  }

  add(frame: CapturedFrame): void {
    const held = { ...frame, bytes: frame.bytes.slice(frame.at, frame.at + frame.length), number: ++this.#frames }
    const outcome = this.#decryptor.add(String(held.interfaceId), held.bytes, held.originalLength, held)
    if (outcome) this.#write(outcome)
    for (const fragment of this.#decryptor.unfinished(false)) this.#copy(fragment, '')
  }

  finish(): DecryptSummary {
    for (const fragment of this.#decryptor.unfinished(true))
      this.#copy(fragment, 'a fragment whose packet is not whole')
    for (const [from, to] of this.#interfaces) this.#losses(from, to)
    this.#writer.close()
    const closed = [...this.#closed].map(([why, packets]) => ({ why, packets })).sort((a, b) => b.packets - a.packets)
    return {
      frames: this.#frames,
      written: this.#writer.frames,
      esp: this.#esp,
      opened: this.#opened,
      joined: this.#joined,
      sas: [...this.#sas.values()],
      closed,
      problem: this.#capture.problem,
    }
  }

  /** What the capture lost, it still lost. */
  #losses(from: number, to: number): void {
    const { received, dropped } = this.#capture.interfaces[from] ?? {}
    if (dropped !== undefined) this.#writer.statistics(to, received ?? 0, dropped)
  }

  #write({ tags, result }: Outcome<Held>): void {
    if (result.kind === 'plain') for (const frame of tags) this.#copy(frame, '')
    if (result.kind === 'plain') return
    this.#esp++
    if (result.kind === 'closed') {
      this.#count(result.closed)
      for (const frame of tags) this.#copy(frame, `ESP not opened: ${result.closed.why}`)
      return
    }
    if (result.closed) this.#count(result.closed)
    else this.#opened++
    for (const opened of result.opened) this.#tally(opened)
    if (tags.length > 1) this.#joined += tags.length
    const last = tags.at(-1) as Held
    const of = tags.map(({ number }) => number).join(', ')
    const inside = result.closed ? [`ESP inside not opened: ${result.closed.why}`] : []
    const lines = [`was frame ${of}`, ...result.opened.map(openedText), ...inside]
    this.#copy(
      { ...last, bytes: result.frame, length: result.frame.length, originalLength: result.frame.length },
      lines.join('; '),
    )
  }

  #count({ why }: ClosedEsp): void {
    this.#closed.set(why, (this.#closed.get(why) ?? 0) + 1)
  }

  #tally({ src, dst, spi, sequence, sequenceHigh, key }: OpenedEsp): void {
    const name = `${src} ${dst} ${spi} ${key.label}`
    const whole = sequenceHigh * 0x1_0000_0000 + sequence
    const known = this.#sas.get(name) ?? {
      src: formatIpv4(src),
      dst: formatIpv4(dst),
      spi,
      key: key.label,
      packets: 0,
      lowestSequence: whole,
      highestSequence: whole,
    }
    known.packets++
    known.lowestSequence = Math.min(known.lowestSequence, whole)
    known.highestSequence = Math.max(known.highestSequence, whole)
    this.#sas.set(name, known)
  }

  #copy(frame: Held, comment: string): void {
    const { interfaceId, bytes, originalLength, seconds, nanoseconds, direction, checksumNotReady } = frame
    const id =
      this.#interfaces.get(interfaceId) ?? this.#writer.addInterface(this.#capture.interfaces[interfaceId]?.name ?? '')
    this.#interfaces.set(interfaceId, id)
    const comments = [frame.comment, comment].filter(text => text !== '').join('\n')
    this.#writer.frame(
      id,
      bytes,
      0,
      bytes.length,
      originalLength,
      seconds,
      nanoseconds,
      direction,
      checksumNotReady,
      comments,
    )
  }
}

function openedText({ src, dst, spi, sequence, sequenceHigh, key }: OpenedEsp): string {
  const number = sequenceHigh * 0x1_0000_0000 + sequence
  return `ESP ${formatIpv4(src)} > ${formatIpv4(dst)}, SPI ${spi}, sequence ${number}, ${key.label}`
}
