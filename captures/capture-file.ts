import { FileWindow } from './file-window.ts'
import { PcapReader, pcapKind } from './pcap.ts'
import { BLOCK, type CapturedFrame, type CaptureInterface, type Problem } from './pcapng.ts'
import { PcapngReader } from './pcapng-reader.ts'

/** A capture file that is read once, from front to back. */
export interface CaptureFile {
  readonly format: 'pcapng' | 'pcap' | 'unknown'
  /** Grows while reading: an interface may be described anywhere before its first frame. */
  readonly interfaces: readonly CaptureInterface[]
  /** Set when reading stopped before the end. */
  readonly problem: Problem | undefined
  /** Hands every frame to the visitor; an object that is filled anew each time. */
  read(visit: (frame: CapturedFrame) => void): void
  close(): void
}

/** Opens pcapng or classic pcap by what the file begins with. Throws only when the file cannot be opened. */
export function openCapture(path: string): CaptureFile {
  const window = new FileWindow(path)
  const magic = window.need(4) ? window.view.getUint32(0, true) : 0
  const format = magic === BLOCK.SECTION_HEADER ? 'pcapng' : pcapKind(magic) ? 'pcap' : 'unknown'
  const reader = format === 'pcap' ? new PcapReader(window) : new PcapngReader(window)
  if (format === 'unknown') {
    reader.problem = { at: 0, why: window.available === 0 ? 'empty file' : 'neither pcapng nor pcap' }
  }
  return {
    format,
    interfaces: reader.interfaces,
    get problem() {
      return reader.problem
    },
    read: visit => {
      if (!reader.problem) reader.read(visit)
    },
    close: () => window.close(),
  }
}
