import { DIRECTION } from '../../captures/record.ts'
import { matchFrame } from '../../generators/frame-match.ts'
import { formatIpv4 } from '../../generators/wire/address.ts'
import type { PimMessage } from '../../generators/wire/pim.ts'
import type { Difference } from '../../reports/result.ts'
import { isSpokenOf, pimIn } from '../pim-match.ts'
import type { PimWant } from '../suite/expectations.ts'
import { amountText, upper, within } from './amount.ts'
import type { Check, Seen } from './check.ts'
import { differenceText, readable } from './field-text.ts'
import { conclude, type Finding, inconclusive, pass } from './findings.ts'
import { tapFault } from './places.ts'
import { intervalOf } from './window.ts'

/** Identity is declared: type, group and source; what else is given must hold of every such message (RFC 7761 §4.9). */
export const pimCheck: Check<PimWant> = {
  name: 'pim',
  about: "how many PIM messages of a description passed a router's interface, and that each is well made",
  judge(want, _, seen) {
    const where = `${want.node}/${want.interface} (${want.direction})`
    return conclude([atInterface(want, where, seen)], `${amountText(want.count)} ${describe(want)} at ${where}`)
  },
}

const SHOWN = 4

function atInterface(want: PimWant, where: string, seen: Seen): Finding {
  const tapName = `${want.node}/${want.interface}`
  const fault = tapFault(seen, [tapName])
  if (fault) return inconclusive(fault)
  const interval = intervalOf(want, seen)
  if (!interval) return inconclusive('a step that bounds the window did not come to its end')
  const all = pimFrames(seen, seen.tapIndex(tapName), DIRECTION[want.direction])
  const spoken = all.filter(
    ({ frame, message }) =>
      seen.recording.timeNs(frame) >= interval.afterNs &&
      seen.recording.timeNs(frame) < interval.beforeNs &&
      isSpokenOf(want, message),
  )
  const wrong = spoken.map(found => ({ ...found, differences: faultsOf(want, found, seen) })).find(isWrong)
  if (wrong) return wronglyMade(want, where, wrong)
  if (within(want.count, spoken.length)) {
    // Absence is worth something only where PIM was seen at all: the interface speaks it, and the tap hears it.
    const heard = upper(want.count) === Infinity || all.length > 0
    return heard ? pass() : inconclusive(`no PIM message at all was seen at ${where}`)
  }
  const frames = spoken.slice(0, SHOWN).map(({ frame }) => ({ frame, note: `${describe(want)} at ${where}` }))
  const message = `expected ${amountText(want.count)} ${describe(want)} at ${where}, saw ${spoken.length}`
  return { status: 'fail', message, details: [`${all.length} PIM messages there in the whole stage`], frames }
}

interface Found {
  frame: number
  message: PimMessage
}

function isWrong({ differences }: { differences: Difference[] }): boolean {
  return differences.length > 0
}

function wronglyMade(
  want: PimWant,
  where: string,
  { frame, differences }: Found & { differences: Difference[] },
): Finding {
  const text = differences.map(differenceText).join('; ')
  return {
    status: 'fail',
    message: `${describe(want)} at ${where}: ${text}`,
    differences,
    frames: [{ frame, note: text }],
  }
}

function faultsOf(want: PimWant, { frame, message }: Found, seen: Seen): Difference[] {
  const outer = { ...(want.ipv4 && { ipv4: want.ipv4 }), ...(want.ethernet && { ethernet: want.ethernet }) }
  const found = matchFrame(outer, seen.recording.bytes(frame)).map(readable)
  const differ = (field: string, expected: string, actual: unknown) => {
    found.push({ field, expected, seen: String(actual) })
  }
  if (message.version !== 2) differ('pim.version', '2', message.version)
  if (!message.checksumOk) differ('pim.checksum', 'right', 'wrong')
  if (message.malformed) differ('pim', 'well formed', `${message.malformed.why} at byte ${message.malformed.at}`)
  if (want.holdtimeS !== undefined && !within(want.holdtimeS, message.holdtimeS ?? -1))
    differ('pim.holdtime', `${amountText(want.holdtimeS)} s`, message.holdtimeS ?? 'none')
  if (want.upstream !== undefined && message.upstream !== want.upstream)
    differ('pim.upstreamNeighbor', formatIpv4(want.upstream), formatIpv4(message.upstream ?? 0))
  if (want.rp !== undefined && !message.rps?.some(({ address }) => address === want.rp))
    differ('pim.rpSet', formatIpv4(want.rp), (message.rps ?? []).map(({ address }) => formatIpv4(address)).join(' '))
  return found
}

function describe({ type, list, group, source }: PimWant): string {
  const what = list === undefined ? type : `${type} (${list})`
  if (group === undefined) return `PIM ${what}`
  const of = source === undefined ? '' : `${source === '*' ? '*' : formatIpv4(source)},`
  return `PIM ${what} of ${of}${formatIpv4(group)}`
}

const known = new WeakMap<Seen['recording'], Map<string, Found[]>>()

/** PIM of every tap in one pass over the bytes; what is found never changes. */
function pimFrames({ recording }: Seen, tap: number, direction: number): Found[] {
  let byTap = known.get(recording)
  if (!byTap) {
    byTap = new Map()
    for (let i = 0; i < recording.count; i++) {
      const message = pimIn(recording.bytes(i))
      if (!message) continue
      const key = `${recording.tap(i)} ${recording.direction(i)}`
      byTap.set(key, [...(byTap.get(key) ?? []), { frame: i, message }])
    }
    known.set(recording, byTap)
  }
  return byTap.get(`${tap} ${direction}`) ?? []
}
