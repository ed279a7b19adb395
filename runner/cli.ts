import { CommanderError } from 'commander'
import { commandLine } from './command-line.ts'
import type { Command, Io } from './io.ts'

const BAD_ARGUMENTS = 2

/** Runs one command line to its exit code (ARCHITECTURE section 9). Never throws, never exits the process. */
export async function cli(argv: readonly string[], io: Io): Promise<number> {
  let exitCode = 0
  try {
    const program = commandLine(io, async (name, options) => {
      exitCode = await runNamed(name, options, io)
    })
    await program.parseAsync(argv, { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : BAD_ARGUMENTS
    return await report(error, io)
  }
}

/** Loads `commands/<name>.ts` only now: `--help` and `--version` load none of them. */
async function runNamed(name: string, options: object, io: Io): Promise<number> {
  const module = (await import(`./commands/${name}.ts`)) as Record<string, Command<object>>
  const command = module[`${name}Command`]
  if (command === undefined) throw new Error(`runner/commands/${name}.ts does not export ${name}Command`)
  const code = await command(options, io)
  // A command that heard the signal may tear down and return; the signal decides the exit code all the same.
  io.signal.throwIfAborted()
  return code
}

async function report(error: unknown, io: Io): Promise<number> {
  const { explainError } = await import('./exit.ts')
  const { text, exitCode } = explainError(io.signal.aborted ? withSignal(error, io) : error)
  io.stderr.write(`${text}\n`)
  return exitCode
}

/** After a signal, an await that was aborted may throw anything; the signal comes first, other errors after it. */
function withSignal(error: unknown, io: Io): unknown {
  const signal: unknown = io.signal.reason
  const isAbort = error === signal || (error instanceof Error && error.name === 'AbortError')
  return isAbort ? signal : new AggregateError([signal, error])
}
