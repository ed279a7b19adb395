import { realtimeNs } from '../../generators/linux/libc.ts'
import type { ClockRecord } from '../run-directory.ts'
import type { AgentConnection } from './connection.ts'
import type { AgentClock } from './protocol.ts'

/** How much more another clock shows than ours, at a moment of that clock; right within half the round trip. */
export interface ClockReading {
  tNs: bigint
  aheadNs: bigint
  uncertaintyNs: bigint
  /** Changes only when somebody sets that clock. */
  aheadOfSteadyNs: bigint
}

const EXCHANGES = 16

/** The exchange with the shortest round trip decides: what delays a message only makes it longer. */
export async function readClock(ask: () => Promise<AgentClock>, ownNs = realtimeNs): Promise<ClockReading> {
  let best: ClockReading | undefined
  for (let i = 0; i < EXCHANGES; i++) {
    const beforeNs = ownNs()
    const { realNs, aheadOfSteadyNs } = await ask()
    const tripNs = ownNs() - beforeNs
    const tNs = BigInt(realNs)
    const uncertaintyNs = tripNs / 2n + 1n
    const reading = {
      tNs,
      aheadNs: tNs - beforeNs - tripNs / 2n,
      uncertaintyNs,
      aheadOfSteadyNs: BigInt(aheadOfSteadyNs),
    }
    if (best === undefined || uncertaintyNs < best.uncertaintyNs) best = reading
  }
  if (!best) throw new RangeError('a clock is read at least once')
  return best
}

/** NTP turns both clocks alike; what is left is how closely two readings follow each other. */
const SET_NS = 200_000

/** Evenly between two readings. How far it is off at either end it may be in between, and if it was set, by as much as that. */
export function clockBetween(name: string, first: ClockReading, last: ClockReading): ClockRecord {
  const moment = ({ tNs, aheadNs }: ClockReading) => ({ tNs: String(tNs), aheadNs: String(aheadNs) })
  const setByNs = Math.abs(Number(last.aheadOfSteadyNs - first.aheadOfSteadyNs))
  const readNs = Math.max(Number(first.uncertaintyNs), Number(last.uncertaintyNs))
  const uncertaintyNs = setByNs > SET_NS ? readNs + setByNs : readNs
  return { name, first: moment(first), last: moment(last), uncertaintyNs }
}

interface KnownClock {
  name: string
  agent: AgentConnection
  first?: ClockReading
}

/** Clocks of all kernels that agents run on but our own, each read through one agent there. */
export class AgentClocks {
  private readonly byBootId = new Map<string, KnownClock>()
  private readonly ownBootId: string

  constructor(ownBootId: string) {
    this.ownBootId = ownBootId
  }

  /** Name of the clock that the agent's times are of; undefined: ours. */
  clockOf(agent: AgentConnection): string | undefined {
    const { bootId } = agent.hello
    if (bootId === this.ownBootId) return undefined
    const known = this.byBootId.get(bootId) ?? { name: agent.label, agent }
    this.byBootId.set(bootId, known)
    return known.name
  }

  async readFirst(): Promise<void> {
    await Promise.all([...this.byBootId.values()].map(async clock => (clock.first = await read(clock))))
  }

  /** What there is to know about the time since `readFirst`; an agent that is gone cannot be asked again. */
  async readLast(): Promise<ClockRecord[]> {
    const records = [...this.byBootId.values()].map(async clock => {
      const last = clock.agent.isLost ? clock.first : await read(clock)
      return last === undefined ? [] : [clockBetween(clock.name, clock.first ?? last, last)]
    })
    return (await Promise.all(records)).flat()
  }
}

function read({ agent }: KnownClock): Promise<ClockReading> {
  return readClock(() => agent.ask('clock', {}).answer)
}
