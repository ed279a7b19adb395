/** One thing that a machine can or cannot do, found out by doing it. */
export interface Capability {
  /** Stable; a suite's `needs` and a test's skip name it. */
  name: string
  ok: boolean
  /** What the trial gave: a version, or why it failed. */
  found: string
  /** What a person can do about it; empty when it is there. */
  remedy: string
  /** Parts that cannot work without: a target's name, `tests`, `vm`, … */
  neededFor: readonly string[]
  /** It is the kernel's to have: another may, so that a virtual machine helps. */
  ofKernel?: true
}

/** How a capability is found out: `run` returns what it found, or throws why not. */
export interface Trial {
  name: string
  neededFor: readonly string[]
  remedy: string
  ofKernel?: true
  run(): string | Promise<string>
}

export async function tryOut(trial: Trial): Promise<Capability> {
  const { name, neededFor, remedy } = trial
  const about = { name, neededFor, ...(trial.ofKernel && { ofKernel: trial.ofKernel }) }
  try {
    return { ...about, ok: true, found: await trial.run(), remedy: '' }
  } catch (error) {
    return { ...about, ok: false, found: reasonOf(error), remedy }
  }
}

/** The line that says why: a child's own words before execa's frame around them. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code, stderr } = error as NodeJS.ErrnoException & { stderr?: unknown }
  if (code === 'ENOENT') return 'not installed'
  const words = typeof stderr === 'string' && stderr.trim() !== '' ? stderr : error.message
  const lines = words.trim().split('\n')
  return lines.find(line => /error|not permitted|refus|unknown|no such/i.test(line))?.trim() ?? lines[0] ?? error.name
}
