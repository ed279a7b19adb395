import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { parse } from 'yaml'
import { exampleCase, exampleRun } from '../reports/example-result.ts'
import { sonobuoyResults } from '../reports/sonobuoy.ts'
import { suite } from '../test/suite.ts'
import { temporaryFolders } from '../test/temporary.ts'
import type { Io } from './io.ts'
import { SonobuoyPlugin } from './sonobuoy.ts'

const test = suite('a Sonobuoy plugin and its worker', { timeoutMs: 30_000 })
const temporaryFolder = temporaryFolders(test)

test('a worker that takes posts and answers none holds the end up for two of them at most', async () => {
  const directory = temporaryFolder('sonobuoy-')
  const worker = createServer(() => {})
  await new Promise<void>(resolve => worker.listen(0, 'localhost', resolve))
  const { port } = worker.address() as AddressInfo
  const env = { SONOBUOY_RESULTS_DIR: directory, SONOBUOY_PROGRESS_PORT: String(port) }
  const plugin = new SonobuoyPlugin({ env } as unknown as Io)
  const progress = plugin.progress()
  const cases = Array.from({ length: 12 }, (_, i) => exampleCase({ id: `igmp/${i}` }))
  for (const one of cases) progress.caseFinished(one)
  progress.runFinished(exampleRun(cases))
  const startMs = performance.now()
  await plugin.finish()
  worker.closeAllConnections()
  worker.close()
  assert.ok(existsSync(join(directory, 'done')))
  assert.ok(performance.now() - startMs < 9000, `${performance.now() - startMs} ms`)
})

test('a run of passes with a bug of ours in it is no pass', () => {
  const bug = { exitCode: 70, warnings: ['igmp/1: ended early by a bug in castproof'] }
  const { status, items } = parse(sonobuoyResults(exampleRun([exampleCase()], bug)))
  assert.equal([status, items.at(-1).name, items.at(-1).details.error], ['failed', 'run', bug.warnings[0]])
})

test.run()
