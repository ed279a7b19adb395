import { z } from 'zod'
import type { RunResult } from './result.ts'

const status = z.enum(['pass', 'fail', 'inconclusive', 'skip', 'waived'])
const count = z.int().min(0)
const names = z.array(z.string())

const requirement = z.strictObject({
  id: z.string(),
  rfc: z.string(),
  level: z.enum(['MUST', 'SHOULD', 'MAY']),
  text: z.string(),
})

const evidence = z.strictObject({
  tap: z.string(),
  file: z.string().describe('relative to the run directory'),
  frame: z.int().min(1).describe('as Wireshark counts'),
  note: z.string(),
})

const check = z.strictObject({
  check: z.string(),
  index: count,
  status,
  message: z.string().max(200),
  details: names,
  differences: z.array(z.strictObject({ field: z.string(), expected: z.string(), seen: z.string() })),
  evidence: z.array(evidence),
  method: z.string().optional().describe('how absence was shown'),
  line: z.int(),
  measurements: z.record(z.string(), z.number()),
})

const ledgerRow = z.strictObject({
  stream: z.string(),
  tap: z.string(),
  layer: z.enum(['sender', 'stimulus', 'local pod', 'remote pod', 'overlay', 'uplink', 'other']),
  direction: z.enum(['in', 'out']),
  sent: count,
  copies: count,
})

const oneCase = z.strictObject({
  id: z.string(),
  file: z.string(),
  line: z.int(),
  title: z.string(),
  target: z.string(),
  status,
  message: z.string(),
  covers: z.array(requirement),
  level: z.string(),
  params: z.record(z.string(), z.string()),
  startedAt: z.iso.datetime(),
  durationMs: z.number().min(0),
  checks: z.array(check),
  ledger: z.array(ledgerRow),
  replicationEfficiency: z.number().min(0).max(1).optional(),
  attempts: z.array(z.strictObject({ status, message: z.string() })),
  attachments: names,
})

/** `result.json` of version 1: unknown keys are refused, so that a field cannot come without a change here. */
export const resultSchema = z.strictObject({
  schema: z.literal('castproof-result/1'),
  runId: z.string(),
  version: z.string(),
  startedAt: z.iso.datetime(),
  durationMs: z.number().min(0),
  seed: count,
  host: z.strictObject({ hostname: z.string(), kernel: z.string(), node: z.string(), os: z.string() }),
  targets: z.array(z.strictObject({ name: z.string(), description: z.string(), sandbox: z.string() })),
  faults: names,
  profiles: names,
  cases: z.array(oneCase),
  totals: z.strictObject({ pass: count, fail: count, inconclusive: count, skip: count, waived: count }),
  background: z.record(z.string(), count),
  altered: names,
  warnings: names,
  exitCode: z.int().min(0).max(255),
  directory: z.string(),
})

/** The text of result.schema.json; `node --import tsx reports/write-schema.ts` writes it. */
export function resultJsonSchema(): string {
  const schema = z.toJSONSchema(resultSchema, { target: 'draft-2020-12', io: 'input' })
  return `${JSON.stringify({ $id: 'castproof-result/1', title: 'castproof result.json', ...schema }, null, 2)}\n`
}

/** A result.json of ours or of anyone's; throws with every place where it is not one. */
export function parseResult(text: string): RunResult {
  const parsed = resultSchema.safeParse(JSON.parse(text))
  if (!parsed.success) throw new TypeError(`not a castproof-result/1:\n${z.prettifyError(parsed.error)}`)
  return parsed.data as RunResult
}
