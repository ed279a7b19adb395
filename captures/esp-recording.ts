import { ethernet } from '../generators/wire/ethernet.ts'
import { type ClosedEsp, type Decrypted, Decryptor } from './decrypt.ts'
import type { EspKey, OpenedEsp } from './esp-opener.ts'
import { DIRECTION, type Recording } from './record.ts'

/** What is known of the ESP in a recording. */
export interface EspView {
  /** Index of the first clear frame: those before it were captured. */
  readonly firstClear: number
  /** ESP that was around a clear frame, outermost first; of a captured frame, none. */
  opened(frame: number): readonly OpenedEsp[]
  /** Index of the captured frame that made the packet whole. */
  capturedAs(frame: number): number
  /** Captured frames, or the last of fragments, with ESP that stayed closed. */
  readonly closed: readonly (ClosedEsp & { frame: number })[]
}

interface ClearFrame {
  bytes: Uint8Array
  captured: number
  opened: OpenedEsp[]
}

/**
 * The recording with one more frame for each ESP packet that a key opens: its clear bytes, at the tap, time, direction and number of the
 * frame that was captured. Clear frames are kept in memory.
 */
export function openEsp(
  recording: Recording,
  keys: readonly EspKey[],
  vxlanPorts?: readonly number[],
): { recording: Recording; esp: EspView } {
  const opening = new Opening(recording, keys, vxlanPorts)
  for (let i = 0; i < recording.count; i++) opening.add(i)
  const { clear, closed } = opening
  const first = recording.count
  const captured = (i: number) => (i < first ? i : (clear[i - first] as ClearFrame).captured)
  const opened: Recording = {
    ...recording,
    count: first + clear.length,
    tap: i => recording.tap(captured(i)),
    timeNs: i => recording.timeNs(captured(i)),
    direction: i => recording.direction(captured(i)),
    frameNumber: i => recording.frameNumber(captured(i)),
    originalLength: i => clear[i - first]?.bytes.length ?? recording.originalLength(i),
    checksumNotReady: i => recording.checksumNotReady(captured(i)),
    bytes: i => clear[i - first]?.bytes ?? recording.bytes(i),
  }
  const esp = { firstClear: first, opened: (i: number) => clear[i - first]?.opened ?? [], capturedAs: captured, closed }
  return { recording: opened, esp }
}

class Opening {
  readonly clear: ClearFrame[] = []
  readonly closed: (ClosedEsp & { frame: number })[] = []
  readonly #recording: Recording
  readonly #newDecryptor: () => Decryptor<number>
  readonly #taps = new Map<number, { decryptor: Decryptor<number>; received: Map<string, ClearFrame[]> }>()

  constructor(recording: Recording, keys: readonly EspKey[], vxlanPorts: readonly number[] | undefined) {
    this.#recording = recording
    this.#newDecryptor = () => new Decryptor<number>(keys, vxlanPorts)
  }

  /** Each tap counts for itself: files come one after the other, and extended numbers would seem to jump back. */
  add(frame: number): void {
    const tap = this.#recording.tap(frame)
    const state = this.#taps.get(tap) ?? { decryptor: this.#newDecryptor(), received: new Map() }
    this.#taps.set(tap, state)
    const bytes = this.#recording.bytes(frame)
    const direction = this.#recording.direction(frame)
    const outcome = state.decryptor.add(String(direction), bytes, this.#recording.originalLength(frame), frame)
    if (!outcome) return
    if (outcome.result.kind !== 'plain') this.#take(outcome.result, frame, direction, state.received)
    else if (direction === DIRECTION.in && state.received.size > 0) this.#shownAgain(bytes, state.received)
  }

  #take(
    result: Exclude<Decrypted, { kind: 'plain' }>,
    frame: number,
    direction: number,
    received: Map<string, ClearFrame[]>,
  ) {
    if (result.closed) this.closed.push({ ...result.closed, frame })
    if (result.kind === 'closed') return
    const clear = { bytes: result.frame, captured: frame, opened: result.opened }
    this.clear.push(clear)
    if (direction !== DIRECTION.in) return
    const key = packetText(result.frame)
    received.set(key, [...(received.get(key) ?? []), clear])
  }

  /** Linux shows a packet that XFRM has opened once more at the device it came by: that frame stands for it then. */
  #shownAgain(bytes: Uint8Array, received: Map<string, ClearFrame[]>): void {
    const key = packetText(bytes)
    const [clear, ...others] = received.get(key) ?? []
    if (!clear) return
    this.clear.splice(this.clear.lastIndexOf(clear), 1)
    if (others.length > 0) received.set(key, others)
    else received.delete(key)
  }
}

/** The packet behind the Ethernet header, as a key. */
function packetText(frame: Uint8Array): string {
  return Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength).toString('latin1', ethernet.length)
}
