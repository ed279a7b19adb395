import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { writeWhole } from '../../reports/write.ts'
import { UserError } from '../suite/errors.ts'

/** The node's folders for CNI, as the agent sees them. */
export interface InstallPlaces {
  binDir: string
  confDir: string
  /** `binDir` as the container runtime sees it. */
  runtimeBinDir: string
}

const LAUNCHER = 'castproof'
const NODE = 'castproof-node'
const PLUGIN = 'castproof-plugin.mjs'
/** Early among its neighbours: a runtime takes the first by name. */
const CONFLIST = '05-castproof.conflist'

/**
 * Puts the plugin on the node, with this process's own Node beside it, since a node of a cluster has none. The
 * configuration comes last: it is what makes the node ready.
 */
export function install({ binDir, confDir, runtimeBinDir }: InstallPlaces): void {
  const plugin = compiledPlugin()
  for (const directory of [binDir, confDir]) mkdirSync(directory, { recursive: true })
  // By way of another name: the file that is there may be running.
  const draft = join(binDir, `${NODE}.new`)
  copyFileSync(process.execPath, draft)
  chmodSync(draft, 0o755)
  renameSync(draft, join(binDir, NODE))
  writeWhole(join(binDir, PLUGIN), plugin)
  writeWhole(join(binDir, LAUNCHER), `#!${runtimeBinDir}/${NODE}\nimport('${runtimeBinDir}/${PLUGIN}')\n`)
  chmodSync(join(binDir, LAUNCHER), 0o755)
  const conflist = { cniVersion: '1.0.0', name: 'castproof', plugins: [{ type: LAUNCHER }] }
  writeWhole(join(confDir, CONFLIST), `${JSON.stringify(conflist, null, 2)}\n`)
}

export function uninstall({ binDir, confDir }: InstallPlaces): void {
  rmSync(join(confDir, CONFLIST), { force: true })
  for (const name of [LAUNCHER, PLUGIN, NODE]) rmSync(join(binDir, name), { force: true })
}

/** The plugin is run by a Node without our packages, so it must be the compiled file. */
function compiledPlugin(): string {
  const path = fileURLToPath(new URL('./plugin.js', import.meta.url))
  if (existsSync(path)) return readFileSync(path, 'utf8')
  throw new UserError('not-compiled', `${path} is not there`, { hint: 'npm run build, then dist/runner/main.js' })
}
