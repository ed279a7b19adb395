import { existsSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { openCapture } from './capture-file.ts'
import { FileCache } from './file-cache.ts'
import { FrameColumns } from './frame-columns.ts'
import type { CapturedFrame } from './pcapng.ts'
import type { Recording, TapInfo } from './record.ts'

export interface RecordingOptions {
  /** Of the run's clock; left out: the full second of the first frame. */
  baseNs?: bigint
  /** Puts times of a file, in ns since `baseNs`, right: it may be of a machine with another clock. */
  runnerNs?: (file: string, ns: number) => number
  /** Called for each frame while its bytes are at hand: what saves the ledger a second pass over the files. */
  visit?: (index: number, frame: CapturedFrame) => void
}

/**
 * Reads capture files of a run directory into columns. `files` are relative to it; left out: every pcapng and pcap in its `taps`
 * folder, or in itself when there is none. A damaged file gives what could be read and a line in `problems`; only a
 * file that cannot be opened throws.
 */
export function openRecording(
  directory: string,
  files = captureFiles(directory),
  options: RecordingOptions = {},
): Recording {
  const reading = new Reading(directory, files, options)
  for (const file of files.keys()) reading.readFile(file)
  return reading.recording()
}

const CAPTURE_FILE = /\.(pcapng|pcap|cap)$/

/** Sorted, so that frame indices are the same on every machine. */
export function captureFiles(directory: string): string[] {
  const folder = existsSync(join(directory, 'taps')) ? 'taps' : '.'
  const names = readdirSync(join(directory, folder)).filter(name => CAPTURE_FILE.test(name))
  return names.sort().map(name => (folder === '.' ? name : `${folder}/${name}`))
}

class Reading {
  readonly #directory: string
  readonly #files: readonly string[]
  readonly #visit: RecordingOptions['visit']
  readonly #runnerNs: RecordingOptions['runnerNs']
  readonly #frames = new FrameColumns()
  readonly #taps: TapInfo[] = []
  readonly #tapFiles: number[] = []
  readonly #dropped: (number | undefined)[] = []
  readonly #fileStarts: number[] = []
  readonly #problems: string[] = []
  #baseNs: bigint | undefined
  #baseSeconds = 0
  #baseNanoseconds = 0

  constructor(directory: string, files: readonly string[], options: RecordingOptions) {
    this.#directory = directory
    this.#files = files
    this.#visit = options.visit
    this.#runnerNs = options.runnerNs
    if (options.baseNs !== undefined) this.#setBase(options.baseNs)
  }

  readFile(file: number): void {
    const name = this.#files[file] as string
    const capture = openCapture(join(this.#directory, name))
    const tapOf: number[] = []
    this.#fileStarts.push(this.#frames.count)
    try {
      capture.read(frame => {
        const id = frame.interfaceId
        const tap = tapOf[id] ?? this.#tapIndex(tapOf, file, id, capture.interfaces[id]?.name ?? '')
        this.#add(frame, tap, name)
      })
      // Interfaces without a frame are taps too: silence there is a finding.
      for (const [id, described] of capture.interfaces.entries()) {
        const tap = tapOf[id] ?? this.#tapIndex(tapOf, file, id, described.name)
        if (described.dropped !== undefined) this.#dropped[tap] = (this.#dropped[tap] ?? 0) + described.dropped
      }
    } finally {
      capture.close()
    }
    if (capture.problem) this.#problems.push(`${name}: byte ${capture.problem.at}: ${capture.problem.why}`)
  }

  recording(): Recording {
    const frames = this.#frames
    const cache = new FileCache(this.#files.map(file => join(this.#directory, file)))
    const tapFiles = this.#tapFiles
    const fileStarts = this.#fileStarts
    const dropped = this.#dropped
    return {
      count: frames.count,
      taps: this.#taps,
      baseNs: this.#baseNs ?? 0n,
      tap: i => frames.tap(i),
      timeNs: i => frames.timeNs(i),
      direction: i => frames.direction(i),
      frameNumber: i => i - (fileStarts[tapFiles[frames.tap(i)] as number] as number) + 1,
      originalLength: i => frames.originalLength(i),
      checksumNotReady: i => frames.checksumNotReady(i),
      bytes: i => cache.read(tapFiles[frames.tap(i)] as number, frames.offset(i), frames.length(i)),
      dropped: tap => dropped[tap],
      problems: this.#problems,
      close: () => cache.close(),
    }
  }

  #add(frame: CapturedFrame, tap: number, file: string): void {
    if (this.#baseNs === undefined) this.#setBase(BigInt(frame.seconds) * 1_000_000_000n)
    // Both differences are exact in a double for a hundred days.
    const ownNs = (frame.seconds - this.#baseSeconds) * 1e9 + (frame.nanoseconds - this.#baseNanoseconds)
    const timeNs = this.#runnerNs?.(file, ownNs) ?? ownNs
    const { direction, checksumNotReady, fileOffset, length, originalLength } = frame
    this.#frames.push(timeNs, tap, direction, checksumNotReady, fileOffset, length, originalLength)
    this.#visit?.(this.#frames.count - 1, frame)
  }

  #setBase(baseNs: bigint): void {
    this.#baseNs = baseNs
    this.#baseSeconds = Number(baseNs / 1_000_000_000n)
    this.#baseNanoseconds = Number(baseNs % 1_000_000_000n)
  }

  /** Interfaces of one file with the same name are one tap: a pod made anew, sections put together by mergecap. */
  #tapIndex(tapOf: number[], file: number, interfaceId: number, interfaceName: string): number {
    const fileName = this.#files[file] as string
    const name = interfaceName || basename(fileName).replace(CAPTURE_FILE, '')
    let tap = this.#taps.findIndex(known => known.file === fileName && known.name === name)
    if (tap < 0) {
      tap = this.#taps.push({ name, file: fileName, interfaceId }) - 1
      this.#tapFiles.push(file)
    }
    tapOf[interfaceId] = tap
    return tap
  }
}
