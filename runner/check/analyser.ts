import { meaningOfClaim, ratio } from '../../captures/flow-accounting.ts'
import type { InputClaimFact, Observation } from '../observation.ts'
import type { AnalyserWant } from '../suite/expectations.ts'
import type { Check, NodeSite, Seen } from './check.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { type Export, exportOf } from './flow-export.ts'
import { wireFlows } from './flow-wire.ts'
import { nodeOf, tapFault } from './places.ts'

type Report = Extract<Observation, { kind: 'analyser' }>

/** What a collector says came in at an interface, against what did: a copy that went out is none of it. */
export const analyser: Check<AnalyserWant> = {
  name: 'analyser',
  about: "a flow collector's total of an input interface is what came in there",
  judge(want, _, seen) {
    const node = nodeOf(seen, want.node)
    const index = node?.interfaceIndices?.[want.input]
    if (!node || index === undefined) return conclude([inconclusive(`${want.node} has no interface ${want.input}`)], '')
    const exported = exportOf(seen, want.exporter)
    if (!exported) return conclude([inconclusive(`exporter ${want.exporter} did not start`)], '')
    const report = seen.observations.find(
      (one): one is Report =>
        one.kind === 'analyser' && one.exporter === want.exporter && one.analyser === want.analyser,
    )
    if (!report) return conclude([inconclusive(`${want.analyser} was not asked`)], '')
    const asked = { want, node, index, exported, report, seen }
    const doubt = doubtOf(asked)
    const finding = doubt === undefined ? judgeReport(asked) : inconclusive(doubt)
    return conclude([finding], `${nameOf(report)} counts what came in at ${want.input}`)
  },
}

interface Asked {
  want: AnalyserWant
  node: NodeSite
  /** Of the interface, as records name it. */
  index: number
  exported: Export
  report: Report
  seen: Seen
}

/** Its totals say something only where it has had every record. */
function doubtOf({ node, exported, report, seen }: Asked): string | undefined {
  const gap = exported.events.find(({ event }) => event.kind === 'gap')
  if (gap) return `messages of ${exported.product} are missing: ${gap.event.why}`
  if (report.dropped > 0) return `${nameOf(report)} had no room for ${report.dropped} messages`
  if (report.datagrams !== exported.messages.length)
    return `${nameOf(report)} was given ${report.datagrams} messages, ${exported.messages.length} were captured`
  return tapFault(seen, [seen.site.collector?.tap ?? '', ...(node.interfaceTaps ?? [])])
}

function judgeReport({ want, node, index, exported, report, seen }: Asked): Finding {
  const all = wireFlows(seen, node, 'all', { fromNs: exported.fromNs, toNs: exported.toNs })
  const flows = all.filter(flow => flow.in.has(want.input))
  const arrived = BigInt(flows.reduce((sum, flow) => sum + (flow.in.get(want.input)?.packets ?? 0), 0))
  if (arrived === 0n) return inconclusive(`nothing came in at ${want.input}`)
  const copies = flows.flatMap(flow => [...flow.out.values()]).reduce((sum, { packets }) => sum + packets, 0)
  const claimed = claimOf(want, report, index)
  const meaning = meaningOfClaim(claimed, arrived, BigInt(copies))
  if (meaning === 'right') return pass()
  const which = want.records === 'all' ? '' : ' of ingress records'
  const told = `${nameOf(report)} says that ${claimed} packets${which} came in at ${want.input}`
  const message = `${told}, on the wire ${arrived}: ${ratio(claimed, arrived)} times as many`
  return { status: 'fail', message, details: [WORDS[meaning]] }
}

const WORDS = {
  copies: 'it counts each copy that went out as a packet that came in: egress records name the input interface too',
  'arrivals and copies': 'it counts the packets that came in, and each copy that went out once more',
  neither: 'it is neither what came in nor what went out',
} as const

function claimOf({ records }: AnalyserWant, report: Report, index: number): bigint {
  const claims: InputClaimFact[] = records === 'all' ? report.all : report.ingressOnly
  return BigInt(claims.find(({ input }) => input === index)?.packets ?? 0)
}

function nameOf({ analyser, version }: Report): string {
  return `${analyser} ${version}`
}
