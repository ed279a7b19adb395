import { inspect } from 'node:util'
import type { SyscallError } from '../generators/linux/libc.ts'
import type { Status } from '../reports/result.ts'
import { EndedEarly, Interrupted } from './io.ts'
import { GuestError } from './sandbox/guest-error.ts'
import { formatUserError, UserError } from './suite/errors.ts'
import { Unsupported } from './unsupported.ts'

/** Exit codes of ARCHITECTURE section 9; 130 and 143 come with Interrupted. */
export const EXIT = { passed: 0, failed: 1, badInput: 2, cannot: 3, notJudged: 4, bug: 70 } as const

/** Strongest first. 2 stands where it does because bad input ends things before a verdict can arise. */
const STRENGTH: readonly number[] = [130, 143, EXIT.bug, EXIT.badInput, EXIT.failed, EXIT.notJudged, EXIT.cannot]

export function strongestExit(...codes: readonly number[]): number {
  return STRENGTH.find(code => codes.includes(code)) ?? EXIT.passed
}

/** Exit code of a run by its verdicts; nothing but skips, or nothing at all, is 3. */
export function exitOfTotals(totals: Readonly<Record<Status, number>>): number {
  if (totals.fail > 0) return EXIT.failed
  if (totals.inconclusive > 0) return EXIT.notJudged
  return totals.pass + totals.waived > 0 ? EXIT.passed : EXIT.cannot
}

/** What a user reads about an error, without a stack unless it is our bug, and the exit code that goes with it. */
export interface Explained {
  text: string
  exitCode: number
}

/** The one table from error to message and exit code (STYLE 2.6). Of several errors the strongest decides the code. */
export function explainError(error: unknown): Explained {
  const all = severalIn(error).map(explainOne)
  const exitCode = strongestExit(...all.map(one => one.exitCode))
  return { text: [...new Set(all.map(one => one.text))].join('\n'), exitCode }
}

/** What a network that is taken apart under a program answers; like a limit of the SUT, a suite may bring it about. */
const CIRCUMSTANCES = new Set(['ENETDOWN', 'ENETUNREACH', 'EHOSTUNREACH', 'ENODEV', 'ENXIO', 'ENOBUFS', 'EMSGSIZE'])

/** Errors that say what the SUT, or whoever keeps it, answered or no longer answers. */
const ANSWERS = new Set(['GroupLimitError', 'AgentLost', 'CommandFailed', 'GroupsIgnored'])

/** Whether an error that ended one case says that castproof is broken, and not the machine, the suite or the network. */
export function isBug(error: unknown): boolean {
  return severalIn(error).some(one => {
    const { code = '', name = '' } = (one ?? {}) as { code?: string; name?: string }
    const refused = ANSWERS.has(name) || CIRCUMSTANCES.has(code)
    return !refused && explainOne(one).exitCode === EXIT.bug
  })
}

/** The errors inside an AggregateError, or inside the SuppressedError of a teardown that failed as well. */
function severalIn(error: unknown): unknown[] {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.flatMap(severalIn)
  if (error instanceof Error && error.name === 'SuppressedError') {
    const { error: teardown, suppressed } = error as Error & { error: unknown; suppressed: unknown }
    return [suppressed, teardown].flatMap(severalIn)
  }
  return [error]
}

function explainOne(error: unknown): Explained {
  return (
    known(error) ?? {
      text: `castproof: this is a bug in castproof; please report it with these lines\n${inspect(error)}`,
      exitCode: EXIT.bug,
    }
  )
}

function known(error: unknown): Explained | undefined {
  if (!(error instanceof Error)) return undefined
  if (error instanceof Interrupted) return { text: `castproof: ${error.message}`, exitCode: error.exitCode }
  if (error instanceof GuestError) return { text: error.message, exitCode: error.exitCode }
  if (error instanceof EndedEarly) return { text: `castproof: ${error.message}`, exitCode: EXIT.passed }
  if (error instanceof UserError) return { text: userText(error), exitCode: EXIT.badInput }
  // By name as well: generators may not import runner, and have their own.
  if (error instanceof Unsupported || error.name === 'Unsupported')
    return { text: unsupportedText(error as Unsupported), exitCode: EXIT.cannot }
  return machineError(error) ?? known(error.cause)
}

/** With a place: as a compiler would say it; without (an argument): as every other tool does. */
function userText(error: UserError): string {
  if (error.position !== undefined) return formatUserError(error)
  return `castproof: ${error.message}${error.hint === undefined ? '' : `\n  ${error.hint}`}`
}

function unsupportedText(error: Unsupported): string {
  const remedy = error.remedy ? `\n  remedy: ${error.remedy}` : ''
  return `castproof: ${error.message}${remedy}`
}

const LIBRARY_MISSING = /^Failed to load shared library|\.so\.\d+ cannot be loaded/

const MACHINE_CODES: Readonly<Record<string, string>> = {
  EPERM: 'needs root (CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_BPF): run it as root; castproof probe says more',
  EACCES: 'permission denied: run it as root; castproof probe says more',
  EROFS: 'the file system is read-only: choose another --out',
  ENOSPC: 'no space left: free some, or choose another --out',
  EMFILE: 'too many open files: raise ulimit -n',
  ENFILE: 'too many open files on this machine',
  ENOMEM: 'not enough memory',
}

/** System calls and programs that this machine refuses. By name, not instanceof: libc.ts would load koffi for --help. */
function machineError(error: Error & Partial<SyscallError> & NodeJS.ErrnoException): Explained | undefined {
  // EACCES from the verifier is its verdict on our program, not a matter of privilege.
  if ((error as { log?: string }).log) return undefined
  const remedy = error.code === undefined ? undefined : MACHINE_CODES[error.code]
  if (remedy !== undefined) return { text: `castproof: ${error.message}\n  ${remedy}`, exitCode: EXIT.cannot }
  if (error.code === 'ENOENT' && error.syscall?.startsWith('spawn')) return programMissing(error.syscall.slice(6))
  if (LIBRARY_MISSING.test(error.message)) return libraryMissing(error)
  return undefined
}

function programMissing(program: string): Explained {
  const text = `castproof: the program ${program} is not installed\n  remedy: npm run setup in the checkout, or install it by hand`
  return { text, exitCode: EXIT.cannot }
}

function libraryMissing(error: Error): Explained {
  const text = `castproof: ${error.message}\n  remedy: npm run setup in the checkout, or install libbpf1`
  return { text, exitCode: EXIT.cannot }
}
