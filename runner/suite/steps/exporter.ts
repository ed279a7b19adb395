import { DOCUMENT_RECORD, RECORD_FIELDS, type RecordField } from '../../../bpf/flow-config.ts'
import { bool, int, list, mapping, oneOf } from '../leaf.ts'
import type { References } from '../names.ts'
import { interfaceName } from '../pim-schema.ts'
import type { ExporterWanted } from '../plan-types.ts'
import { type ReadStep, readStep, stepId } from './read-step.ts'

const FIELDS = Object.keys(RECORD_FIELDS) as RecordField[]
const KEYS = FIELDS.filter(name => RECORD_FIELDS[name].match >= 0)
const DAY_MS = 86_400_000

/** The document's flow record, flow exporter and flow monitors; what is left out is as in the document. */
function exporterShape(refs: References) {
  const interfaces = () => list(interfaceName, 'interfaces').exactOptional()
  return {
    node: refs.node,
    record: mapping({
      match: list(oneOf(KEYS), 'fields that make a flow').exactOptional(),
      collect: list(oneOf(FIELDS), 'fields that are told').exactOptional(),
    }).exactOptional(),
    exporter: mapping({
      sourceId: int(0, 0xffff_ffff).exactOptional(),
      templateRefreshMs: int(20, DAY_MS, 'milliseconds').exactOptional(),
      templateRefreshMessages: int(1, 1_000_000).exactOptional(),
      options: bool().exactOptional(),
      upTimeMs: int(0, 0xffff_ffff, 'milliseconds').exactOptional(),
    }).exactOptional(),
    monitors: mapping({ input: interfaces(), output: interfaces(), multicastOnly: bool().exactOptional() }),
    outputCounters: bool().exactOptional(),
    cache: mapping({
      activeTimeoutMs: int(20, DAY_MS, 'milliseconds').exactOptional(),
      inactiveTimeoutMs: int(20, DAY_MS, 'milliseconds').exactOptional(),
      entries: int(1, 1_000_000).exactOptional(),
    }).exactOptional(),
    sampling: int(1, 65_535).exactOptional(),
  }
}

type Given = {
  record?: Partial<ExporterWanted['record']>
  exporter?: Partial<ExporterWanted['exporter']>
  monitors: { input?: string[]; output?: string[]; multicastOnly?: boolean }
  outputCounters?: boolean
  cache?: Partial<ExporterWanted['cache']>
  sampling?: number
}

/** Timeouts of the document's era are minutes (1800 s and 15 s); nothing leaves by them unless a suite says so. */
function exporterOf({ record, exporter, monitors, outputCounters, cache, sampling }: Given): ExporterWanted {
  const { multicastOnly = false } = monitors
  const of = (direction: 'input' | 'output') =>
    (monitors[direction] ?? []).map(name => ({ interface: name, direction, multicastOnly }))
  return {
    record: { ...DOCUMENT_RECORD, ...record },
    exporter: {
      sourceId: 1,
      templateRefreshMs: 60_000,
      templateRefreshMessages: 20,
      options: true,
      upTimeMs: 3_600_000,
      ...exporter,
    },
    monitors: [...of('input'), ...of('output')],
    outputCounters: outputCounters ?? true,
    cache: { activeTimeoutMs: 1_800_000, inactiveTimeoutMs: 15_000, entries: 4096, ...cache },
    sampling: sampling ?? 1,
  }
}

export function exporterSchema(refs: References) {
  return mapping({ id: stepId(), ...exporterShape(refs) }).transform(
    ({ id, node, ...given }): ReadStep =>
      readStep('exporter', id, { action: 'exporter', node, config: exporterOf(given as Given) }),
  )
}

export function flushSchema(refs: References) {
  return mapping({ id: stepId().exactOptional(), exporter: refs.step(['exporter']) }).transform(
    ({ id, exporter }): ReadStep => readStep('flush', id, { action: 'flush', exporter }),
  )
}
