import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Unsupported } from '../../unsupported.ts'

/** Where setup.mjs unpacks Debian packages of routing daemons: their own installation would start services. */
const UNPACKED = fileURLToPath(new URL('../../../.cache/debian', import.meta.url))

/** A file of a Debian package, unpacked by setup.mjs or else installed; undefined when it is nowhere. */
export function findPackaged(debianPackage: string, path: string): string | undefined {
  return [`${UNPACKED}/${debianPackage}${path}`, path].find(candidate => existsSync(candidate))
}

export function packaged(debianPackage: string, path: string): string {
  const found = findPackaged(debianPackage, path)
  if (found !== undefined) return found
  throw new Unsupported({
    feature: `${path} of Debian's ${debianPackage}`,
    needs: 'the package unpacked',
    found: 'it nowhere',
    remedy: REMEDY,
  })
}

export const REMEDY = 'npm run setup in the checkout (it unpacks the daemons and installs none)'

/** For LD_LIBRARY_PATH: FRR's own libraries lie beside it. */
export function libraryPath(): string {
  return (
    findPackaged('frr', '/usr/lib/x86_64-linux-gnu/frr') ?? findPackaged('frr', '/usr/lib/aarch64-linux-gnu/frr') ?? ''
  )
}
