import { isMulticast } from '../../generators/wire/address.ts'
import type { FlowMessagesWant } from '../suite/expectations.ts'
import { amountText, within } from './amount.ts'
import type { Check } from './check.ts'
import { conclude, type Finding, inconclusive } from './findings.ts'
import { type Export, exportOf } from './flow-export.ts'
import { tapFault } from './places.ts'

/** What the decoder tells that a sound exporter gives no cause for (RFC 3954 §5, §9, §10). */
const FAULTS: ReadonlySet<string> = new Set([
  'malformed',
  'foreign',
  'duplicate',
  'late',
  'redefined',
  'count',
  'padding',
  'no-template',
  'restart',
  'clock-step',
])

/** Form and order of an exporter's messages, and what its options say. */
export const flowMessages: Check<FlowMessagesWant> = {
  name: 'flow-messages',
  about: "the exporter's messages are well formed, in order, with templates before and between the data",
  judge(want, _, seen) {
    const exported = exportOf(seen, want.exporter)
    if (!exported) return conclude([inconclusive(`exporter ${want.exporter} did not start`)], '')
    const fault = tapFault(seen, [seen.site.collector?.tap ?? ''])
    if (fault) return conclude([inconclusive(fault)], '')
    const findings = [
      ...events(exported),
      ...templates(exported, want),
      ...options(exported, want),
      ...amounts(exported, want),
    ]
    return conclude(findings.length > 0 ? findings : [{ status: 'pass', message: '' }], passMessage(exported))
  },
}

function passMessage({ messages, records, product }: Export): string {
  return `${messages.length} messages of ${product} with ${records.length} flow records are well formed and in order`
}

function events({ events, product }: Export): Finding[] {
  return events.flatMap(({ event, frame }): Finding[] => {
    if (event.kind === 'gap')
      // A number that is never used looks like a loss on the way; where no tap lost anything it is the exporter's.
      return [
        {
          status: 'fail',
          message: `${product}: ${event.why}, and no message was lost on the way`,
          frames: [{ frame, note: event.why }],
        },
      ]
    if (!FAULTS.has(event.kind)) return []
    const message = `${product}: ${event.kind} at octet ${event.at}: ${event.why}`
    return [{ status: 'fail', message, ...(frame < 0 ? {} : { frames: [{ frame, note: event.why }] }) }]
  })
}

/** A collector that comes in the middle, or that lost the template, decodes from the next one on (RFC 3954 §9). */
function templates({ messages, fromNs }: Export, { templateEveryMs, templates: wanted }: FlowMessagesWant): Finding[] {
  const withTemplate = messages.filter(({ hasTemplate }) => hasTemplate)
  const found: Finding[] = []
  const firstData = messages.find(({ hasData, hasTemplate }) => hasData && !hasTemplate)
  const firstTemplate = withTemplate[0]
  if (firstData && (!firstTemplate || firstTemplate.timeNs > firstData.timeNs))
    found.push({
      status: 'fail',
      message: 'data came before its template',
      frames: [{ frame: firstData.frame, note: 'data without template' }],
    })
  if (wanted !== undefined && !within(wanted, withTemplate.length))
    found.push({
      status: 'fail',
      message: `${withTemplate.length} messages with the template, expected ${amountText(wanted)}`,
    })
  const ends = [fromNs, ...withTemplate.map(({ timeNs }) => timeNs), messages.at(-1)?.timeNs ?? fromNs]
  const longestMs = Math.max(0, ...ends.slice(1).map((timeNs, i) => (timeNs - (ends[i] ?? timeNs)) / 1e6))
  if (templateEveryMs !== undefined && longestMs > templateEveryMs)
    found.push({
      status: 'fail',
      message: `${Math.round(longestMs)} ms without the template, at most ${templateEveryMs} were wanted`,
    })
  return found
}

function options({ options }: Export, { options: wanted = {} }: FlowMessagesWant): Finding[] {
  return Object.entries(wanted).flatMap(([name, value]): Finding[] => {
    const told = options.map(one => one[name]).filter(one => one !== undefined)
    const last = told.at(-1)
    if (last !== undefined && within(value, Number(last))) return []
    return [
      {
        status: 'fail',
        message: `option ${name} is ${last === undefined ? 'nowhere' : String(last)}, expected ${amountText(value)}`,
      },
    ]
  })
}

function amounts({ records, messages }: Export, want: FlowMessagesWant): Finding[] {
  const of = (name: string, wanted: FlowMessagesWant['records'], count: number): Finding[] =>
    wanted === undefined || within(wanted, count)
      ? []
      : [{ status: 'fail', message: `${count} ${name}, expected ${amountText(wanted)}` }]
  const unicast = records.filter(({ record }) => typeof record.dst === 'number' && !isMulticast(record.dst))
  return [
    ...of('records of unicast flows', want.unicastRecords, unicast.length),
    ...of('flow records', want.records, records.length),
    ...of('messages', want.messages, messages.length),
  ]
}
