import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { writeEvidence as writeFrames } from '../captures/evidence.ts'
import type { Recording } from '../captures/record.ts'
import type { CaseResult, Evidence } from '../reports/result.ts'
import type { FrameNote } from './check/check.ts'
import { LAYOUT } from './run-directory.ts'

/**
 * `evidence/<case>.pcapng`: the frames that the case's checks point at, in time order, each with its notes as the comment
 * that Wireshark shows; the result's evidence then names them there. Nothing is written when there is nothing to show.
 */
export function writeEvidence(
  directory: string,
  name: string,
  result: CaseResult,
  frames: readonly FrameNote[],
  recording: Recording,
): CaseResult {
  if (frames.length === 0) return result
  const file = `${LAYOUT.evidence}/${fileName(name)}.pcapng`
  mkdirSync(join(directory, LAYOUT.evidence), { recursive: true })
  const numbers = writeFrames(join(directory, file), recording, notesByFrame(frames))
  let next = 0
  const moved = (evidence: Evidence): Evidence => ({
    ...evidence,
    file,
    frame: numbers.get(frames[next++]?.frame ?? -1) ?? 0,
  })
  const checks = result.checks.map(check => ({ ...check, evidence: check.evidence.map(moved) }))
  return { ...result, checks, attachments: [...result.attachments, file] }
}

/** A case id with everything that is no plain file name replaced; `/` and `[` become `-`. */
function fileName(id: string): string {
  return id.replace(/[^A-Za-z0-9._=-]+/g, '-').replace(/-$/, '')
}

function notesByFrame(frames: readonly FrameNote[]): Map<number, string> {
  const notes = new Map<number, string>()
  for (const { frame, note } of frames) {
    const earlier = notes.get(frame)
    if (earlier === undefined) notes.set(frame, note)
    else if (!earlier.includes(note)) notes.set(frame, `${earlier}; ${note}`)
  }
  return notes
}
