/** Direction of a frame at its tap: `in` reached the interface, `out` left it. */
export const DIRECTION = { unknown: 0, in: 1, out: 2 } as const

/** One place we listen. `name` is `<place>/<interface>`: `n1/eth0`, `n1/cilium_vxlan`, `n1/lxc_rx`, `rx/eth0`. */
export interface TapInfo {
  name: string
  /** The capture file, relative to the run directory, and the interface's index in it. */
  file: string
  interfaceId: number
}

/**
 * Frames of every tap, columnar. Index order is file by file, each file in capture order; times are nanoseconds since
 * `baseNs` (CLOCK_REALTIME). Bytes are read from the files on demand, through a small cache.
 */
export interface Recording {
  readonly count: number
  readonly taps: readonly TapInfo[]
  readonly baseNs: bigint
  /** Index into `taps`. */
  tap(i: number): number
  timeNs(i: number): number
  direction(i: number): number
  /** The frame's number in its capture file, counting from 1, as Wireshark shows it. */
  frameNumber(i: number): number
  originalLength(i: number): number
  /** The sender left the transport checksum to the device: it need not be right in these bytes. */
  checksumNotReady(i: number): boolean
  /** Valid until the next call. */
  bytes(i: number): Uint8Array
  /** Frames that the capture of this tap lost, as the file itself says; undefined when it does not. */
  dropped(tap: number): number | undefined
  /** What could not be read: a truncated block, a file that ends early. Never empty-handed silence. */
  readonly problems: readonly string[]
  close(): void
}
