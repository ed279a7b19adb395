/** The pcapng format as reader and writer both need it (draft-ietf-opsawg-pcapng §3 and §4). */
export const BLOCK = {
  SECTION_HEADER: 0x0a0d0d0a,
  INTERFACE_DESCRIPTION: 1,
  OBSOLETE_PACKET: 2,
  SIMPLE_PACKET: 3,
  INTERFACE_STATISTICS: 5,
  ENHANCED_PACKET: 6,
} as const

export const BYTE_ORDER_MAGIC = 0x1a2b3c4d

export const OPTION = {
  END: 0,
  COMMENT: 1,
  SHB_USERAPPL: 4,
  IF_NAME: 2,
  IF_DESCRIPTION: 3,
  IF_TSRESOL: 9,
  IF_TSOFFSET: 14,
  EPB_FLAGS: 2,
  ISB_IFRECV: 4,
  ISB_IFDROP: 5,
} as const

/** epb_flags: the two lowest bits are the direction (1 inbound, 2 outbound), bit 9 says "checksum not ready". */
export const EPB_FLAG = { DIRECTION: 3, CHECKSUM_NOT_READY: 1 << 9 } as const

/** Ethernet, in the registry of link types. */
export const LINKTYPE_ETHERNET = 1

/** Rounded up to 32 bits, as every option and packet is padded. */
export function padded(length: number): number {
  return (length + 3) & ~3
}

/** Where reading stopped before the end of the file, and why. What came before is valid. */
export interface Problem {
  at: number
  why: string
}

/** An interface of a capture file; counters are those of its last Interface Statistics Block. */
export interface CaptureInterface {
  name: string
  linkType: number
  snapLength: number
  received?: number
  dropped?: number
}

/** One frame while it is read: a single object, filled anew for each, valid until the visitor returns. */
export interface CapturedFrame {
  bytes: Uint8Array
  at: number
  length: number
  originalLength: number
  /** CLOCK_REALTIME of the capturing machine. */
  seconds: number
  nanoseconds: number
  /** Index into the file's `interfaces`. */
  interfaceId: number
  /** As in captures/record.ts; 0 when the file does not say. */
  direction: number
  checksumNotReady: boolean
  /** Of the frame's first byte in the file. */
  fileOffset: number
  comment: string
}

export function emptyFrame(): CapturedFrame {
  const nothing = new Uint8Array(0)
  return {
    bytes: nothing,
    at: 0,
    length: 0,
    originalLength: 0,
    seconds: 0,
    nanoseconds: 0,
    interfaceId: 0,
    direction: 0,
    checksumNotReady: false,
    fileOffset: 0,
    comment: '',
  }
}
