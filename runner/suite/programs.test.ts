import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { type ProgramParams, programCommand } from './programs.ts'

const test = suite('programs')
const PLACE = { interface: 'eth0', address: '10.0.1.2' }

const argv = (program: string, params: ProgramParams) => programCommand(program, params, PLACE).argv.join(' ')

test("arguments as in the founding document's commands, with the pod's own interface", () => {
  assert.is(
    argv('socat-receive', { group: '225.0.0.11', port: 6666 }),
    'socat -u UDP4-RECVFROM:6666,ip-add-membership=225.0.0.11:eth0,reuseaddr,fork -',
  )
  assert.equal(programCommand('socat-send', { to: '225.0.0.11', port: 6666, text: 'hello, multicast!' }, PLACE), {
    argv: ['socat', '-u', '-', 'UDP4-DATAGRAM:225.0.0.11:6666,ip-multicast-if=10.0.1.2'],
    input: 'hello, multicast!\n',
  })
})

test('a sender that waits for replies reads them', () => {
  assert.is(
    argv('socat-send', { to: '10.0.2.2', port: 7, text: 'x', replyWaitMs: 300, ttl: 3, sourcePort: 9 }),
    'socat -t0.3 - UDP4-DATAGRAM:10.0.2.2:7,ip-multicast-if=10.0.1.2,ip-multicast-ttl=3,ip-ttl=3,bind=:9',
  )
})

test('a filter is one argument behind the end of options', () => {
  assert.equal(programCommand('tcpdump', { filter: 'igmp or udp port 5', count: 3 }, PLACE).argv.slice(-4), [
    '-c',
    '3',
    '--',
    'igmp or udp port 5',
  ])
})

test('a program outside the table', () => {
  assert.throws(() => programCommand('sh', {}, PLACE), 'no program sh in the table')
  assert.throws(() => programCommand('constructor', {}, PLACE))
})

test.run()
