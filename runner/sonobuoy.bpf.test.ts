import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { parse } from 'yaml'
import { suite } from '../test/suite.ts'
import { temporaryFolders } from '../test/temporary.ts'

const test = suite('Sonobuoy plugin', { timeoutMs: 120_000 })
const temporaryFolder = temporaryFolders(test)

const ROOT = fileURLToPath(new URL('..', import.meta.url))

interface Update {
  msg: string
  total: number
  completed: number
  failures: string[]
}

interface Item {
  name: string
  status: string
  details?: Record<string, string>
  items?: Item[]
}

/** Runs castproof as Sonobuoy would, with its worker's port on this machine. */
async function runPlugin(words: string[]) {
  const directory = temporaryFolder('sonobuoy-')
  const updates: Update[] = []
  const worker = createServer((request, response) => {
    let text = ''
    request.on('data', chunk => {
      text += String(chunk)
    })
    request.on('end', () => {
      assert.is(`${request.method} ${request.url}`, 'POST /progress')
      updates.push(JSON.parse(text) as Update)
      response.end()
    })
  })
  await new Promise<void>(resolve => worker.listen(0, 'localhost', resolve))
  const env = {
    SONOBUOY_RESULTS_DIR: directory,
    SONOBUOY_PROGRESS_PORT: String((worker.address() as AddressInfo).port),
  }
  const out = ['--out', join(directory, 'run'), '--junit', join(directory, 'junit')]
  const { exitCode } = await execa(join(ROOT, 'castproof'), ['run', ...words, ...out, '--sonobuoy'], {
    env,
    reject: false,
  })
  worker.close()
  const archive = readFileSync(join(directory, 'done'), 'utf8')
  const { stdout } = await execa('tar', ['-tzf', archive])
  const inside = temporaryFolder('sonobuoy-')
  await execa('tar', ['-xzf', archive, '-C', inside])
  const results = parse(readFileSync(join(inside, 'sonobuoy_results.yaml'), 'utf8')) as Item
  return { exitCode, updates, names: stdout.split('\n'), results }
}

test('one archive with results, JUnit and packets, named by the done file; progress up to the last case', async () => {
  const suites = ['suites/delivery/group-mac.yaml', 'suites/delivery/sender-is-member.yaml'].map(path =>
    join(ROOT, path),
  )
  const { exitCode, updates, names, results } = await runPlugin([...suites, '--fault', 'copy-back-to-sender'])
  assert.is(exitCode, 1)
  assert.equal([results.name, results.status], ['castproof', 'failed'])
  const cases = (results.items ?? []).flatMap(area => area.items ?? [])
  const failed = cases.filter(({ status }) => status === 'failed')
  assert.equal(
    failed.map(({ name }) => name),
    ['delivery/sender-is-member'],
  )
  assert.match(failed[0]?.details?.['failure'] ?? '', 'expected')
  assert.is(cases.filter(({ status }) => status === 'passed').length, 4)
  for (const name of ['sonobuoy_results.yaml', 'junit/TEST-delivery.xml', 'run/run.json', 'run/result.json'])
    assert.ok(names.includes(name), name)
  const last = updates.at(-1)
  assert.equal([last?.total, last?.completed, last?.failures], [5, 4, ['delivery/sender-is-member']])
})

test('a run that cannot start says so in the same way', async () => {
  const { exitCode, results } = await runPlugin(['no-such-suite.yaml'])
  assert.is(exitCode, 2)
  assert.is(results.status, 'failed')
  assert.match(results.items?.[0]?.details?.['error'] ?? '', 'no-such-suite.yaml')
})

test.run()
