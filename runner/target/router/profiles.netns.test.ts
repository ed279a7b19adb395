import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { invoke } from '../../../test/invoke.ts'
import { skip } from '../../../test/skip.ts'
import { suite } from '../../../test/suite.ts'
import { router } from '../router.ts'

const test = suite('profiles of target router', { timeoutMs: 180_000 })
const root = fileURLToPath(new URL('../../..', import.meta.url))

const RUNS = [
  { profile: 'bsr', suites: ['pim/bootstrap', 'pim/ttl'], expected: /4 passed, 0 failed in/ },
  { profile: 'uacctd', suites: ['accounting/situations'], expected: /1 passed, 0 failed, 2 waived in/ },
  { profile: 'softflowd', suites: ['accounting/situations'], expected: /0 passed, 0 failed, 3 waived in/ },
]

for (const { profile, suites, expected } of RUNS) {
  test(`${profile}: real daemons give the verdicts that are known of them`, async () => {
    const lacking = (await router.probe()).filter(({ ok }) => !ok)
    for (const { name, found } of lacking) skip(name, found)
    if (lacking.length > 0) return
    const directory = mkdtempSync(join(tmpdir(), 'castproof-profile-'))
    try {
      const files = suites.map(name => join(root, `suites/${name}.yaml`))
      const run = await invoke(['run', ...files, '--profile', profile, '--out', join(directory, 'run')], '/', 150_000)
      assert.is(run.exitCode, 0, run.stdout + run.stderr)
      assert.match(run.stdout, expected)
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
}

test.run()
