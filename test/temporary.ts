import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestSuite } from './suite.ts'

/** Makes folders that are gone after each test of the suite. */
export function temporaryFolders(test: Pick<TestSuite, 'afterEach'>): (prefix: string) => string {
  const made: string[] = []
  test.afterEach(() => {
    for (const path of made.splice(0)) rmSync(path, { recursive: true, force: true })
  })
  return prefix => {
    made.push(mkdtempSync(join(tmpdir(), prefix)))
    return made.at(-1) as string
  }
}
