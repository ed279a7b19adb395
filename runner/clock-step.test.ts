import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { type Clocks, clockOffsetNs, clockStepNs } from './clock-step.ts'

const test = suite('clock step')

/** A machine on which a reading takes 1 us, and every few ms, for others run as well. */
function machine(setByNs: bigint): Clocks {
  let nowNs = 0n
  let readings = 0n
  const read = () => {
    readings += 1n
    nowNs += readings % 3n === 0n ? 4_000_000n : 1000n
    return nowNs
  }
  return { monotonicNs: read, realtimeNs: () => read() + 1_790_000_000_000_000_000n + setByNs }
}

test('a clock that was set shows, however busy the machine', () => {
  const offsetNs = clockOffsetNs(machine(0n))
  assert.is(clockStepNs(offsetNs, clockOffsetNs(machine(0n))), 0n)
  for (const setByNs of [1_000_000n, -3_600_000_000_000n]) {
    const stepNs = clockStepNs(offsetNs, clockOffsetNs(machine(setByNs)))
    assert.ok(stepNs - setByNs < 1_000_000n && setByNs - stepNs < 1_000_000n, `${stepNs}`)
    assert.is.not(stepNs, 0n)
  }
})

test('this clock stands still against the monotonic one while nobody sets it', () => {
  const offsetNs = clockOffsetNs()
  for (let i = 0; i < 100; i++) assert.is(clockStepNs(offsetNs, clockOffsetNs()), 0n)
})

test.run()
