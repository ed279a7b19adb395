import { PcapngWriter } from './pcapng-writer.ts'
import type { Recording } from './record.ts'

/**
 * Writes frames of a recording into one pcapng, in order of time, with the taps' names, directions and original times; a frame's
 * note is the comment that Wireshark shows. Returns the number of each frame in the new file.
 */
export function writeEvidence(
  path: string,
  recording: Recording,
  notes: ReadonlyMap<number, string>,
): Map<number, number> {
  const writer = new PcapngWriter(path)
  try {
    const numbers = new Map<number, number>()
    const interfaces = new Map<number, number>()
    for (const i of inTimeOrder(recording, notes.keys())) {
      const tap = recording.tap(i)
      const id = interfaces.get(tap) ?? writer.addInterface(recording.taps[tap]?.name ?? '')
      interfaces.set(tap, id)
      numbers.set(i, copyFrame(writer, id, recording, i, notes.get(i) ?? ''))
    }
    return numbers
  } finally {
    writer.close()
  }
}

function inTimeOrder(recording: Recording, frames: Iterable<number>): number[] {
  return [...frames].sort((a, b) => recording.timeNs(a) - recording.timeNs(b) || a - b)
}

function copyFrame(writer: PcapngWriter, id: number, recording: Recording, i: number, note: string): number {
  const bytes = recording.bytes(i)
  const timeNs = recording.baseNs + BigInt(Math.round(recording.timeNs(i)))
  return writer.frame(
    id,
    bytes,
    0,
    bytes.length,
    recording.originalLength(i),
    Number(timeNs / 1_000_000_000n),
    Number(timeNs % 1_000_000_000n),
    recording.direction(i),
    recording.checksumNotReady(i),
    note,
  )
}
