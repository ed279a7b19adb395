import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { targetNamed } from '../runner/target/registry.ts'

/** Wall time of what `npm start` runs, and of bringing topologies up and down. */
const castproof = fileURLToPath(new URL('../castproof', import.meta.url))
const directory = mkdtempSync(join(tmpdir(), 'castproof-bench-'))

try {
  await bringUp('three nodes, four pods', 3, 4)
  await bringUp('one node, 1024 pods', 1, 1024)
  const startMs = performance.now()
  const { stdout, exitCode } = await execa(castproof, ['run', '--out', join(directory, 'run')], { reject: false })
  console.log(`default run: ${seconds(performance.now() - startMs)} s, exit code ${exitCode}`)
  console.log(stdout.split('\n').find(line => / passed, /.test(line)) ?? 'no summary')
} finally {
  rmSync(directory, { recursive: true, force: true })
}

async function bringUp(what: string, nodeCount: number, podCount: number): Promise<void> {
  const nodes = Array.from({ length: nodeCount }, (_, i) => `n${i + 1}`)
  const pods = Array.from({ length: podCount }, (_, i) => ({ name: `p${i + 1}`, node: nodes[i % nodeCount] ?? 'n1' }))
  const startMs = performance.now()
  const site = await targetNamed('reference').bringUp({ nodes, pods }, { faults: [] }, new AbortController().signal)
  const upMs = performance.now()
  await site.close()
  console.log(`${what}: up in ${seconds(upMs - startMs)} s, down in ${seconds(performance.now() - upMs)} s`)
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(2)
}
