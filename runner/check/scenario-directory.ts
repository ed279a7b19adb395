import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PcapngWriter } from '../../captures/pcapng-writer.ts'
import { DIRECTION } from '../../captures/record.ts'
import { openSentLog } from '../../generators/sent.ts'
import { fileSha256, LAYOUT, type RunRecord, type StageRecord } from '../run-directory.ts'
import type { Plan } from '../suite/plan-types.ts'
import { BASE_NS, RUN_ID, type Scenario } from './scenario.ts'

const TARGET = 'reference'
const STAGE = 'test-1'

/** For tests: the scenario as the files a run leaves, one capture file for each place. */
export function writeRunDirectory(directory: string, scenario: Scenario): void {
  mkdirSync(join(directory, LAYOUT.taps), { recursive: true })
  const taps = writeTaps(directory, scenario)
  writeSent(directory, scenario)
  const keys = scenario.keys === undefined ? {} : { keys: `${LAYOUT.keys}/${STAGE}.yaml` }
  const record: StageRecord = { name: STAGE, target: TARGET, attempt: 1, site: scenario.site, taps, ...keys }
  if (scenario.keys !== undefined) writeKeys(directory, scenario.keys)
  writeJson(directory, LAYOUT.plan, planOf(scenario))
  writeJson(directory, LAYOUT.run, runRecord(record))
  const told = taps.map(({ file }) => ({
    tNs: String(BASE_NS),
    stage: STAGE,
    kind: 'tap',
    file,
    received: 0,
    dropped: 0,
  }))
  const lines = [...scenario.observations, ...told].map(o => JSON.stringify(o))
  writeFileSync(join(directory, LAYOUT.observations), `${lines.join('\n')}\n`)
}

function writeKeys(directory: string, keys: string): void {
  mkdirSync(join(directory, LAYOUT.keys))
  writeFileSync(join(directory, LAYOUT.keys, `${STAGE}.yaml`), keys, { mode: 0o600 })
}

function writeJson(directory: string, name: string, value: unknown): void {
  writeFileSync(join(directory, name), JSON.stringify(value))
}

function planOf(scenario: Scenario): Plan {
  const settings = { policy: {}, timing: { enforced: false }, allowWeakerFence: true }
  const topology = {
    nodes: scenario.site.nodes.map(({ name }) => name),
    pods: scenario.site.pods.map(({ name, node }) => ({ name, node })),
  }
  const stage = { name: STAGE, target: TARGET, settings, topology, cases: [scenario.plan()] }
  return { schema: 'castproof-plan/1', seed: 1, profiles: [], settings, stages: [stage], skipped: [] }
}

function runRecord(stage: StageRecord): RunRecord {
  return {
    schema: 'castproof-run/1',
    runId: RUN_ID,
    version: '0.1.0',
    startedAt: '2026-09-21T00:00:00.000Z',
    startedAtNs: String(BASE_NS),
    durationMs: 1,
    seed: 1,
    host: { hostname: 'test', kernel: '6.1', node: 'v20', os: 'Linux' },
    targets: [{ name: TARGET, description: 'none', sandbox: 'host' }],
    faults: [],
    profiles: [],
    stages: [stage],
    timingBounds: false,
  }
}

function writeTaps(directory: string, scenario: Scenario): StageRecord['taps'] {
  const places = new Map<string, string[]>()
  for (const tap of scenario.taps()) {
    const place = tap.split('/')[0] ?? tap
    places.set(place, [...(places.get(place) ?? []), tap])
  }
  return [...places].map(([place, interfaces]) => {
    const file = `${LAYOUT.taps}/${STAGE}-${place}.pcapng`
    const path = join(directory, file)
    const writer = new PcapngWriter(path)
    for (const tap of interfaces) writer.addInterface(tap)
    const frames = scenario.frames.filter(({ tap }) => interfaces.includes(tap)).sort((a, b) => a.timeNs - b.timeNs)
    for (const { tap, direction, timeNs, bytes } of frames) {
      const ns = BASE_NS + BigInt(timeNs)
      const [seconds, nanoseconds] = [Number(ns / 1_000_000_000n), Number(ns % 1_000_000_000n)]
      writer.frame(
        interfaces.indexOf(tap),
        bytes,
        0,
        bytes.length,
        bytes.length,
        seconds,
        nanoseconds,
        DIRECTION[direction],
      )
    }
    writer.close()
    return { file, sha256: fileSha256(path), interfaces }
  })
}

function writeSent(directory: string, scenario: Scenario): void {
  const log = openSentLog(join(directory, LAYOUT.sent), BASE_NS)
  for (const stream of scenario.streams) {
    const compiled = scenario.compiled.get(stream.number)
    if (!compiled) continue
    const index = log.stream(compiled)
    const first = stream.spec.firstSequence ?? 0
    for (let k = 0; k < stream.count; k++) log.frame(index, first + k, compiled.variantOf(k), stream.timeNs(k), 0)
  }
  log.close()
}
