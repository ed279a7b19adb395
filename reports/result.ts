/** Plain data: the one model that every writer shares. Kept as `result.json`, schema `castproof-result/1`. */
export type Status = 'pass' | 'fail' | 'inconclusive' | 'skip' | 'waived'

/** A requirement as reports show it. */
export interface RequirementRef {
  id: string
  rfc: string
  level: 'MUST' | 'SHOULD' | 'MAY'
  text: string
}

/** Where to look: a frame in an evidence pcapng. */
export interface Evidence {
  tap: string
  /** Relative to the run directory. */
  file: string
  /** From 1, as Wireshark counts. */
  frame: number
  /** One line: what this frame is. */
  note: string
}

/** A field that is not what was wanted. */
export interface Difference {
  field: string
  expected: string
  seen: string
}

/** What one expectation of a case came to. */
export interface CheckResult {
  /** The check's key in the YAML: `delivered`, `not-delivered`, … */
  check: string
  /** Position of the expectation in the case, from 0. */
  index: number
  status: Status
  /** One line, ASCII, at most 200 characters: "expected 100 copies at rx, saw 99 (missing 17)". */
  message: string
  /** More lines, at most a screen. */
  details: string[]
  differences: Difference[]
  evidence: Evidence[]
  /** How absence was proved, when it was: `fence`, `echo`, … */
  method?: string
  /** Source position of the expectation. */
  line: number
  /** Figures worth keeping: `joinDelayUs`, `latencyUsP99`, … */
  measurements: Record<string, number>
}

/** One row of the replication ledger: copies of a stream at a tap. */
export interface LedgerRow {
  stream: string
  tap: string
  layer: 'sender' | 'stimulus' | 'local pod' | 'remote pod' | 'overlay' | 'uplink' | 'other'
  direction: 'in' | 'out'
  sent: number
  copies: number
}

export interface CaseResult {
  /** `igmp/v3-join` or, for a row of a matrix, `igmp/v3-join[version=2]`. */
  id: string
  /** The YAML file, relative to the working directory, and the line where the case starts. */
  file: string
  line: number
  title: string
  target: string
  status: Status
  /** Why, in one line; for skip and waived the reason, for fail and inconclusive the first check's message. */
  message: string
  covers: RequirementRef[]
  level: string
  params: Record<string, string>
  startedAt: string
  durationMs: number
  checks: CheckResult[]
  ledger: LedgerRow[]
  /** Useful copies / copies on the wire, 0..1. */
  replicationEfficiency?: number
  /** Earlier attempts (only an inconclusive one is repeated). */
  attempts: { status: Status; message: string }[]
  /** Files for a person, relative to the run directory. */
  attachments: string[]
}

export interface RunResult {
  schema: 'castproof-result/1'
  runId: string
  version: string
  startedAt: string
  durationMs: number
  seed: number
  host: { hostname: string; kernel: string; node: string; os: string }
  targets: { name: string; description: string; sandbox: string }[]
  faults: string[]
  profiles: string[]
  cases: CaseResult[]
  totals: Record<Status, number>
  /** Frames that were neither stamped nor declared, by a short name. */
  background: Record<string, number>
  /** Captures whose hash no longer is what the run recorded. */
  altered: string[]
  warnings: string[]
  exitCode: number
  /** Absolute path of the run directory. */
  directory: string
}
