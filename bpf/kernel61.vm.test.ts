import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { runInVm } from '../test/vm.ts'

const test = suite('the datapath on the distribution kernel', { timeoutMs: 900_000 })

/** Tests that judge the programs by BPF_PROG_RUN: what they say here they must say there. */
const FILES = ['bpf/maps.bpf.test.ts', 'bpf/igmp.bpf.test.ts', 'bpf/frames.bpf.test.ts']

for (const file of FILES)
  test(`${file} passes there`, async () => {
    const { exitCode, output, kernel } = await runInVm([process.execPath, '--import', 'tsx', file], 600_000)
    assert.is(exitCode, 0, `${kernel}:\n${output.slice(-4000)}`)
    assert.match(output, /@tests registered=(\d+) finished=\1 hookErrors=0/)
  })

test.run()
