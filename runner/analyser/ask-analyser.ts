import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { createNetns, inNetns } from '../../generators/linux/netns.ts'
import { type Analyser, type AnalyserReport, type InputClaim, until } from './analyser.ts'
import { FENCE_INPUT, feed } from './feed.ts'
import { nfacctd } from './nfacctd.ts'
import { nfdump } from './nfdump.ts'

export const ANALYSERS = { nfdump, nfacctd } as const satisfies Record<string, Analyser>

export type AnalyserName = keyof typeof ANALYSERS

/**
 * Feeds export messages to a real collector, as they were sent, and asks for its totals. It runs in a namespace of its own and leaves
 * nothing behind. A last record, sent after them, shows that it has read them all.
 */
export async function askAnalyser(name: AnalyserName, datagrams: readonly Uint8Array[]): Promise<AnalyserReport> {
  const directory = mkdtempSync(join(tmpdir(), 'castproof-analyser-'))
  const ns = createNetns()
  try {
    await inNetns(ns, () => execa('ip', ['link', 'set', 'lo', 'up']))
    const running = await ANALYSERS[name].start(ns, directory)
    try {
      await until(`${name} to listen`, running, () => feed.isBound(ns, running.port))
      const sent = await feed.send(ns, running.port, datagrams, () => running.trouble())
      const report = await running.report(sent)
      return { analyser: name, ...withoutFence(name, report), dropped: sent.dropped }
    } finally {
      await running.stop()
    }
  } finally {
    ns.close()
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Its absence means that the collector did not read to the end: then no total of it says anything. */
function withoutFence<Report extends Record<'all' | 'ingressOnly' | 'egressOnly', InputClaim[]>>(
  name: string,
  report: Report,
): Report {
  if (!report.all.some(({ input }) => input === FENCE_INPUT))
    throw new Error(`${name} did not count the record that was sent last`)
  const without = (claims: InputClaim[]) => claims.filter(({ input }) => input !== FENCE_INPUT)
  return {
    ...report,
    all: without(report.all),
    ingressOnly: without(report.ingressOnly),
    egressOnly: without(report.egressOnly),
  }
}
