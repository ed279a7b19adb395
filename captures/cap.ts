import { inNetns, type Netns } from '../generators/linux/netns.ts'
import { Unsupported } from './unsupported.ts'

/** What we use of the package, which has no types of its own. */
interface Cap {
  open(device: string, filter: string, bufferBytes: number, buffer: Buffer): string
  setMinBytes?(bytes: number): void
  on(event: 'packet', listener: (length: number, truncated: boolean) => void): void
  close(): void
}

export interface CapOptions {
  ns?: Netns
  interface: string
  /** pcap-filter(7). */
  filter?: string
  bufferBytes?: number
  /** The bytes are valid during the call. */
  onFrame: (frame: Uint8Array, truncated: boolean) => void
}

/** A running capture. */
export interface CapCapture {
  readonly linkType: string
  close(): void
}

const MAX_FRAME_BYTES = 65_535
/** libpcap gives each frame a slot of the snap length, 64 KiB: this is a thousand frames. */
const BUFFER_BYTES = 64 << 20

// close() stops cap's poll handle but leaves it in the event loop's list, inside the object: it must never be collected.
const opened: Cap[] = []

/**
 * Captures with libpcap where AF_PACKET rings do not exist, and as an independent witness in tests. It tells neither time,
 * direction, original length nor drops, so nothing is judged by it. Frames come from the event loop, promiscuous always.
 */
export async function openCap(options: CapOptions): Promise<CapCapture> {
  const cap = await newCap()
  opened.push(cap)
  // cap overwrites this buffer for every frame: the listener must be done with it when it returns.
  const buffer = Buffer.alloc(MAX_FRAME_BYTES)
  const open = () => cap.open(options.interface, options.filter ?? '', options.bufferBytes ?? BUFFER_BYTES, buffer)
  const linkType = options.ns ? inNetns(options.ns, open) : open()
  cap.setMinBytes?.(0)
  cap.on('packet', (length, truncated) => options.onFrame(buffer.subarray(0, length), truncated))
  return { linkType, close: () => cap.close() }
}

/** For `node -e`: opens `lo` and ends by SIGKILL, in a process of its own, because closing spoils the event loop of one that goes on. */
export const CAP_TRIAL = `
const { Cap } = require('cap')
new Cap().open('lo', 'less 1', 65536, Buffer.alloc(65535))
process.stdout.write('opened an interface', () => process.kill(process.pid, 'SIGKILL'))`

async function newCap(): Promise<Cap> {
  // An optional package: its name is no literal, so that the compiler does not ask for its types.
  const name: string = 'cap'
  try {
    const { Cap } = ((await import(name)) as { default: { Cap: new () => Cap } }).default
    return new Cap()
  } catch (error) {
    const [line = '', why = line] = String(error instanceof Error ? error.message : error).split('\n')
    // Of a module built for another Node the second line says so.
    const found = why.startsWith('was compiled') ? `one built for another Node than ${process.version}` : line
    const remedy = 'apt-get install libpcap-dev g++ make python3, then npm rebuild cap'
    throw new Unsupported('capture with cap', 'the npm package cap, built', found, remedy, error)
  }
}
