import type { CaseResult, CheckResult, RunResult } from './result.ts'

/** A case that passes; tests change what they are about. */
export function exampleCase(changes: Partial<CaseResult> = {}): CaseResult {
  return {
    id: 'igmp/v3-join[version=3]',
    file: 'suites/igmp/v3-join.yaml',
    line: 12,
    title: 'A join is served',
    target: 'reference',
    status: 'pass',
    message: 'as expected',
    covers: [
      {
        id: 'D01',
        rfc: 'RFC 3376 section 4.2',
        level: 'MUST',
        text: 'A member receives exactly one copy of each datagram.',
      },
    ],
    level: 'core',
    params: { version: '3' },
    startedAt: '2026-02-03T04:05:06.789Z',
    durationMs: 12.34,
    checks: [],
    ledger: [],
    attempts: [],
    attachments: ['evidence/igmp_v3-join.pcapng'],
    ...changes,
  }
}

export function exampleCheck(changes: Partial<CheckResult> = {}): CheckResult {
  return {
    check: 'delivered',
    index: 0,
    status: 'fail',
    message: 'expected 100 copies at rx, saw 99 (missing 17)',
    details: ['sequence 17 was last seen at n1/eth0'],
    differences: [{ field: 'ethernet.dst', expected: '01:00:5e:01:02:03', seen: '01:00:0e:01:02:03' }],
    evidence: [{ tap: 'rx/eth0', file: 'evidence/igmp_v3-join.pcapng', frame: 12, note: 'sequence 16' }],
    line: 40,
    measurements: { joinDelayUs: 412 },
    ...changes,
  }
}

/** A failed case as the runner makes it. */
export function failedCase(changes: Partial<CaseResult> = {}): CaseResult {
  const check = exampleCheck()
  return exampleCase({
    id: 'delivery/one-copy',
    status: 'fail',
    message: check.message,
    checks: [check],
    ledger: [
      { stream: 's1', tap: 'rx/eth0', layer: 'local pod', direction: 'in', sent: 100, copies: 99 },
      { stream: 's1', tap: 'n1/eth0', layer: 'uplink', direction: 'out', sent: 100, copies: 100 },
    ],
    replicationEfficiency: 0.5,
    ...changes,
  })
}

export function exampleRun(cases: CaseResult[], changes: Partial<RunResult> = {}): RunResult {
  const totals = { pass: 0, fail: 0, inconclusive: 0, skip: 0, waived: 0 }
  for (const one of cases) totals[one.status]++
  return {
    schema: 'castproof-result/1',
    runId: '20260203-040506-abcd',
    version: '0.1.0',
    startedAt: '2026-02-03T04:05:06.789Z',
    durationMs: 4321,
    seed: 42,
    host: { hostname: 'ci-1', kernel: '6.1.0', node: 'v20.20.2', os: 'Debian GNU/Linux 12' },
    targets: [{ name: 'reference', description: 'bundled eBPF datapath', sandbox: 'host' }],
    faults: [],
    profiles: [],
    cases,
    totals,
    background: { arp: 12 },
    altered: [],
    warnings: [],
    exitCode: 0,
    directory: '/runs/20260203-040506-abcd',
    ...changes,
  }
}

/** One case of every status. */
export function everyStatus(): CaseResult[] {
  return [
    exampleCase(),
    failedCase(),
    exampleCase({ id: 'overlay/one-tunnel-packet', status: 'inconclusive', message: 'tap n1/eth0 lost 12 frames' }),
    exampleCase({ id: 'overlay/esp', status: 'skip', message: 'needs esp, this kernel has none' }),
    exampleCase({ id: 'igmp/querier', status: 'waived', message: 'WAIVED until 2026-06-30: no querier' }),
  ]
}
