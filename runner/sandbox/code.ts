import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, utimesSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Plugin } from 'esbuild'
import { cached } from './cache.ts'

/** The checkout, or the package with its `dist`. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
const FROM_SOURCE = import.meta.url.endsWith('.ts')
const FOLDERS = ['generators', 'captures', 'bpf', 'runner', 'reports', 'test', 'bench']
/** Native, or looked for and done without. */
const EXTERNAL = ['koffi', 'cap', 'esbuild']
/** CommonJS packages inside a module ask for Node's own by `require`. */
const BANNER = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"

/** Files of another folder that stand over those of `over`. */
export interface Layer {
  over: string
  files: string
}

/**
 * Entry points of ours, each as one file of JavaScript beside its source: to read and compile hundreds of modules takes longer
 * in emulation than all else together. An installed package is compiled already, and as it is.
 */
export async function bundled(entries: readonly string[]): Promise<Layer[]> {
  if (!FROM_SOURCE || entries.length === 0) return []
  const folder = await cached(join('code', hashOf(entries)), async fresh => {
    const { build } = await import('esbuild')
    await build({
      entryPoints: entries.map(entry => join(ROOT, entry)),
      outbase: ROOT,
      outdir: fresh,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: `node${process.versions.node}`,
      external: EXTERNAL,
      banner: { js: BANNER },
      logLevel: 'silent',
      plugins: [ownPlace],
    })
  })
  utimesSync(folder, new Date(), new Date())
  return [{ over: ROOT, files: folder }]
}

/** The words that start an entry point in the guest. */
export function nodeWords(entry: string): string[] {
  return [process.execPath, join(ROOT, entry.replace(/\.ts$/, '.js'))]
}

/** What a source finds beside itself it finds there from the bundle too. */
const ownPlace: Plugin = {
  name: 'own place',
  setup(build) {
    build.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const url = JSON.stringify(pathToFileURL(path.replace(/\.ts$/, '.js')).href)
      return { contents: (await readFile(path, 'utf8')).replaceAll('import.meta.url', url), loader: 'ts' }
    })
  },
}

function hashOf(entries: readonly string[]): string {
  const hash = createHash('sha256').update(`${ROOT}\n${process.version}\n${entries.join('\n')}\n${BANNER}`)
  for (const folder of FOLDERS.filter(name => existsSync(join(ROOT, name)))) {
    const names = readdirSync(join(ROOT, folder), { recursive: true }).map(String)
    for (const name of names.filter(one => one.endsWith('.ts')).sort())
      hash.update(`\n${folder}/${name}\n`).update(readFileSync(join(ROOT, folder, name)))
  }
  return hash.digest('hex').slice(0, 16)
}
