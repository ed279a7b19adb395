import { existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { UserError } from './suite/errors.ts'

const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'nothing can be made there',
  ENOTDIR: 'a file is in the way',
  EEXIST: 'a file is in the way',
}

/** Makes a folder that the user named. One level at a time: Node's recursive mkdir never returns below /proc. */
export function makeFolder(path: string): void {
  if (existsSync(path) && !statSync(path).isDirectory()) throw inTheWay(path, 'a file is in the way')
  const missing: string[] = []
  for (let at = path; !existsSync(at); at = dirname(at)) missing.unshift(at)
  try {
    for (const folder of missing) mkdirSync(folder)
  } catch (error) {
    const why = WHY[(error as NodeJS.ErrnoException).code ?? '']
    if (why === undefined) throw error
    throw inTheWay(path, why)
  }
}

function inTheWay(path: string, why: string): UserError {
  return new UserError('cannot-write', `cannot make the folder ${path}: ${why}`)
}
