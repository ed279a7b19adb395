import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { runInVm } from '../../test/vm.ts'

const test = suite('encryption of a bed and the distribution kernel', { timeoutMs: 400_000 })

const FILE = 'runner/target/encryption.netns.test.ts'

test(`${FILE} passes there, and skips nothing`, async () => {
  const { exitCode, output, kernel } = await runInVm([FILE])
  assert.is(exitCode, 0, `${kernel}:\n${output.slice(-4000)}`)
  assert.not.match(output, /^@skip/m)
  assert.match(output, /^@tests registered=([1-9]\d*) finished=\1 hookErrors=0$/m)
})

test.run()
