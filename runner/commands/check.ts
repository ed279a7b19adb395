import { EXIT } from '../exit.ts'
import { type Io, printLine } from '../io.ts'
import { formatUserError } from '../suite/errors.ts'
import { loadSuites } from '../suite/load.ts'
import type { CheckOptions } from './options.ts'

/** Prints every mistake and the count; sends nothing. */
export async function checkCommand(options: CheckOptions, io: Io): Promise<number> {
  const { plan, errors, files } = loadSuites(options.suites, { profiles: options.profile, cwd: io.cwd })
  for (const error of errors) io.stderr.write(`${formatUserError(error)}\n\n`)
  if (errors.length > 0) {
    const wrong = new Set(errors.flatMap(({ file }) => file ?? [])).size
    io.stderr.write(
      `${plural(errors.length, 'mistake')} in ${wrong === 0 ? plural(files, 'file') : plural(wrong, 'file')}\n`,
    )
    return EXIT.badInput
  }
  const cases = new Set([...plan.stages.flatMap(stage => stage.cases), ...plan.skipped].map(({ id }) => id)).size
  printLine(io, `${plural(files, 'file')}, ${plural(cases, 'case')} valid`)
  return EXIT.passed
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`
}
