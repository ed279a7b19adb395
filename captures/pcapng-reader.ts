import type { FileWindow } from './file-window.ts'
import {
  BLOCK,
  BYTE_ORDER_MAGIC,
  type CapturedFrame,
  type CaptureInterface,
  EPB_FLAG,
  emptyFrame,
  OPTION,
  type Problem,
  padded,
} from './pcapng.ts'

/** No honest packet block is longer (Wireshark has the same limit). */
const MAX_BLOCK_BYTES = 16 << 20
const MIN_BLOCK_BYTES = 12
const EPB_MIN_BYTES = 32
/** Code and length of epb_flags as one little-endian word. */
const FLAGS_OPTION = OPTION.EPB_FLAGS | (4 << 16)

type FrameVisitor = (frame: CapturedFrame) => void

/** Why a block cannot be right. */
type Trouble = string | undefined

/** What the reader must know of an interface besides what it tells. */
interface Timing {
  unitsPerSecond: bigint
  offsetSeconds: bigint
  /** The case that needs no BigInt. */
  nanosecondUnits: boolean
  /** Seconds and nanoseconds of the time stamp (high, 0), for the last `high`; only for nanosecond interfaces. */
  high: number
  seconds: number
  nanoseconds: number
}

/**
 * Reads pcapng of any byte order, time resolution and number of sections; blocks it does not know are skipped. Never throws on
 * content: reading stops at the first thing that cannot be right, which is then `problem`.
 */
export class PcapngReader {
  readonly interfaces: CaptureInterface[] = []
  problem: Problem | undefined
  readonly #window: FileWindow
  readonly #timings: Timing[] = []
  readonly #frame: CapturedFrame = emptyFrame()
  #littleEndian = true
  #sectionFirst = 0

  constructor(window: FileWindow) {
    this.#window = window
  }

  read(visit: FrameVisitor): void {
    while (!this.problem && this.#window.need(1)) {
      if (this.#littleEndian && (this.#window.at & 3) === 0) this.#readWords(visit)
      if (this.#window.available === 0) continue
      const at = this.#window.offset
      const why = this.#readBlock(visit)
      if (why) this.problem = { at, why }
    }
  }

  /**
   * Enhanced packets that are whole in the window, by words: nearly all of nearly every file, at twice the speed. Stops at
   * whatever is not one, and leaves what to make of it to `#readBlock`.
   */
  #readWords(visit: FrameVisitor): void {
    const window = this.#window
    const { words } = window
    while (window.available >= EPB_MIN_BYTES) {
      const word = window.at >>> 2
      const length = words[word + 1] as number
      if (words[word] !== BLOCK.ENHANCED_PACKET || length < EPB_MIN_BYTES || length > window.available) return
      if ((length & 3) !== 0 || words[word + (length >>> 2) - 1] !== length) return
      const captured = words[word + 5] as number
      const timing = this.#timings[this.#sectionFirst + (words[word + 2] as number)]
      if (captured > length - EPB_MIN_BYTES || !timing) return
      this.#emitWords(word, captured, length, timing, visit)
      window.at += length
    }
  }

  #emitWords(word: number, captured: number, length: number, timing: Timing, visit: FrameVisitor): void {
    const window = this.#window
    const { words } = window
    const frame = this.#frame
    forget(frame)
    const options = word + 7 + ((captured + 3) >>> 2)
    // Flags and nothing else, as our own writer does it.
    if (words[options] === FLAGS_OPTION && words[options + 2] === OPTION.END)
      setFlags(frame, words[options + 1] as number)
    else this.#packetOptions(options << 2, window.at + length - 4)
    frame.originalLength = words[word + 6] as number
    setTime(frame, timing, words[word + 3] as number, words[word + 4] as number)
    frame.bytes = window.bytes
    frame.at = window.at + 28
    frame.length = captured
    frame.interfaceId = this.#sectionFirst + (words[word + 2] as number)
    frame.fileOffset = window.origin + frame.at
    visit(frame)
  }

