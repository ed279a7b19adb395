import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import * as assert from 'uvu/assert'
import { suite } from './suite.ts'
import { temporaryFolders } from './temporary.ts'

const test = suite('setup.mjs', { timeoutMs: 60_000 })
const temporaryFolder = temporaryFolders(test)

test('a checkout that cannot be written ends with 3 and one line: 1 would be a verdict of npm start', async () => {
  const folder = temporaryFolder('setup-')
  copyFileSync(fileURLToPath(new URL('../setup.mjs', import.meta.url)), join(folder, 'setup.mjs'))
  writeFileSync(join(folder, '.cache'), 'no folder')
  const { exitCode, stderr } = await execa('node', ['setup.mjs'], { cwd: folder, reject: false })
  assert.is(exitCode, 3, stderr)
  assert.match(stderr, /^setup: [^\n]+$/)
})

test.run()
