import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { openEcho, roundTripMs } from './echo.ts'

const test = suite('round trips')
const address = '127.0.0.1'
/** Longer than a try is waited for. */
const LATE_MS = 500

test('there and back to an echo', async () => {
  const echo = await openEcho()
  try {
    const ms = await roundTripMs({ address, port: echo.address().port })
    assert.ok(ms !== null && ms < 400, `${ms} ms`)
  } finally {
    echo.close()
  }
})

test('answers that come too late are no quick answers to the next try', async () => {
  const slow = createSocket('udp4')
  slow.on('message', (message, { address, port }) =>
    setTimeout(() => slow.send(message, port, address), LATE_MS).unref(),
  )
  slow.bind(0, address)
  await once(slow, 'listening')
  try {
    assert.is(await roundTripMs({ address, port: slow.address().port }), null)
  } finally {
    slow.close()
  }
})

test.run()
