import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { compileFilter, FilterError } from './filter.ts'

const test = suite('filter')

test('arp: the four instructions that pcap-filter(7) means', async () => {
  const program = Buffer.from(await compileFilter('arp'))
  // ldh [12]; jeq #0x806, 0, 1; ret #262144; ret #0.
  assert.is(program.toString('hex'), '280000000c000000150000010608000006000000000004000600000000000000')
})

test("an expression that is none: tcpdump's words and the expression", async () => {
  const failure = await compileFilter('udp port banana').then(
    () => undefined,
    (error: unknown) => error,
  )
  assert.instance(failure, FilterError)
  assert.match((failure as FilterError).message, /^capture filter "udp port banana": .*banana/)
  assert.is((failure as FilterError).expression, 'udp port banana')
})

test('an expression is never an option', async () => {
  for (const expression of ['-w /tmp/never', '--version', '-']) {
    const failure = await compileFilter(expression).catch((error: unknown) => error)
    assert.instance(failure, FilterError, expression)
  }
})

test('the empty expression takes everything', async () => {
  assert.is(Buffer.from(await compileFilter('')).toString('hex'), '0600000000000400')
})

test.run()
