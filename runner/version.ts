import { readFileSync } from 'node:fs'

/** The version in package.json: one level up in a checkout, two in dist/. */
export function castproofVersion(): string {
  for (const path of ['../package.json', '../../package.json']) {
    const text = readIfThere(new URL(path, import.meta.url))
    if (text !== undefined) return (JSON.parse(text) as { version: string }).version
  }
  throw new Error('package.json not found beside runner/')
}

function readIfThere(url: URL): string | undefined {
  try {
    return readFileSync(url, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
