import { CommanderError } from 'commander'
import { commandLine } from './command-line.ts'
import type { CommandOptions } from './commands/options.ts'
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

type Loaders = { [Name in keyof CommandOptions]: () => Promise<Command<CommandOptions[Name]>> }

/** Loaded only when asked for: `--help` and `--version` load none of them. */
const COMMANDS: Loaders = {
  run: async () => (await import('./commands/run.ts')).runCommand,
  judge: async () => (await import('./commands/judge.ts')).judgeCommand,
  check: async () => (await import('./commands/check.ts')).checkCommand,
  list: async () => (await import('./commands/list.ts')).listCommand,
  explain: async () => (await import('./commands/explain.ts')).explainCommand,
  faults: async () => (await import('./commands/faults.ts')).faultsCommand,
  send: async () => (await import('./commands/send.ts')).sendCommand,
  join: async () => (await import('./commands/join.ts')).joinCommand,
  capture: async () => (await import('./commands/capture.ts')).captureCommand,
  decrypt: async () => (await import('./commands/decrypt.ts')).decryptCommand,
  netflow: async () => (await import('./commands/netflow.ts')).netflowCommand,
  lab: async () => (await import('./commands/lab.ts')).labCommand,
  mcast: async () => (await import('./commands/mcast.ts')).mcastCommand,
  cni: async () => (await import('./commands/cni.ts')).cniCommand,
  probe: async () => (await import('./commands/probe.ts')).probeCommand,
  agent: async () => (await import('./commands/agent.ts')).agentCommand,
}

async function runNamed<Name extends keyof CommandOptions>(
  name: Name,
  options: CommandOptions[Name],
  io: Io,
): Promise<number> {
  const command = await COMMANDS[name]()
  const code = await command(options, io)
  await pendingSignals()
  // A command that heard the signal may tear down and return; the signal decides the exit code all the same.
  io.signal.throwIfAborted()
  return code
}

/** A signal that came during long work without a pause, such as judging, is told to us only now: after one whole turn. */
async function pendingSignals(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise(resolve => setImmediate(resolve))
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
