import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { eachFlowDatagram } from '../captures/flow-file.ts'
import type { InputClaim } from './analyser/analyser.ts'
import { type AnalyserName, askAnalyser } from './analyser/ask-analyser.ts'
import { withFaults } from './analyser/faults.ts'
import type { SiteMap } from './check/check.ts'
import type { InputClaimFact, Observation } from './observation.ts'
import type { Recorder, TapFile } from './recorder.ts'
import type { AnalyserWant } from './suite/expectations.ts'
import type { PlannedCase, Stage } from './suite/plan-types.ts'

interface Context {
  directory: string
  attempt: number
  recorder: Recorder
  /** Of the run: those of collectors are done here. */
  faults: readonly string[]
  site: SiteMap
  taps: readonly TapFile[]
}

/**
 * Once a stage's captures are whole: each collector that a case asks about gets the messages of the case's exporter, as they came in
 * where the SUT sent them, and what it makes of them is told in the observations.
 */
export async function askAnalysers(stage: Stage, context: Context): Promise<void> {
  for (const planned of stage.cases) {
    const wants = planned.expect.filter(({ check }) => check === 'analyser').map(({ want }) => want as AnalyserWant)
    const asked = new Map(wants.map(want => [`${want.exporter} ${want.analyser}`, want]))
    for (const { exporter, analyser } of asked.values()) await askOne(planned, exporter, analyser, context)
  }
}

async function askOne(planned: PlannedCase, exporter: string, analyser: AnalyserName, context: Context): Promise<void> {
  const { recorder, attempt } = context
  const datagrams = exportedBy(planned.id, exporter, context)
  const given = withFaults(analyser, datagrams, context.faults)
  const subject = { case: planned.id, attempt }
  const about = { kind: 'analyser', exporter, analyser, datagrams: datagrams.length } as const
  const { version, dropped, all, ingressOnly, egressOnly } = await askAnalyser(analyser, given)
  const claims = { all: facts(all), ingressOnly: facts(ingressOnly), egressOnly: facts(egressOnly) }
  recorder.observe({ ...about, version, dropped, ...claims }, subject)
}

/** JSON has no 64-bit numbers. */
function facts(claims: readonly InputClaim[]): InputClaimFact[] {
  return claims.map(({ input, packets, bytes }) => ({ input, packets: String(packets), bytes: String(bytes) }))
}

/** UDP payloads that came to the collector while the case's exporter worked. */
function exportedBy(id: string, exporter: string, { directory, attempt, site, taps }: Context): Uint8Array[] {
  const { collector } = site
  const file = taps.find(({ interfaces }) => collector && interfaces.includes(collector.tap))
  if (!collector || !file) return []
  const { fromNs, toNs } = workOf(id, exporter, attempt, directory)
  const found: Uint8Array[] = []
  eachFlowDatagram(
    join(directory, file.file),
    (bytes, at, end, { receivedNs }) => {
      if (receivedNs >= fromNs && receivedNs <= toNs) found.push(bytes.slice(at, end))
    },
    [collector.port],
  )
  return found
}

/** From the start of the step, since an exporter sends its template before it is said to have started, to its end. */
function workOf(id: string, exporter: string, attempt: number, directory: string): { fromNs: bigint; toNs: bigint } {
  const lines = readFileSync(join(directory, 'observations.jsonl'), 'utf8').split('\n').filter(Boolean)
  const ours = lines
    .map(line => JSON.parse(line) as Observation)
    .filter(one => one.case === id && one.attempt === attempt)
  const begun = ours.find(one => one.kind === 'step' && one.step === exporter && one.phase === 'start')
  const ended = ours.find(one => one.kind === 'exporter' && one.step === exporter && one.phase === 'end')
  // Nothing is read of an exporter that never began.
  return { fromNs: BigInt(begun?.tNs ?? 1), toNs: begun ? BigInt(ended?.tNs ?? 1n << 62n) : 0n }
}
