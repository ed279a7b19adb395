import { closeSync, openSync, writeSync } from 'node:fs'
import type { FileWindow } from './file-window.ts'
import { type CapturedFrame, type CaptureInterface, emptyFrame, LINKTYPE_ETHERNET, type Problem } from './pcapng.ts'

/** Classic pcap: the magic says both the byte order and whether fractions are micro- or nanoseconds. */
const MAGIC_MICROSECONDS = 0xa1b2c3d4
const MAGIC_NANOSECONDS = 0xa1b23c4d
const FILE_HEADER_BYTES = 24
const RECORD_HEADER_BYTES = 16
const MAX_FRAME_BYTES = 16 << 20

export interface PcapKind {
  littleEndian: boolean
  nanosecondsPerUnit: number
}

/** Byte order and fraction of a file that starts with this word, read little-endian; undefined when it is no pcap. */
export function pcapKind(magic: number): PcapKind | undefined {
  if (magic === MAGIC_MICROSECONDS) return { littleEndian: true, nanosecondsPerUnit: 1000 }
  if (magic === MAGIC_NANOSECONDS) return { littleEndian: true, nanosecondsPerUnit: 1 }
  if (magic === 0xd4c3b2a1) return { littleEndian: false, nanosecondsPerUnit: 1000 }
  if (magic === 0x4d3cb2a1) return { littleEndian: false, nanosecondsPerUnit: 1 }
  return undefined
}

/** Same promises as PcapngReader; the only interface has no name, and no frame has a direction. */
export class PcapReader {
  readonly interfaces: CaptureInterface[] = []
  problem: Problem | undefined
  readonly #window: FileWindow
  readonly #frame = emptyFrame()

  constructor(window: FileWindow) {
    this.#window = window
  }

  read(visit: (frame: CapturedFrame) => void): void {
    const window = this.#window
    if (!window.need(FILE_HEADER_BYTES)) this.problem = { at: window.offset, why: 'file ends inside its header' }
    const kind = this.problem ? undefined : this.#fileHeader()
    while (kind && !this.problem && window.need(1)) {
      const why = this.#record(kind, visit)
      if (why) this.problem = { at: window.offset, why }
    }
  }

  #fileHeader(): PcapKind | undefined {
    const window = this.#window
    const kind = pcapKind(window.view.getUint32(window.at, true))
    if (!kind) {
      this.problem = { at: window.offset, why: 'not a pcap file' }
      return undefined
    }
    const snapLength = window.view.getUint32(window.at + 16, kind.littleEndian)
    const linkType = window.view.getUint32(window.at + 20, kind.littleEndian) & 0xffff
    this.interfaces.push({ name: '', linkType, snapLength })
    window.at += FILE_HEADER_BYTES
    return kind
  }

  #record(kind: PcapKind, visit: (frame: CapturedFrame) => void): string | undefined {
    const window = this.#window
    const little = kind.littleEndian
    if (!window.need(RECORD_HEADER_BYTES)) return 'file ends inside a record header'
    const length = window.view.getUint32(window.at + 8, little)
    if (length > MAX_FRAME_BYTES) return `captured length ${length} cannot be right`
    if (!window.need(RECORD_HEADER_BYTES + length)) return 'file ends inside a frame'
    const frame = this.#frame
    frame.seconds = window.view.getUint32(window.at, little)
    frame.nanoseconds = window.view.getUint32(window.at + 4, little) * kind.nanosecondsPerUnit
    frame.originalLength = window.view.getUint32(window.at + 12, little)
    frame.bytes = window.bytes
    frame.at = window.at + RECORD_HEADER_BYTES
    frame.length = length
    frame.fileOffset = window.offset + RECORD_HEADER_BYTES
    visit(frame)
    window.at += RECORD_HEADER_BYTES + length
    return undefined
  }
}

/** Writes classic pcap in nanoseconds: for tools that read nothing newer, and for golden files. */
export class PcapWriter {
  readonly #fd: number

  constructor(path: string) {
    this.#fd = openSync(path, 'w')
    const header = Buffer.alloc(FILE_HEADER_BYTES)
    header.writeUInt32LE(MAGIC_NANOSECONDS, 0)
    header.writeUInt16LE(2, 4)
    header.writeUInt16LE(4, 6)
    header.writeUInt32LE(262144, 16)
    header.writeUInt32LE(LINKTYPE_ETHERNET, 20)
    writeSync(this.#fd, header)
  }

  frame(frame: Uint8Array, seconds: number, nanoseconds: number): void {
    const header = Buffer.alloc(RECORD_HEADER_BYTES)
    for (const [i, word] of [seconds, nanoseconds, frame.length, frame.length].entries())
      header.writeUInt32LE(word, i * 4)
    writeSync(this.#fd, Buffer.concat([header, frame]))
  }

  close(): void {
    closeSync(this.#fd)
  }
}
