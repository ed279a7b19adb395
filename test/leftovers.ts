import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { execa } from 'execa'

/** In the environment of a process and all that it starts: how ours are told from those of others on this machine. */
const MARK = 'CASTPROOF_TEST_MARK'

/** What processes hold in the kernel that must go with them. */
export interface Held {
  programs: Set<string>
  namespaces: Set<string>
}

/** Finds the processes that were started with `env`, and what they held, however they ended. */
export class Traces {
  readonly env = { [MARK]: randomUUID() }
  readonly held: Held = { programs: new Set(), namespaces: new Set() }

  /** Process ids with the mark. */
  processes(): string[] {
    return processIds().filter(pid => readOr(`/proc/${pid}/environ`).includes(this.env[MARK] ?? ''))
  }

  /** Remembers BPF programs and network namespaces that the marked processes hold now. */
  look(): void {
    for (const pid of this.processes()) {
      for (const fd of listOr(`/proc/${pid}/fdinfo`)) {
        const program = /^prog_id:\s*(\d+)/m.exec(readOr(`/proc/${pid}/fdinfo/${fd}`))?.[1]
        if (program) this.held.programs.add(program)
        const link = linkOr(`/proc/${pid}/fd/${fd}`)
        if (link.startsWith('net:[') && link !== readlinkSync('/proc/self/ns/net')) this.held.namespaces.add(link)
      }
    }
  }

  /** What of it is still there. */
  async remaining(): Promise<string[]> {
    const programs = await livePrograms()
    const namespaces = liveNamespaces()
    return [
      ...this.processes().map(pid => `process ${pid}: ${readOr(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`),
      ...[...this.held.programs].filter(id => programs.has(id)).map(id => `BPF program ${id}`),
      ...[...this.held.namespaces].filter(link => namespaces.has(link)),
    ]
  }

  /** The kernel frees a namespace and its programs some time after the last process: waits for that, at most `limitMs`. */
  async remainingAfter(limitMs: number): Promise<string[]> {
    const endMs = performance.now() + limitMs
    for (;;) {
      const found = await this.remaining()
      if (found.length === 0 || performance.now() > endMs) return found
      await delay(50)
    }
  }
}

export async function livePrograms(): Promise<Set<string>> {
  const { stdout } = await execa('bpftool', ['-j', 'prog', 'show'])
  return new Set((JSON.parse(stdout) as { id: number }[]).map(({ id }) => String(id)))
}

/** Network namespaces that a name, a process or a descriptor keeps. */
function liveNamespaces(): Set<string> {
  const links = processIds().flatMap(pid => [
    linkOr(`/proc/${pid}/ns/net`),
    ...listOr(`/proc/${pid}/fd`).map(fd => linkOr(`/proc/${pid}/fd/${fd}`)),
  ])
  const named = readFileSync('/proc/self/mountinfo', 'utf8').match(/net:\[\d+\]/g) ?? []
  return new Set([...links, ...named])
}

function processIds(): string[] {
  return readdirSync('/proc').filter(name => /^\d+$/.test(name))
}

/** A process may end while it is looked at: then there is nothing to see. */
function readOr(path: string): string {
  return orNothing(() => readFileSync(path, 'latin1')) ?? ''
}

function listOr(path: string): string[] {
  return orNothing(() => readdirSync(path)) ?? []
}

function linkOr(path: string): string {
  return orNothing(() => readlinkSync(path)) ?? ''
}

const GONE = ['ENOENT', 'ESRCH', 'EACCES', 'EINVAL']

function orNothing<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch (error) {
    if (GONE.includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}
