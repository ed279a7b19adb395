import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { GapMeter } from './gaps.ts'
import { createPacer } from './pacer.ts'

const test = suite('pacer and gaps')

/** Frames that left until `endNs` when somebody asks every `stepNs`. */
function leaves(pacer: ReturnType<typeof createPacer>, stepNs: number, endNs: number, bytes = 100): number[] {
  const times: number[] = []
  for (let nowNs = 0; nowNs < endNs; nowNs += stepNs) {
    while (pacer.dueNs() <= nowNs && times.length < 1e6) {
      pacer.took(bytes, nowNs)
      times.push(nowNs)
    }
  }
  return times
}

test('the rate holds however coarsely it is asked, up to the lag allowed', () => {
  for (const stepNs of [100, 33_000, 4_000_000]) {
    assert.is(
      leaves(createPacer({ pps: 10_000 }, undefined, 0), stepNs, 1e9).length,
      10_000 - (stepNs === 4e6 ? 39 : 0),
    )
  }
  assert.is(leaves(createPacer({ bitsPerSecond: 8e6 }, undefined, 0), 1000, 1e9).length, 10_000)
})

test('after a stall no more than 5 ms are caught up at once', () => {
  const pacer = createPacer({ pps: 1000 }, undefined, 0)
  leaves(pacer, 1e6, 10e6)
  let burst = 0
  while (pacer.dueNs() <= 1e9) {
    pacer.took(100, 1e9)
    burst++
  }
  assert.is(burst, 6)
})

test('a burst waits its gap and the rate, whichever is longer', () => {
  const gapLonger = leaves(createPacer({ pps: 1e6 }, { frames: 3, gapUs: 100 }, 0), 1000, 400_000)
  assert.equal(gapLonger, [0, 0, 0, 1e5, 1e5, 1e5, 2e5, 2e5, 2e5, 3e5, 3e5, 3e5])
  const rateLonger = leaves(createPacer({ pps: 10_000 }, { frames: 2, gapUs: 1 }, 0), 1000, 500_000)
  assert.equal(rateLonger, [0, 0, 2e5, 2e5, 4e5, 4e5])
})

test('gaps: minimum, mean, maximum exact, the percentile at most 7 % too high', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(2_000_000_000), { minLength: 1, maxLength: 300 }), gaps => {
      const meter = new GapMeter()
      for (const gap of gaps) meter.add(gap)
      const sorted = [...gaps].sort((a, b) => a - b)
      const { min, mean, p99, max } = meter.read() ?? { min: 0, mean: 0, p99: 0, max: 0 }
      assert.equal([min * 1000, max * 1000].map(Math.round), [sorted[0], sorted.at(-1)])
      assert.ok(Math.abs(mean * 1000 - gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length) < 1)
      const exact = sorted[Math.ceil(gaps.length * 0.99) - 1] ?? 0
      assert.ok(p99 * 1000 >= exact - 0.001 && p99 * 1000 <= Math.max(1, exact * 1.07), `${p99 * 1000} for ${exact}`)
    }),
    { numRuns: 2000 },
  )
  assert.is(new GapMeter().read(), undefined)
})

test.run()