  #readBlock(visit: FrameVisitor): Trouble {
    const window = this.#window
    if (!window.need(MIN_BLOCK_BYTES)) return 'file ends inside a block header'
    const type = window.view.getUint32(window.at, this.#littleEndian)
    // The type of a section header reads the same in both byte orders.
    if (type === BLOCK.SECTION_HEADER && !this.#startSection()) return 'section header without byte-order magic'
    const length = window.view.getUint32(window.at + 4, this.#littleEndian)
    if (length < MIN_BLOCK_BYTES || (length & 3) !== 0) return `block length ${length} cannot be right`
    if (!isRead(type)) return window.skip(length) ? undefined : 'file ends inside a block'
    if (length > MAX_BLOCK_BYTES) return `block of ${length} bytes is longer than any packet`
    if (!window.need(length)) return 'file ends inside a block'
    const end = window.at + length - 4
    if (window.view.getUint32(end, this.#littleEndian) !== length) return 'block lengths at start and end differ'
    const trouble = this.#readBody(type, window.at, end, visit)
    window.at += length
    return trouble
  }

  #readBody(type: number, at: number, end: number, visit: FrameVisitor): Trouble {
    if (type === BLOCK.ENHANCED_PACKET) return this.#packet(at, end, 4, visit)
    if (type === BLOCK.INTERFACE_DESCRIPTION) return this.#interfaceDescription(at, end)
    if (type === BLOCK.INTERFACE_STATISTICS) return this.#interfaceStatistics(at, end)
    if (type === BLOCK.SIMPLE_PACKET) return this.#simplePacket(at, end, visit)
    return this.#packet(at, end, 2, visit)
  }

  /** A section may have the other byte order, and has its own interfaces. */
  #startSection(): boolean {
    const { view, at } = this.#window
    this.#littleEndian = view.getUint32(at + 8, true) === BYTE_ORDER_MAGIC
    this.#sectionFirst = this.interfaces.length
    return this.#littleEndian || view.getUint32(at + 8, false) === BYTE_ORDER_MAGIC
  }

  #interfaceDescription(at: number, end: number): Trouble {
    if (end - at < 16) return 'interface description block too short'
    const view = this.#window.view
    const linkType = view.getUint16(at + 8, this.#littleEndian)
    const snapLength = view.getUint32(at + 12, this.#littleEndian)
    const timing = microseconds()
    const described: CaptureInterface = { name: '', linkType, snapLength }
    this.#options(at + 16, end, (code, value, length) => {
      if (code === OPTION.IF_NAME) described.name = this.#text(value, length)
      if (code === OPTION.IF_TSRESOL && length >= 1) timing.unitsPerSecond = unitsPerSecond(view.getUint8(value))
      if (code === OPTION.IF_TSOFFSET && length >= 8) timing.offsetSeconds = view.getBigInt64(value, this.#littleEndian)
    })
    timing.nanosecondUnits = timing.unitsPerSecond === NANOSECONDS && timing.offsetSeconds === 0n
    this.interfaces.push(described)
    this.#timings.push(timing)
    return undefined
  }

  #interfaceStatistics(at: number, end: number): Trouble {
    if (end - at < 20) return 'interface statistics block too short'
    const view = this.#window.view
    const known = this.interfaces[this.#sectionFirst + view.getUint32(at + 8, this.#littleEndian)]
    if (!known) return 'statistics of an interface that is not described'
    this.#options(at + 20, end, (code, value, length) => {
      if (length < 8) return
      if (code === OPTION.ISB_IFRECV) known.received = Number(view.getBigUint64(value, this.#littleEndian))
      if (code === OPTION.ISB_IFDROP) known.dropped = Number(view.getBigUint64(value, this.#littleEndian))
    })
    return undefined
  }

  /** The enhanced packet block, and the obsolete one, whose interface id has two bytes. */
  #packet(at: number, end: number, idBytes: 2 | 4, visit: FrameVisitor): Trouble {
    if (end - at < 28) return 'packet block too short'
    const view = this.#window.view
    const little = this.#littleEndian
    const length = view.getUint32(at + 20, little)
    if (length > end - at - 28) return 'captured length is longer than the block'
    const frame = this.#frame
    forget(frame)
    this.#packetOptions(at + 28 + padded(length), end)
    frame.originalLength = view.getUint32(at + 24, little)
    const id = idBytes === 4 ? view.getUint32(at + 8, little) : view.getUint16(at + 8, little)
    return this.#emit(id, view.getUint32(at + 12, little), view.getUint32(at + 16, little), at + 28, length, visit)
  }

  /** Interface 0, no time, and the captured length follows from its snap length. */
  #simplePacket(at: number, end: number, visit: FrameVisitor): Trouble {
    if (end - at < 12) return 'simple packet block too short'
    const frame = this.#frame
    forget(frame)
    frame.originalLength = this.#window.view.getUint32(at + 8, this.#littleEndian)
    const length = Math.min(frame.originalLength, this.interfaces[this.#sectionFirst]?.snapLength || Infinity)
    if (length > end - at - 12) return 'captured length is longer than the block'
    return this.#emit(0, 0, 0, at + 12, length, visit)
  }

  #emit(id: number, high: number, low: number, at: number, length: number, visit: FrameVisitor): Trouble {
    const frame = this.#frame
    const interfaceId = this.#sectionFirst + id
    const timing = this.#timings[interfaceId]
    if (!timing) return `packet of interface ${id}, which is not described`
    setTime(frame, timing, high, low)
    frame.bytes = this.#window.bytes
    frame.at = at
    frame.length = length
    frame.interfaceId = interfaceId
    frame.fileOffset = this.#window.offset + at - this.#window.at
    visit(frame)
    return undefined
  }

  /** Own loop, without a callback: it runs for every packet. */
  #packetOptions(from: number, end: number): void {
    const view = this.#window.view
    const little = this.#littleEndian
    let at = from
    while (at + 4 <= end) {
      const code = view.getUint16(at, little)
      const length = view.getUint16(at + 2, little)
      if (code === OPTION.END || at + 4 + length > end) return
      if (code === OPTION.EPB_FLAGS && length >= 4) {
        setFlags(this.#frame, view.getUint32(at + 4, little))
      } else if (code === OPTION.COMMENT) this.#frame.comment += this.#text(at + 4, length)
      at += 4 + padded(length)
    }
  }

  /** An option that reaches past its block ends the list: what is known by then is kept. */
  #options(from: number, end: number, option: (code: number, value: number, length: number) => void): void {
    const view = this.#window.view
    let at = from
    while (at + 4 <= end) {
      const code = view.getUint16(at, this.#littleEndian)
      const length = view.getUint16(at + 2, this.#littleEndian)
      if (code === OPTION.END || at + 4 + length > end) return
      option(code, at + 4, length)
      at += 4 + padded(length)
    }
  }

  #text(at: number, length: number): string {
    return Buffer.from(this.#window.bytes.buffer, at, length).toString('utf8').replace(/\0+$/, '')
  }
}

/** What holds without if_tsresol. */
function microseconds(): Timing {
  const none = { high: -1, seconds: 0, nanoseconds: 0 }
  return { unitsPerSecond: 1_000_000n, offsetSeconds: 0n, nanosecondUnits: false, ...none }
}

function setFlags(frame: CapturedFrame, flags: number): void {
  frame.direction = (flags & EPB_FLAG.DIRECTION) % 3
  frame.checksumNotReady = (flags & EPB_FLAG.CHECKSUM_NOT_READY) !== 0
}

/** What was left by the frame before. */
function forget(frame: CapturedFrame): void {
  frame.direction = 0
  frame.checksumNotReady = false
  frame.comment = ''
}

function isRead(type: number): boolean {
  return (type >= 1 && type <= 3) || type === BLOCK.INTERFACE_STATISTICS || type === BLOCK.ENHANCED_PACKET
}

/** if_tsresol: a negative power of 2 when the top bit is set, else of 10. */
function unitsPerSecond(resolution: number): bigint {
  return (resolution & 0x80 ? 2n : 10n) ** BigInt(resolution & 0x7f)
}

function setTime(frame: CapturedFrame, timing: Timing, high: number, low: number): void {
  if (!timing.nanosecondUnits) {
    setAnyTime(frame, timing, high, low)
    return
  }
  if (timing.high !== high) turn(timing, high)
  const nanoseconds = timing.nanoseconds + low
  const carry = Math.floor(nanoseconds / 1e9)
  frame.seconds = timing.seconds + carry
  frame.nanoseconds = nanoseconds - carry * 1e9
}

const NANOSECONDS = 1_000_000_000n

/** `high` changes every 4.3 s: BigInt only then. */
function turn(timing: Timing, high: number): void {
  const total = BigInt(high) << 32n
  timing.high = high
  timing.seconds = Number(total / NANOSECONDS)
  timing.nanoseconds = Number(total % NANOSECONDS)
}

function setAnyTime(frame: CapturedFrame, timing: Timing, high: number, low: number): void {
  const units = (BigInt(high) << 32n) | BigInt(low)
  frame.seconds = Number(units / timing.unitsPerSecond + timing.offsetSeconds)
  frame.nanoseconds = Number(((units % timing.unitsPerSecond) * NANOSECONDS) / timing.unitsPerSecond)
}
