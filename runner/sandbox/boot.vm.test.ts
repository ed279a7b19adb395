import { text } from 'node:stream/consumers'
import * as assert from 'uvu/assert'
import { skip } from '../../test/skip.ts'
import { suite } from '../../test/suite.ts'
import { explainError } from '../exit.ts'
import { boot } from './boot.ts'
import { requireVm } from './placement.ts'

const test = suite('a machine that does not come up', { timeoutMs: 60_000 })

/** QEMU refuses it at once. */
const NO_KERNEL = { name: 'none', release: 'none', image: '/etc/hostname', initramfs: '/etc/hostname', modules: '/' }
const PROGRAM = { argv: ['true'], cwd: '/', env: {}, writable: [], layers: [] }

function lack(): string | undefined {
  try {
    requireVm()
    return undefined
  } catch (error) {
    return String(error)
  }
}

test('its output ends though it read nothing of what was sent to it, and the reason is told with exit 3', async () => {
  const why = lack()
  if (why) return skip('vm', why)
  const guest = boot(NO_KERNEL, { name: 'tcg', why: '' }, PROGRAM)
  guest.stdin.write('an order of a stage\n')
  const lost = guest.exited.then(String, explainError)
  assert.equal([await text(guest.stdout), await text(guest.stderr)], ['', ''])
  const told = await lost
  if (typeof told === 'string') throw new Error(`ended with ${told}`)
  assert.is(told.exitCode, 3)
  assert.match(told.text, /^castproof: the virtual machine: .* found exit code 1: .*kernel/s)
})

test.run()
