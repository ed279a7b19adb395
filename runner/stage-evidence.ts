import type { EspKey } from '../captures/esp-opener.ts'
import { openLedger } from '../captures/ledger.ts'
import type { Ledger } from '../captures/ledger-types.ts'
import type { Recording } from '../captures/record.ts'
import type { SentFile, SentStreamLog } from '../generators/sent-read.ts'
import { VXLAN_PORT } from '../generators/wire/vxlan.ts'
import type { Seen, SeenEsp, Sent, SentStream } from './check/check.ts'
import type { Observation } from './observation.ts'
import type { RunFiles, StageRecord } from './run-directory.ts'
import { StageClocks } from './stage-clocks.ts'
import type { PlannedCase } from './suite/plan-types.ts'

/** What one bring-up of a stage left, opened for judging; hands each case its own view of it. */
export class StageEvidence {
  readonly record: StageRecord
  readonly recording: Recording
  readonly ledger: Ledger
  private readonly esp: SeenEsp | undefined
  private readonly sentFile: SentFile
  private readonly observations: readonly Observation[]
  private readonly taps: ReadonlyMap<string, number>
  private readonly clocks: StageClocks
  private readonly droppedByFile = new Map<string, number>()
  private readonly troubleByFile = new Map<string, string>()

  constructor(files: RunFiles, record: StageRecord, sentFile: SentFile, keys: readonly EspKey[] | undefined) {
    this.record = record
    this.sentFile = sentFile
    this.observations = files.observations.filter(o => o.stage === record.name)
    const present = record.taps.map(tap => tap.file).filter(file => !files.missing.includes(file))
    this.clocks = new StageClocks(record.clocks ?? [], sentFile.baseNs)
    const clockOf = new Map(record.taps.map(tap => [tap.file, tap.clock]))
    const opened = openLedger(files.directory, present, {
      runId: files.run.runId,
      baseNs: sentFile.baseNs,
      runnerNs: (file, ns) => this.clocks.runnerNs(clockOf.get(file), ns),
      vxlanPorts: [record.site.overlay?.udpPort ?? VXLAN_PORT, VXLAN_PORT],
      ...(keys && { keys }),
    })
    this.esp = keys && opened.esp && { keys, view: opened.esp }
    this.recording = opened.recording
    this.ledger = opened.ledger
    this.taps = new Map(this.recording.taps.map((tap, i) => [tap.name, i]))
    this.readLosses()
  }

  /** The ring's own count and the capture file's; what neither tells is trouble, not zero. */
  private readLosses(): void {
    for (const { file } of this.record.taps) {
      const told = this.observations.filter(o => o.kind === 'tap' && o.file === file)
      const inFile = this.recording.taps.flatMap((tap, i) =>
        tap.file === file ? [this.recording.dropped(i) ?? 0] : [],
      )
      const counts = told.map(o => (o.kind === 'tap' ? o.dropped : 0))
      this.droppedByFile.set(file, Math.max(0, ...inFile, ...counts))
      const problem = this.recording.problems.find(line => line.startsWith(`${file}: `))
      if (problem) this.troubleByFile.set(file, problem.slice(file.length + 2))
      else if (told.length === 0) this.troubleByFile.set(file, 'its drop counter was never read: the run did not end')
    }
  }

  /** Attempts of a case on this bring-up that left something: none when the run died before it. */
  attempted(planned: PlannedCase): boolean {
    return this.observations.some(o => o.case === planned.id && o.attempt === this.record.attempt)
  }

  ownObservations(planned: PlannedCase): Observation[] {
    const { attempt } = this.record
    return this.observations.filter(o => o.case === undefined || (o.case === planned.id && o.attempt === attempt))
  }

  seen(planned: PlannedCase): Seen {
    const observations = this.ownObservations(planned)
    const stepTimes = new Map<string, number>()
    for (const o of observations) {
      if (o.kind === 'step') stepTimes.set(`${o.phase} ${o.step}`, Number(BigInt(o.tNs) - this.recording.baseNs))
    }
    const fileOf = (name: string) => this.recording.taps[this.taps.get(name) ?? -1]?.file ?? ''
    const clockOfTap = (name: string) => this.record.taps.find(tap => tap.file === fileOf(name))?.clock
    const clockOfPod = (name: string) => this.record.site.pods.find(pod => pod.name === name)?.clock
    return {
      recording: this.recording,
      ledger: this.ledger,
      ...(this.esp && { esp: this.esp }),
      site: this.record.site,
      observations,
      plan: planned,
      tapIndex: name => this.taps.get(name) ?? -1,
      stepTimeNs: (step, phase) => stepTimes.get(`${phase} ${step}`),
      clockErrorNs: ({ taps = [], pods = [], runner = false }) =>
        this.clocks.errorNs([...taps.map(clockOfTap), ...pods.map(clockOfPod), ...(runner ? [undefined] : [])]),
      tapDropped: name => this.droppedByFile.get(fileOf(name)) ?? 0,
      tapTrouble: name => this.troubleByFile.get(fileOf(name)),
    }
  }

  sent(planned: PlannedCase): Sent {
    const streams = this.ownObservations(planned).flatMap(o =>
      o.kind === 'stream' && o.case !== undefined ? [this.stream(o)] : [],
    )
    const known = streams.filter(stream => stream !== undefined)
    return {
      streams: known,
      of: step => known.filter(s => s.role === 'test' && (s.name === step || s.name.startsWith(`${step}/`))),
      serving: (number, role) => known.filter(s => s.of === number && s.role === role),
    }
  }

  /** Undefined when nothing of it was handed to the kernel. */
  private stream(told: Observation & { kind: 'stream' }): SentStream | undefined {
    const log = this.sentFile.byNumber(told.number)
    if (!log || log.count === 0) return undefined
    const clock = this.record.site.pods.find(pod => pod.name === told.pod)?.clock
    const timing = {
      runnerNs: (ns: number) => this.clocks.runnerNs(clock, ns),
      errorNs: this.clocks.errorNs([clock, undefined]),
    }
    return sentStream(log, told, timing)
  }

  close(): void {
    this.recording.close()
  }
}

function sentStream(
  log: SentStreamLog,
  told: Observation & { kind: 'stream' },
  { runnerNs, errorNs }: { runnerNs: (ns: number) => number; errorNs: number },
): SentStream {
  return {
    number: log.number,
    name: told.name,
    role: told.role,
    pod: told.pod,
    ...(told.of !== undefined && { of: told.of }),
    spec: { ...log.spec, firstSequence: log.sequence(0) },
    count: log.count,
    timeNs: k => runnerNs(log.timeNs(k)),
    clockErrorNs: errorNs,
    frames: k => log.frames(k),
  }
}
