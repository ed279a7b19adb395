import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { cached } from './cache.ts'

/** The checkout, or the package with its `dist`. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
const FROM_SOURCE = import.meta.url.endsWith('.ts')
const FOLDERS = ['generators', 'captures', 'bpf', 'runner', 'reports', 'test', 'bench']

/**
 * What is put over the checkout in the guest: each source compiled beside itself, because to compile when it is loaded
 * takes longer in emulation than all else together. An installed package is compiled already.
 */
export async function compiledLayer(): Promise<(readonly [string, string])[]> {
  if (!FROM_SOURCE) return []
  const folder = await cached(join('code', sourceHash()), async fresh => {
    const tsc = join(ROOT, 'node_modules', '.bin', 'tsc')
    await execa(tsc, ['-p', ROOT, '--noEmit', 'false', '--noCheck', '--rootDir', ROOT, '--outDir', fresh])
  })
  utimesSync(folder, new Date(), new Date())
  return [[ROOT, folder]]
}

/** The words that start a file of ours in the guest, given its path in the checkout. */
export function nodeWords(path: string): string[] {
  return [process.execPath, join(ROOT, path.replace(/\.ts$/, '.js'))]
}

function sourceHash(): string {
  const hash = createHash('sha256').update(readFileSync(join(ROOT, 'tsconfig.json')))
  for (const folder of FOLDERS.filter(name => existsSync(join(ROOT, name)))) {
    const names = readdirSync(join(ROOT, folder), { recursive: true }).map(String)
    for (const name of names.filter(one => one.endsWith('.ts')).sort())
      hash.update(`\n${folder}/${name}\n`).update(readFileSync(join(ROOT, folder, name)))
  }
  return hash.digest('hex').slice(0, 16)
}
