import { inputTotals, meaningOfClaim, overcount, ratio } from '../../captures/flow-accounting.ts'
import { type FlowAccount, sum } from '../../captures/flow-accounts.ts'
import type { FlowAddress } from '../../captures/flow-record.ts'
import { UserError } from '../suite/errors.ts'

/** What an analyser says came in at an interface. */
export interface Claim {
  input: number
  packets: bigint
}

export interface ClaimFinding {
  input: number
  claimed: bigint
  /** What the records say came in; a lower bound where there are egress records only. */
  arrived: bigint
  isLowerBound: boolean
  /** `unknown`: no record names that interface. */
  meaning: ReturnType<typeof meaningOfClaim> | 'unknown'
  times: number
}

/** `415=12000`. */
export function parseClaims(texts: readonly string[]): Claim[] {
  return texts.map(text => {
    const [, input = '', packets = ''] = /^(\d{1,10})=(\d{1,20})$/.exec(text) ?? []
    if (input === '')
      throw new UserError('bad-claim', `--claim ${text} is no claim`, { hint: 'INDEX=PACKETS, for example 415=12000' })
    return { input: Number(input), packets: BigInt(packets) }
  })
}

/** Holds each claim against what the records themselves say; interfaces of several exporters are not told apart by an index. */
export function judgeClaims(claims: readonly Claim[], accounts: readonly FlowAccount[]): ClaimFinding[] {
  const exporters = new Set<FlowAddress>(accounts.map(({ key }) => key.exporter))
  if (exporters.size > 1) {
    throw new UserError(
      'several-exporters',
      `there are ${exporters.size} exporters, whose interface indices are not told apart`,
      {
        hint: 'filter the capture to one: tcpdump -r ALL.pcap -w ONE.pcap src host ADDRESS',
      },
    )
  }
  const totals = inputTotals(accounts)
  return claims.map(({ input, packets: claimed }) => {
    const total = totals.find(one => one.input === input)
    if (!total)
      return {
        input,
        claimed,
        arrived: 0n,
        isLowerBound: false,
        meaning: claimed === 0n ? 'right' : 'unknown',
        times: 1,
      }
    const { packets: arrived, isLowerBound } = total.in
    const copies = sum(
      accounts
        .filter(({ key }) => key.input === input)
        .flatMap(({ entries }) => entries.filter(({ direction }) => direction === 'egress')),
    )
    const times = arrived === 0n ? overcount(total) : ratio(claimed, arrived)
    return { input, claimed, arrived, isLowerBound, meaning: meaningOfClaim(claimed, arrived, copies.packets), times }
  })
}

const WORDS: Readonly<Record<ClaimFinding['meaning'], string>> = {
  right: 'right',
  copies: 'it counts each copy that went out as a packet that came in',
  'arrivals and copies': 'it counts the packets that came in, and each copy that went out once more',
  neither: 'it is neither what came in nor what went out',
  unknown: 'no record names that interface',
}

export function claimText(
  who: string,
  { input, claimed, arrived, isLowerBound, meaning, times }: ClaimFinding,
  name: (index: number) => string,
): string {
  const truth = `${isLowerBound ? 'at least ' : ''}${arrived} came in`
  const factor = meaning === 'right' || meaning === 'unknown' ? '' : `, ${times} times as many`
  return `${who}: ${claimed} packets in at ${name(input)}, ${truth}${factor}: ${WORDS[meaning]}`
}
