import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import type { RunResult } from '../reports/result.ts'
import { judgeRun } from '../runner/judge.ts'
import type { Observation } from '../runner/observation.ts'
import { fileSha256, LAYOUT, type RunRecord } from '../runner/run-directory.ts'

const CASTPROOF = fileURLToPath(new URL('../castproof', import.meta.url))
const ALTER = fileURLToPath(new URL('alter.py', import.meta.url))
const NOBODY = ['--reuid', '65534', '--regid', '65534', '--clear-groups', '--inh-caps=-all', '--bounding-set=-all']
/** tshark takes UDP 8472 for OTV. */
const DECODE = ['-d', 'udp.port==8472,vxlan']

function tool(name: string, words: readonly string[]): string {
  return execFileSync(name, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 1 << 26 })
}

/** A copy of a run directory, without its verdicts, in which others' tools change what was seen. */
export class AlteredRun {
  readonly directory: string
  private readonly run: RunRecord

  constructor(original: string) {
    this.directory = mkdtempSync(join(tmpdir(), 'castproof-altered-'))
    cpSync(original, this.directory, { recursive: true })
    rmSync(join(this.directory, LAYOUT.result), { force: true })
    rmSync(join(this.directory, LAYOUT.evidence), { recursive: true, force: true })
    chmodSync(this.directory, 0o755)
    this.run = JSON.parse(readFileSync(join(this.directory, LAYOUT.run), 'utf8')) as RunRecord
  }

  /** The capture that a tap is in. */
  file(tap: string): string {
    const found = this.taps().find(({ interfaces }) => interfaces.includes(tap))
    if (!found) throw new RangeError(`no tap ${tap}`)
    return join(this.directory, found.file)
  }

  private taps() {
    return this.run.stages.flatMap(stage => stage.taps)
  }

  /** Numbers in its file of a tap's frames that match a display filter of Wireshark. */
  frames(tap: string, filter: string): number[] {
    return framesIn(this.file(tap), `frame.interface_name == "${tap}" && (${filter})`)
  }

  drop(tap: string, frames: readonly number[]): void {
    this.replace(this.file(tap), out => tool('editcap', [this.file(tap), out, ...frames.map(String)]))
  }

  /** Every frame of every tap that matches. */
  dropEverywhere(filter: string): void {
    for (const { file, interfaces } of this.taps()) {
      const path = join(this.directory, file)
      const frames = framesIn(path, filter)
      if (frames.length > 0 && interfaces[0]) this.drop(interfaces[0], frames)
    }
  }

  /** The copy comes `laterMs` after the frame. */
  double(tap: string, frame: number, laterMs = 0.001): void {
    const file = this.file(tap)
    const one = `${file}.one`
    tool('editcap', ['-r', '-t', String(laterMs / 1000), file, one, String(frame)])
    this.replace(file, out => tool('mergecap', ['-w', out, file, one]))
    rmSync(one)
  }

  delay(tap: string, frame: number, laterMs: number): void {
    this.double(tap, frame, laterMs)
    this.drop(tap, [frame])
  }

  /** `statement`: Python that changes `p`, a frame of scapy's. */
  alter(tap: string, frames: readonly number[], statement: string): void {
    tool('/usr/bin/python3', [ALTER, this.file(tap), statement, ...frames.map(String)])
  }

  /** Puts a copy of another tap's frame after one of this tap. */
  leak(tap: string, after: number, from: { tap: string; frame: number }): void {
    this.double(tap, after)
    this.alter(tap, [after + 1], `p = rdpcap(${JSON.stringify(this.file(from.tap))})[${from.frame - 1}]`)
  }

  /** Undefined takes the observation away. */
  observe(change: (observation: Observation) => Observation | undefined): void {
    const path = join(this.directory, LAYOUT.observations)
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1)
    const kept = lines.map(line => change(JSON.parse(line) as Observation)).filter(one => one !== undefined)
    writeFileSync(path, kept.map(one => `${JSON.stringify(one)}\n`).join(''))
  }

  private replace(file: string, write: (out: string) => void): void {
    write(`${file}.new`)
    renameSync(`${file}.new`, file)
  }

  judge(): RunResult {
    this.rehash()
    return judgeRun(this.directory)
  }

  /** By `castproof judge`, run by somebody who has no rights; it makes and leaves no file here. */
  async judgeAsNobody(): Promise<RunResult> {
    this.rehash()
    const words = [...NOBODY, CASTPROOF, 'judge', '--json', this.directory]
    const { stdout, stderr } = await execa('setpriv', words, { reject: false, maxBuffer: 1 << 26 })
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout) as RunResult
  }

  /** Makes the hashes those of the altered captures: packets must decide, and a capture that is not the recorded one is told. */
  private rehash(): void {
    for (const tap of this.taps()) tap.sha256 = fileSha256(join(this.directory, tap.file))
    writeFileSync(join(this.directory, LAYOUT.run), JSON.stringify(this.run))
  }

  remove(): void {
    rmSync(this.directory, { recursive: true })
  }
}

function framesIn(file: string, filter: string): number[] {
  const out = tool('tshark', [...DECODE, '-r', file, '-Y', filter, '-T', 'fields', '-e', 'frame.number'])
  return out.split('\n').filter(Boolean).map(Number)
}
