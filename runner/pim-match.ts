import { ETHER_TYPE, ethernet } from '../generators/wire/ethernet.ts'
import { IP_PROTOCOL, ipv4, ipv4End, ipv4HeaderLength } from '../generators/wire/ipv4.ts'
import { PIM_TYPE, type PimMessage, type PimSource, readPim } from '../generators/wire/pim.ts'
import type { PimMatch } from './suite/expectations.ts'

/** Types by the names that suites use. */
export const PIM_TYPES = {
  hello: PIM_TYPE.HELLO,
  register: PIM_TYPE.REGISTER,
  'register-stop': PIM_TYPE.REGISTER_STOP,
  'join-prune': PIM_TYPE.JOIN_PRUNE,
  bootstrap: PIM_TYPE.BOOTSTRAP,
  assert: PIM_TYPE.ASSERT,
} as const

/** The PIM message of an untagged frame; undefined when it carries none. */
export function pimIn(frame: Uint8Array): PimMessage | undefined {
  if (frame.length < ethernet.length + ipv4.length) return undefined
  if (ethernet.fields.etherType.get(frame, 0) !== ETHER_TYPE.IPV4) return undefined
  const ipAt = ethernet.length
  if (ipv4.fields.protocol.get(frame, ipAt) !== IP_PROTOCOL.PIM) return undefined
  return readPim(frame, ipAt + ipv4HeaderLength(frame, ipAt), ipv4End(frame, ipAt, frame.length))
}

/** Whether the message is one that a suite speaks of: its type, and the group and source that it is about. */
export function isSpokenOf(want: PimMatch, message: PimMessage): boolean {
  if (message.type !== PIM_TYPES[want.type]) return false
  if (want.type === 'join-prune') return hasEntry(want, message)
  return matches(want.group, message.group) && (want.source === '*' || matches(want.source, message.source))
}

function matches(wanted: number | undefined, found: number | undefined): boolean {
  return wanted === undefined || wanted === found
}

/** A (*,G) or (S,G) entry among the joins or the prunes; neither named: among both. */
function hasEntry({ group, source, list }: PimMatch, { groups = [] }: PimMessage): boolean {
  return groups.some(entry => {
    const sources = list === undefined ? [...entry.joins, ...entry.prunes] : entry[`${list}s`]
    return matches(group, entry.group) && sources.some(one => source === undefined || isSource(source, one))
  })
}

/** (S,G) without the RPT bit: (S,G,rpt) speaks of the shared tree. */
function isSource(wanted: number | '*', { address, wildcard, rpt }: PimSource): boolean {
  return wanted === '*' ? wildcard : !wildcard && !rpt && address === wanted
}
