import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { UserError } from './errors.ts'
import { MAX_FILE_BYTES, type Parsed, parseSource } from './source.ts'

/** The suites that come with castproof: one level up in a checkout, two in dist/. */
export function bundledSuites(): string {
  for (const up of ['../../suites', '../../../suites']) {
    const path = fileURLToPath(new URL(up, import.meta.url))
    if (existsSync(join(path, 'requirements'))) return path
  }
  throw new Error('the folder suites/ is not beside the program')
}

/** Folders of `suites/` that hold no suites. */
const NOT_SUITES = new Set(['requirements', 'profiles', 'waivers', 'node_modules', 'testdata'])

/** YAML files below the paths, each once, in an order that does not depend on the file system. */
export function suiteFiles(paths: readonly string[]): { files: string[]; errors: UserError[] } {
  const files = new Set<string>()
  const errors: UserError[] = []
  for (const path of paths) {
    const stat = statSync(path, { throwIfNoEntry: false })
    if (!stat) errors.push(new UserError('no-such-file', `there is no file or folder ${path}`))
    else if (!stat.isDirectory()) files.add(path)
    else {
      const found = yamlBelow(path)
      if (found.length === 0) errors.push(new UserError('no-suites', `no .yaml file below ${path}`))
      for (const file of found) files.add(file)
    }
  }
  return { files: [...files].sort(), errors }
}

/** Every `.yaml` and `.yml` file of a folder and its folders. */
export function yamlBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return NOT_SUITES.has(entry.name) || entry.name.startsWith('.') ? [] : yamlBelow(path)
    return /\.ya?ml$/.test(entry.name) ? [path] : []
  })
}

/** Reads at most what a suite may have, so that a file of gigabytes costs nothing. */
export function readSource(file: string, shown = file): Parsed {
  const stat = statSync(file)
  if (!stat.isFile()) return { errors: [new UserError('not-a-file', `${shown} is not a regular file`)] }
  if (stat.size > MAX_FILE_BYTES)
    return parseSource(shown, new Uint8Array(stat.size > 2 ** 31 ? MAX_FILE_BYTES + 1 : stat.size))
  return parseSource(shown, readFileSync(file))
}

/** The id a suite must have, or what it must end with when it is not below a folder named `suites`. */
export function idOfFile(file: string): { id: string; whole: boolean } {
  const path = file.replaceAll('\\', '/').replace(/\.ya?ml$/, '')
  const below = /(?:^|\/)suites\/(.+)$/.exec(path)?.[1]
  return below === undefined ? { id: basename(path), whole: false } : { id: below, whole: true }
}
