import { inNetns, type Netns } from '../linux/netns.ts'
import { patchFrame } from '../template.ts'
import { Unsupported } from '../unsupported.ts'
import { realtimeClock } from './clock.ts'
import type { Engine, SendRecord } from './engine.ts'
import { mostFragments, type Port, runStartOf, sendStreams } from './loop.ts'

/** What we use of the package `cap`, which has no types of its own. */
interface CapHandle {
  open(device: string, filter: string, bufferBytes: number, buffer: Buffer): string
  send(frame: Buffer, bytes: number): void
  close(): void
}

export interface CapOptions {
  ns?: Netns
  interface: string
  record?: SendRecord
}

/** Nothing is ever received through it. */
const NO_PACKETS = 'less 1'
const MAX_FRAME_BYTES = 65_535

// cap registers a poll handle inside each object, and close() leaves it in libuv's list: none may ever be collected.
const opened: CapHandle[] = []

/** libpcap's own send, one frame a call: runs where AF_PACKET does not. Rejects with Unsupported when `cap` is not built. */
export async function openCapEngine(options: CapOptions): Promise<Engine> {
  const handle = await newCap()
  opened.push(handle)
  const open = () => handle.open(options.interface, NO_PACKETS, 65_536, Buffer.alloc(MAX_FRAME_BYTES))
  const linkType = options.ns ? inNetns(options.ns, open) : open()
  if (linkType !== 'ETHERNET')
    throw new Unsupported('sending', 'an Ethernet interface', `${options.interface}: ${linkType}`)
  return {
    async send(streams, stop) {
      const clock = realtimeClock(runStartOf(streams))
      return sendStreams(streams, capPort(handle, mostFragments(streams)), clock, options.record, stop)
    },
    close: () => handle.close(),
  }
}

async function newCap(): Promise<CapHandle> {
  // An optional package: its name is no literal, so that the compiler does not ask for its types.
  const name: string = 'cap'
  try {
    const { Cap } = ((await import(name)) as { default: { Cap: new () => CapHandle } }).default
    return new Cap()
  } catch (error) {
    const [line = '', why = line] = String(error instanceof Error ? error.message : error).split('\n')
    // Of a module built for another Node the second line says so.
    const found = why.startsWith('was compiled') ? `one built for another Node than ${process.version}` : line
    throw new Unsupported('the cap engine', 'the npm package cap, built with libpcap-dev', found, error)
  }
}

/** One frame after the other, so that no batch waits long behind slow calls. */
const BATCH_FRAMES = 64

function capPort(handle: CapHandle, most: number): Port {
  const slots: Buffer[] = []
  return {
    capacity: Math.max(BATCH_FRAMES, most),
    load(slot, stream, frame, sequence, timeUs) {
      const bytes = Buffer.from(frame.bytes)
      patchFrame(bytes, 0, frame, stream.slots, sequence, timeUs)
      slots[slot] = bytes
    },
    send(from, count) {
      for (let slot = from; slot < count; slot++) if (!sendOne(handle, slots[slot]!)) return slot - from
      return count - from
    },
  }
}

/** False when the device had no room; libpcap tells that by the text of errno only. */
function sendOne(handle: CapHandle, frame: Buffer): boolean {
  try {
    handle.send(frame, frame.length)
    return true
  } catch (error) {
    if (error instanceof Error && /No buffer space|temporarily unavailable/.test(error.message)) return false
    throw error
  }
}
