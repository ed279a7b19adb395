import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { Unsupported } from '../unsupported.ts'

/** Kernels and compiled code of all checkouts of this user: `$XDG_CACHE_HOME/castproof`. */
export function cacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'castproof')
}

/** A folder in the cache, filled under another name first, so that half of one is never found; whoever is first wins. */
export async function cached(name: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const path = join(cacheFolder(), name)
  if (existsSync(path)) return path
  const fresh = freshFolder(path)
  try {
    await fill(fresh)
    renameSync(fresh, path)
  } catch (error) {
    if (!existsSync(path)) throw noSpace(error) ?? error
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
  return path
}

function freshFolder(path: string): string {
  try {
    mkdirSync(dirname(path), { recursive: true })
    return mkdtempSync(`${path}.fresh-`)
  } catch (error) {
    throw new Unsupported({
      feature: 'the sandbox',
      needs: `a folder to keep kernels in, ${cacheFolder()}`,
      found: error instanceof Error ? error.message : String(error),
      remedy: 'set XDG_CACHE_HOME to a folder that can be written',
    })
  }
}

/** dpkg and apt-get say it in words only. */
function noSpace(error: unknown): Unsupported | undefined {
  if (!/ENOSPC|No space left|enough free space/i.test(String(error))) return undefined
  return new Unsupported({
    feature: 'the sandbox',
    needs: 'some 600 MB of space for a kernel',
    found: `no space left in ${cacheFolder()}`,
    remedy: 'free some, or set XDG_CACHE_HOME to a folder elsewhere',
  })
}
