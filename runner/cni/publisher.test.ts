import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { Publisher } from './publisher.ts'

const test = suite('publisher')

test('a change is written, at whatever moment of the write before it comes', async () => {
  for (let moment = 0; moment < 12; moment++) {
    let state = 1
    let written = 0
    const write = async (): Promise<void> => {
      written = state
      await Promise.resolve()
    }
    const publisher = new Publisher(write, () => {}, new AbortController().signal)
    publisher.changed()
    for (let turn = 0; turn < moment; turn++) await Promise.resolve()
    state = 2
    publisher.changed()
    await publisher.ended()
    assert.is(written, 2, `${moment} microtasks after the first`)
  }
})

test.run()
