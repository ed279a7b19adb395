import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { StageClocks } from '../stage-clocks.ts'
import { type ClockReading, clockBetween, readClock } from './clocks.ts'

const test = suite('clocks of agents')

/** A clock far away: ours plus `aheadNs`, asked through a way that takes its time in each direction. */
function farClock(aheadNs: bigint, delaysNs: readonly (readonly [there: number, back: number])[]) {
  let nowNs = 1_000_000_000_000n
  let exchange = 0
  return {
    ownNs: () => nowNs,
    ask: async () => {
      const [there, back] = delaysNs[exchange++ % delaysNs.length] ?? [0, 0]
      nowNs += BigInt(there)
      const realNs = String(nowNs + aheadNs)
      nowNs += BigInt(back)
      return { realNs, aheadOfSteadyNs: '0' }
    },
  }
}

test('however lopsided the way is, the truth is within the uncertainty', async () => {
  const delay = fc.tuple(fc.nat(5_000_000), fc.nat(5_000_000))
  await fc.assert(
    fc.asyncProperty(
      fc.bigInt(-(10n ** 15n), 10n ** 15n),
      fc.array(delay, { minLength: 1, maxLength: 16 }),
      async (aheadNs, delays) => {
        const { ownNs, ask } = farClock(aheadNs, delays)
        const reading = await readClock(ask, ownNs)
        const offNs = reading.aheadNs - aheadNs
        assert.ok(
          offNs <= reading.uncertaintyNs && -offNs <= reading.uncertaintyNs,
          `${offNs} of ${reading.uncertaintyNs}`,
        )
      },
    ),
  )
})

test('the shortest round trip decides', async () => {
  const { ownNs, ask } = farClock(5n, [
    [4_000_000, 0],
    [1000, 1000],
    [0, 9_000_000],
  ])
  const { aheadNs, uncertaintyNs } = await readClock(ask, ownNs)
  assert.is(aheadNs, 5n)
  assert.is(uncertaintyNs, 1001n)
})

const BASE = 1_700_000_000_000_000_000n

function reading(atMs: number, aheadMs: number, changes: Partial<ClockReading> = {}): ClockReading {
  const tNs = BASE + BigInt(atMs + aheadMs) * 1_000_000n
  return { tNs, aheadNs: BigInt(aheadMs) * 1_000_000n, uncertaintyNs: 100_000n, aheadOfSteadyNs: 0n, ...changes }
}

test('between two readings a clock is taken to go evenly; before and after, as it was', () => {
  const clocks = new StageClocks([clockBetween('n2', reading(0, 1000), reading(10_000, 1010))], BASE)
  assert.is(clocks.runnerNs('n2', 1000e6), 0)
  assert.is(clocks.runnerNs('n2', 11_010e6), 10_000e6)
  assert.is(Math.round(clocks.runnerNs('n2', 6005e6) / 1e6), 5000)
  assert.is(clocks.runnerNs('n2', 500e6), -500e6)
  assert.is(clocks.runnerNs('n2', 12_010e6), 11_000e6)
  assert.is(clocks.runnerNs(undefined, 7), 7)
})

test('one clock has no error against itself; several add up, the runner has none', () => {
  const records = [clockBetween('n1', reading(0, 0), reading(1, 0)), clockBetween('n2', reading(0, 9), reading(1, 9))]
  const clocks = new StageClocks(records, BASE)
  assert.is(clocks.errorNs(['n1', 'n1']), 0)
  assert.is(clocks.errorNs([undefined, undefined]), 0)
  assert.is(clocks.errorNs(['n1', 'n2']), 200_000)
  assert.is(clocks.errorNs(['n1', undefined]), 100_000)
})

test('a clock that somebody set is off by as much as that', () => {
  const set = clockBetween('n1', reading(0, 0), reading(1000, 3000, { aheadOfSteadyNs: 3_000_000_000n }))
  assert.is(set.uncertaintyNs, 3_000_100_000)
  const slewed = clockBetween('n1', reading(0, 0), reading(1000, 0, { aheadOfSteadyNs: 150_000n }))
  assert.is(slewed.uncertaintyNs, 100_000)
})

test.run()
