import { closeSync, openSync, writeSync } from 'node:fs'
import { BLOCK, BYTE_ORDER_MAGIC, EPB_FLAG, LINKTYPE_ETHERNET, OPTION, padded } from './pcapng.ts'

const BATCH_BYTES = 1 << 20
/** Block header and trailer, fixed fields, flags, end of options: everything of an EPB but bytes and comment. */
const EPB_OVERHEAD_BYTES = 32 + 8 + 4
/** Up to this length a loop copies faster than making the two views that `set` needs. */
const SHORT_COPY_BYTES = 192

/**
 * Writes one pcapng section, little-endian, nanoseconds, in large synchronous batches: what is in the file before
 * `flush` or `close` is whole blocks, but maybe not the last ones.
 */
export class PcapngWriter {
  readonly path: string
  readonly #fd: number
  readonly #buffer = new Uint8Array(BATCH_BYTES)
  readonly #view = new DataView(this.#buffer.buffer)
  readonly #clock = new NanosecondClock()
  #used = 0
  #interfaces = 0
  #frames = 0
  #closed = false

  constructor(path: string) {
    this.path = path
    this.#fd = openSync(path, 'w')
    this.#block(BLOCK.SECTION_HEADER, [
      u32(BYTE_ORDER_MAGIC),
      u16(1),
      u16(0),
      ff(8),
      text(OPTION.SHB_USERAPPL, 'castproof'),
      END,
    ])
  }

  /** Number of the frame written last, as Wireshark counts. */
  get frames(): number {
    return this.#frames
  }

  /** May be called between frames, for an interface that appears while the capture runs; returns its id. */
  addInterface(name: string): number {
    this.#block(BLOCK.INTERFACE_DESCRIPTION, [
      u16(LINKTYPE_ETHERNET),
      u16(0),
      u32(0),
      text(OPTION.IF_NAME, name),
      option(OPTION.IF_TSRESOL, Buffer.of(9)),
      END,
    ])
    return this.#interfaces++
  }

  /** Returns the frame's number in the file. `direction` as in captures/record.ts. */
  frame(
    interfaceId: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    originalLength: number,
    seconds: number,
    nanoseconds: number,
    direction: number,
    checksumNotReady = false,
    comment = '',
  ): number {
    const commentOption = comment ? text(OPTION.COMMENT, comment) : undefined
    const total = EPB_OVERHEAD_BYTES + padded(length) + (commentOption?.length ?? 0)
    if (!this.#room(total)) throw new RangeError(`a frame of ${length} bytes does not fit a capture block`)
    const start = this.#used
    const view = this.#view
    this.#clock.set(seconds, nanoseconds)
    view.setUint32(start, BLOCK.ENHANCED_PACKET, true)
    view.setUint32(start + 4, total, true)
    view.setUint32(start + 8, interfaceId, true)
    view.setUint32(start + 12, this.#clock.high, true)
    view.setUint32(start + 16, this.#clock.low, true)
    view.setUint32(start + 20, length, true)
    view.setUint32(start + 24, originalLength, true)
    let end = this.#copy(bytes, at, length, start + 28)
    view.setUint32(end, OPTION.EPB_FLAGS | (4 << 16), true)
    view.setUint32(end + 4, direction | (checksumNotReady ? EPB_FLAG.CHECKSUM_NOT_READY : 0), true)
    end += 8
    if (commentOption) this.#buffer.set(commentOption, end)
    end += commentOption?.length ?? 0
    view.setUint32(end, 0, true)
    view.setUint32(end + 4, total, true)
    this.#used = start + total
    return ++this.#frames
  }

  /** Counters of an interface since the capture began; belongs at the end of the file. */
  statistics(interfaceId: number, received: number, dropped: number, comment = ''): void {
    this.#block(BLOCK.INTERFACE_STATISTICS, [
      u32(interfaceId),
      u32(this.#clock.high),
      u32(this.#clock.low),
      ...(comment ? [text(OPTION.COMMENT, comment)] : []),
      option(OPTION.ISB_IFRECV, u64(received)),
      option(OPTION.ISB_IFDROP, u64(dropped)),
      END,
    ])
  }

  flush(): void {
    let written = 0
    while (written < this.#used) written += writeSync(this.#fd, this.#buffer, written, this.#used - written)
    this.#used = 0
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    try {
      this.flush()
    } finally {
      closeSync(this.#fd)
    }
  }

  /** Frame bytes and zero padding; returns where the padding ends. */
  #copy(bytes: Uint8Array, at: number, length: number, to: number): number {
    const buffer = this.#buffer
    if (length <= SHORT_COPY_BYTES) for (let i = 0; i < length; i++) buffer[to + i] = bytes[at + i] as number
    else buffer.set(bytes.subarray(at, at + length), to)
    const end = to + padded(length)
    for (let i = to + length; i < end; i++) buffer[i] = 0
    return end
  }

  #block(type: number, parts: readonly Uint8Array[]): void {
    const body = Buffer.concat(parts)
    const total = body.length + 12
    if (!this.#room(total)) throw new RangeError('a name or comment does not fit a capture block')
    this.#buffer.set(Buffer.concat([u32(type), u32(total), body, u32(total)]), this.#used)
    this.#used += total
  }

  #room(bytes: number): boolean {
    if (this.#used + bytes > BATCH_BYTES) this.flush()
    return bytes <= BATCH_BYTES
  }
}

/** Seconds and nanoseconds to one 64-bit count in two halves, without BigInt: 1e9 × 2^32 is beyond what doubles hold exactly. */
export class NanosecondClock {
  high = 0
  low = 0
  #seconds = -1
  #highBase = 0
  #lowBase = 0

  set(seconds: number, nanoseconds: number): void {
    if (seconds !== this.#seconds) this.#turn(seconds)
    const low = this.#lowBase + nanoseconds
    this.low = low >>> 0
    this.high = low > 0xffff_ffff ? this.#highBase + 1 : this.#highBase
  }

  #turn(seconds: number): void {
    const total = BigInt(seconds) * 1_000_000_000n
    this.#seconds = seconds
    this.#highBase = Number(total >> 32n)
    this.#lowBase = Number(total & 0xffff_ffffn)
  }
}

const END = u32(OPTION.END)

function u16(value: number): Buffer {
  const buffer = Buffer.alloc(2)
  buffer.writeUInt16LE(value)
  return buffer
}

function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeUInt32LE(value)
  return buffer
}

function u64(value: number): Buffer {
  const buffer = Buffer.alloc(8)
  buffer.writeBigUInt64LE(BigInt(value))
  return buffer
}

/** A section length that is not known: all ones. */
function ff(length: number): Buffer {
  return Buffer.alloc(length, 0xff)
}

function option(code: number, value: Uint8Array): Buffer {
  return Buffer.concat([u16(code), u16(value.length), value, Buffer.alloc(padded(value.length) - value.length)])
}

/** An option's length has 16 bits: longer text is cut. */
function text(code: number, value: string): Buffer {
  return option(code, Buffer.from(value, 'utf8').subarray(0, 0xfff0))
}
