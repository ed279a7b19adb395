import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { RunOptions } from '../commands/options.ts'
import type { Io } from '../io.ts'
import { newLabId } from './supervisor.ts'

/** What the process of `run --keep` is told, in its one argument. */
export interface KeptRunWanted {
  id: string
  options: RunOptions
  cwd: string
  /** Of the terminal, if it is one, that its output goes to. */
  screen: { isTTY?: boolean; columns?: number; rows?: number }
}

/** What it tells, in order. When `exitCode` was answered it goes on alone, as the lab's supervisor, or ends. */
export type KeptRunMessage = { stdout: string } | { stderr: string } | { exitCode: number }

/**
 * `run --keep` runs in a process that outlives this one: file descriptors of the site cannot change hands. Its output
 * comes by messages, so that it holds neither terminal nor pipe open afterwards.
 */
export async function runKept(options: RunOptions, io: Io): Promise<number> {
  const { isTTY, columns, rows } = io.stdout
  const screen = { ...(isTTY && { isTTY }), ...(columns && { columns }), ...(rows && { rows }) }
  const wanted: KeptRunWanted = { id: newLabId(), options, cwd: io.cwd, screen }
  // Not by execa: its messages end with the process, and this one goes on.
  const child = spawn(process.execPath, [...process.execArgv, mainFile(), JSON.stringify(wanted)], {
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  const passOn = (): boolean => child.kill(io.signal.reason?.exitCode === 143 ? 'SIGTERM' : 'SIGINT')
  io.signal.addEventListener('abort', passOn, { once: true })
  if (io.signal.aborted) passOn()
  try {
    const exitCode = await exitCodeOf(child, io)
    if (!io.signal.aborted || exitCode === io.signal.reason?.exitCode) return exitCode
    // It came when all had been told: the lab that was announced goes, and so must the exit code say.
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    throw io.signal.reason
  } finally {
    io.signal.removeEventListener('abort', passOn)
    child.unref()
  }
}

/** Passes output on until the run has been told. */
function exitCodeOf(child: ChildProcess, io: Io): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => reject(new Error(`the run's process ended: ${signal ?? `exit code ${code}`}`)))
    child.on('message', message => {
      const told = message as KeptRunMessage
      if ('stdout' in told) io.stdout.write(told.stdout)
      else if ('stderr' in told) io.stderr.write(told.stderr)
      else child.send('heard', () => resolve(told.exitCode))
    })
  })
}

function mainFile(): string {
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
  return fileURLToPath(new URL(`./kept-run-main${extension}`, import.meta.url))
}
