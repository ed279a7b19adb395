import * as assert from 'uvu/assert'
import { histogram } from '../../bpf/exposition.ts'
import { suite } from '../../test/suite.ts'
import { histogramTrouble } from './histogram.ts'

const test = suite('histograms')

/** 2 of at most 1 s, 3 of 1 to 2 s, 1 beyond. */
const COUNTS = [2, 3, 1]
const made = (sumS: number, counts = COUNTS) =>
  histogram({}, counts, [1, 2], sumS).map(({ suffix = '', labels, value }) => ({ name: `h${suffix}`, labels, value }))

const trouble = (...given: Parameters<typeof histogramTrouble>) => histogramTrouble(...given) ?? 'none'

test('what agents make is sound while its sum is one that its buckets allow', () => {
  assert.is(histogramTrouble('h', made(8), 10), undefined)
  assert.is(histogramTrouble('h', made(0, [0, 0, 0]), 10), undefined)
  assert.match(trouble('h', made(4.9), 10), 'buckets allow 5 to 18')
  assert.match(trouble('h', made(18.1), 10), 'buckets allow 5 to 18')
})

test('buckets that are apart, that lose some, or are not there', () => {
  const apart = made(8).map((sample, i) => ({ ...sample, value: COUNTS[i] ?? sample.value }))
  assert.match(trouble('h', apart, 10), 'the last bucket of h has 1 of 6')
  const falling = made(8).map((sample, i) => (i === 1 ? { ...sample, value: 1 } : sample))
  assert.match(trouble('h', falling, 10), 'not cumulative')
  assert.match(trouble('h', [], 10), 'not there')
})

test.run()
