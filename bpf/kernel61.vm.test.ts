import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'
import { runInVm } from '../test/vm.ts'

const test = suite('the datapath on the distribution kernel', { timeoutMs: 900_000 })

/** Tests that judge the programs by BPF_PROG_RUN: what they say here they must say there. */
const FILES = ['bpf/maps.bpf.test.ts', 'bpf/flow.bpf.test.ts', 'bpf/igmp.bpf.test.ts', 'bpf/frames.bpf.test.ts']

/** Side by side, each whatever the others say; one boot for all. */
const ALL = `
for file; do i=$((i+1)); "$0" "\${file%.ts}.js" > /run/$i.out 2>&1 & pids="$pids $!"; done
code=0; for pid in $pids; do wait $pid || code=1; done
cat /run/*.out; exit $code`

test(`${FILES.join(', ')} pass there`, async () => {
  const { exitCode, output, kernel } = await runInVm(['/bin/sh', '-c', ALL, process.execPath, ...FILES])
  assert.is(exitCode, 0, `${kernel}:\n${output.slice(-4000)}`)
  const tallies = output.match(/^@tests registered=([1-9]\d*) finished=\1 hookErrors=0$/gm) ?? []
  assert.is(tallies.length, FILES.length, output.slice(-4000))
})

test.run()
