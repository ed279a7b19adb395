import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { UserError } from '../suite/errors.ts'

/** Sockets and registry entries of labs. An entry is written before the first namespace is made. */
const DIRECTORY = '/run/castproof'

/** A lab as others find it: who holds it, and the names that are ours to remove if that process is gone. */
export interface LabEntry {
  id: string
  pid: number
  /** Start time of the process in clock ticks since boot: a pid alone may have been given to somebody else. */
  pidStartTicks: string
  target: string
  faults: string[]
  /** Names below /run/netns. */
  namespaces: string[]
}

export function socketPath(id: string): string {
  return join(DIRECTORY, `${id}.sock`)
}

function entryPath(id: string): string {
  return join(DIRECTORY, `${id}.json`)
}

export function register(entry: LabEntry): void {
  mkdirSync(DIRECTORY, { recursive: true, mode: 0o700 })
  writeFileSync(entryPath(entry.id), JSON.stringify(entry), { mode: 0o600 })
}

export function unregister(id: string): void {
  rmSync(entryPath(id), { force: true })
  rmSync(socketPath(id), { force: true })
}

export function listLabs(): LabEntry[] {
  return entryFiles().flatMap(file => {
    const entry = readEntry(join(DIRECTORY, file))
    return entry ? [entry] : []
  })
}

function entryFiles(): string[] {
  try {
    return readdirSync(DIRECTORY)
      .filter(file => file.endsWith('.json'))
      .sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

function readEntry(path: string): LabEntry | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as LabEntry
  } catch (error) {
    // Gone between listing and reading, or cut short by a kill in mid-write: nothing was made yet then.
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Start time of a process, or undefined when there is none; one that has ended and waits for its parent is none. */
export function processStartTicks(pid: number): string | undefined {
  try {
    // The command name, field 2, may hold spaces and brackets: count from its end.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ') ?? []
    return ['Z', 'X'].includes(fields[0] ?? '') ? undefined : fields[19]
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}

export function isAlive(entry: LabEntry): boolean {
  return processStartTicks(entry.pid) === entry.pidStartTicks
}

/** Removes what labs whose process is gone left behind: their own names and nothing else. Returns their ids. */
export async function removeLeftovers(): Promise<string[]> {
  const dead = listLabs().filter(entry => !isAlive(entry))
  for (const entry of dead) {
    await removeNamespaces(new Set(entry.namespaces))
    unregister(entry.id)
  }
  return dead.map(entry => entry.id)
}

async function removeNamespaces(names: ReadonlySet<string>): Promise<void> {
  const { stdout } = await execa('ip', ['netns', 'list'])
  const existing = stdout.split('\n').map(line => line.split(' ')[0] ?? '')
  for (const name of existing) if (names.has(name)) await execa('ip', ['netns', 'del', name])
}

/** The lab that `--lab` names, or the only one that is up. */
export function findLab(id?: string): LabEntry {
  const labs = listLabs().filter(isAlive)
  const found = id === undefined ? labs : labs.filter(lab => lab.id === id)
  if (found.length === 1 && found[0]) return found[0]
  if (labs.length === 0) throw new UserError('no-lab', 'no lab is up', { hint: 'castproof lab up' })
  const ids = labs.map(lab => lab.id).join(', ')
  if (id !== undefined) throw new UserError('no-lab', `no lab is called ${id}; up: ${ids}`)
  throw new UserError('which-lab', `${labs.length} labs are up: ${ids}`, { hint: `--lab ${labs[0]?.id}` })
}
