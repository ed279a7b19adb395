import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What came of one test file or check. */
export interface FileResult {
  path: string
  passed: number
  failed: number
  /** Tests that said they cannot run here, with the capability they lack. */
  skips: Skip[]
  /** Why it failed besides its tests; empty when it did not. */
  problem: string
  output: string
  durationMs: number
}

export interface Skip {
  capability: string
  why: string
}

interface Ended {
  code: number | null
  signal: string | null
  output: string
  durationMs: number
  timedOut: boolean
  /** Names of files and folders left in its temporary folder. */
  left?: readonly string[]
}

const running = new Set<number>()
const temporaryFolders = new Set<string>()

/** Kills every file that is running, with all it started, and removes their temporary folders. */
export function killRunning(): void {
  for (const pid of running) killGroup(pid)
  for (const folder of temporaryFolders) rmSync(folder, { recursive: true, force: true })
}

/** One file in a process group and with a temporary folder of its own; what it leaves in there is a failure. */
export async function runTestFile(root: string, path: string, limitMs: number): Promise<FileResult> {
  const folder = temporaryFolder()
  try {
    const ended = await runGroup(root, [process.execPath, '--import', 'tsx', path], limitMs, { TMPDIR: folder })
    const left = readdirSync(folder).filter(name => !name.startsWith('tsx-'))
    const { output, durationMs } = ended
    return { path, ...judgeTests({ ...ended, left }, limitMs), output, durationMs }
  } finally {
    rmSync(folder, { recursive: true, force: true })
    temporaryFolders.delete(folder)
  }
}

/** What tsx has compiled serves all files. */
const TSX_CACHE = `tsx-${process.geteuid?.() ?? 0}`

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'castproof-test-'))
  temporaryFolders.add(folder)
  // As /tmp is: a test may start programs as another user.
  chmodSync(folder, 0o1777)
  const cache = join(tmpdir(), TSX_CACHE)
  mkdirSync(cache, { recursive: true })
  symlinkSync(cache, join(folder, TSX_CACHE))
  return folder
}

/** A command whose exit code alone decides: one check. */
export async function runCheck(root: string, name: string, command: string[], limitMs: number): Promise<FileResult> {
  const ended = await runGroup(root, command, limitMs)
  const problem = endProblem(ended, limitMs)
  const failed = problem === '' ? 0 : 1
  return {
    path: name,
    passed: 1 - failed,
    failed,
    skips: [],
    problem,
    output: ended.output,
    durationMs: ended.durationMs,
  }
}

const TALLY = /^@tests registered=(\d+) finished=(\d+) hookErrors=(\d+)$/m
const SKIP = /^@skip (\S+) (.*)$/gm

/** A file passes only if it says how many tests it has, that all of them finished, and exits 0. */
export function judgeTests(ended: Ended, limitMs: number): Pick<FileResult, 'passed' | 'failed' | 'skips' | 'problem'> {
  const skips = [...ended.output.matchAll(SKIP)].map(([, capability = '', why = '']) => ({ capability, why }))
  const tally = TALLY.exec(ended.output)
  const [registered = 0, finished = 0, hookErrors = 0] = tally?.slice(1).map(Number) ?? []
  const passed = Math.max(0, finished - skips.length)
  const problem =
    endProblem({ ...ended, code: finished < registered ? 0 : ended.code }, limitMs) ||
    (tally === null ? 'it did not say how many tests it has: it does not use test/suite.ts, or ended early' : '') ||
    (registered === 0 ? 'it has no test: is `.run()` missing?' : '') ||
    (hookErrors > 0 ? `${hookErrors} hooks failed` : '') ||
    (ended.left?.length ? `it left ${ended.left.join(', ')} in its temporary folder` : '')
  const failed = registered - finished + (problem === '' ? 0 : 1)
  return { passed, failed, skips, problem }
}

function endProblem(ended: Ended, limitMs: number): string {
  if (ended.timedOut) return `killed after ${limitMs / 1000} s`
  if (ended.signal !== null) return `ended by ${ended.signal}`
  return ended.code === 0 ? '' : `exit code ${ended.code}`
}

function runGroup(root: string, [file = '', ...words]: string[], limitMs: number, more = {}): Promise<Ended> {
  const startedMs = performance.now()
  const env = { ...process.env, ...more }
  const child = spawn(file, words, { cwd: root, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const pid = child.pid ?? 0
  running.add(pid)
  let output = ''
  let timedOut = false
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  const timer = setTimeout(() => {
    timedOut = true
    killGroup(pid)
  }, limitMs)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    // `close`, not `exit`: the last lines count. What a file leaves behind holds its pipes open and runs into the limit.
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      running.delete(pid)
      killGroup(pid)
      resolve({ code, signal, output, durationMs: performance.now() - startedMs, timedOut })
    })
  })
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
