import { resolve } from 'node:path'
import { consoleProgress } from '../../reports/console.ts'
import { resultJson } from '../../reports/json.ts'
import { writeJunit } from '../../reports/write.ts'
import { makeFolder } from '../folder.ts'
import type { Io } from '../io.ts'
import { readKeysFile } from '../ipsec/keys-file.ts'
import { judgeRun } from '../judge.ts'
import type { JudgeOptions } from './options.ts'

/** Prints as `run` does and leaves the run directory as it is: what is judged is not written to. */
export async function judgeCommand(options: JudgeOptions, io: Io): Promise<number> {
  if (options.junit !== undefined) makeFolder(resolve(io.cwd, options.junit))
  const keys = options.keys === undefined ? undefined : readKeysFile(resolve(io.cwd, options.keys), options.keys)
  const result = judgeRun(resolve(io.cwd, options.directory), keys && { keys })
  if (options.json) io.stdout.write(resultJson(result))
  else {
    const progress = consoleProgress(io.stdout, { env: io.env, quiet: options.quiet, live: false })
    for (const one of result.cases) progress.caseFinished(one)
    progress.runFinished(result)
  }
  if (options.junit !== undefined) await writeJunit(result, options.junit, io.env, io.cwd)
  return result.exitCode
}
