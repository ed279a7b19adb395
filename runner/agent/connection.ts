import { createInterface } from 'node:readline'
import { execa } from 'execa'
import { Unsupported } from '../unsupported.ts'
import { castproofVersion } from '../version.ts'
import {
  AGENT_PROTOCOL,
  type AgentAnswer,
  type AgentHello,
  type AgentNews,
  type AgentRequests,
  type AgentTrouble,
  LEASE_MS,
} from './protocol.ts'

export interface ConnectionWanted {
  /** Who is there, for messages: `pod tx`. */
  label: string
  /** What runs the agent there: `['ssh', 'n1', 'castproof', 'agent']`. */
  command: readonly string[]
  helloWithinMs?: number
  /** Environment of the command, beside this process's own. */
  env?: Record<string, string>
}

/** An agent that went away: what it was asked is not answered any more. A circumstance of the run, no bug. */
export class AgentLost extends Error {
  constructor(label: string, why: string) {
    super(`the agent of ${label} is gone: ${why}`)
    this.name = 'AgentLost'
  }
}

const HELLO_WITHIN_MS = 45_000
/** Three may go missing before the agent gives us up. */
const RENEW_MS = LEASE_MS / 4
const END_WITHIN_MS = 3000
const LAST_WORDS = 2000

interface Pending {
  resolve: (answer: never) => void
  reject: (error: Error) => void
}

/** One agent behind a command prefix: requests go out as lines, answers and news come back as lines. */
export class AgentConnection {
  readonly label: string
  readonly hello: AgentHello
  private readonly child: AgentChild
  private readonly pending = new Map<number, Pending>()
  private readonly listeners = new Set<(news: AgentNews) => void>()
  private lastId = 0
  private readonly renewal: NodeJS.Timeout
  private lost: AgentLost | undefined
  private closing = false

  private constructor(label: string, child: AgentChild, hello: AgentHello) {
    this.label = label
    this.hello = hello
    this.child = child
    child.onLine = line => this.hear(line)
    void child.ended.then(why => this.lose(why))
    this.renewal = setInterval(() => this.renew(), RENEW_MS)
  }

  /** Resolves when the agent has said hello; Unsupported, with what the command said, when it does not. */
  static async open(wanted: ConnectionWanted, stop: AbortSignal): Promise<AgentConnection> {
    const child = new AgentChild(wanted)
    try {
      const hello = await child.hello(wanted.helloWithinMs ?? HELLO_WITHIN_MS, stop)
      refuseOther(wanted.label, hello)
      return new AgentConnection(wanted.label, child, hello)
    } catch (error) {
      await child.end()
      throw error
    }
  }

  get isLost(): boolean {
    return this.lost !== undefined
  }

  ask<Name extends keyof AgentRequests>(
    op: Name,
    asks: AgentRequests[Name]['asks'],
  ): Asked<AgentRequests[Name]['answer']> {
    const id = ++this.lastId
    const answer = new Promise<AgentRequests[Name]['answer']>((resolve, reject) => {
      if (this.lost) {
        reject(this.lost)
        return
      }
      this.pending.set(id, { resolve: resolve as (answer: never) => void, reject })
      this.child.write({ id, op, ...asks })
    })
    return { id, answer }
  }

  /** Interfaces may have come since the hello. */
  async lookAgain(): Promise<void> {
    this.hello.interfaces = await this.ask('interfaces', {}).answer
  }

  onNews(listener: (news: AgentNews) => void): void {
    this.listeners.add(listener)
  }

  private hear(line: string): void {
    const said = parsed(line)
    if (said === undefined) return
    if ('news' in said) {
      for (const listener of this.listeners) listener(said)
      return
    }
    const pending = this.pending.get(said.id)
    this.pending.delete(said.id)
    if (said.ok) pending?.resolve(said.answer as never)
    else pending?.reject(errorOf(this.label, said.error))
  }

  /** Keeps the lease; what is not answered within it is not there any more. */
  private renew(): void {
    const late = setTimeout(() => this.lose(`it did not answer for ${LEASE_MS / 1000} s`), LEASE_MS)
    this.ask('clock', {}).answer.then(
      () => clearTimeout(late),
      () => clearTimeout(late),
    )
  }

  private lose(why: string): void {
    clearInterval(this.renewal)
    if (this.closing || this.lost) return
    this.lost = new AgentLost(this.label, why)
    for (const { reject } of this.pending.values()) reject(this.lost)
    this.pending.clear()
    void this.child.end()
  }

  /** The agent ends with its input. */
  async close(): Promise<void> {
    this.closing = true
    clearInterval(this.renewal)
    const gone = new AgentLost(this.label, 'closed')
    this.lost ??= gone
    for (const { reject } of this.pending.values()) reject(gone)
    this.pending.clear()
    await this.child.end()
  }
}

export interface Asked<Answer> {
  id: number
  answer: Promise<Answer>
}

function parsed(line: string): AgentAnswer | AgentNews | undefined {
  try {
    return JSON.parse(line) as AgentAnswer | AgentNews
  } catch {
    // A login message of the way there.
    return undefined
  }
}

function errorOf(label: string, { name, message, code, stack }: AgentTrouble): Error {
  const error = Object.assign(new Error(`${label}: ${message}`), code === undefined ? {} : { code })
  error.name = name
  if (stack !== undefined) error.stack = `${label}: ${stack}`
  return error
}

function refuseOther(label: string, hello: AgentHello): void {
  const own = castproofVersion()
  if (hello.hello === AGENT_PROTOCOL && hello.version === own) return
  throw new Unsupported({
    feature: `the agent of ${label}`,
    needs: `castproof ${own} (${AGENT_PROTOCOL})`,
    found: `castproof ${hello.version} (${hello.hello})`,
    remedy: 'the same castproof on both sides; for Kubernetes, an --image of this version',
  })
}

function start({ command, env = {} }: ConnectionWanted) {
  const [file = '', ...args] = command
  return execa(file, args, { buffer: false, reject: false, stdin: 'pipe', forceKillAfterDelay: 500, env })
}

/** The process of the command prefix, its lines and its end. */
class AgentChild {
  readonly ended: Promise<string>
  onLine: (line: string) => void = () => {}
  private readonly wanted: ConnectionWanted
  private readonly process: ReturnType<typeof start>
  private lastWords = ''

  constructor(wanted: ConnectionWanted) {
    this.wanted = wanted
    this.process = start(wanted)
    this.process.stdin.on('error', () => {})
    this.process.stderr.on('data', chunk => {
      this.lastWords = `${this.lastWords}${chunk}`.slice(-LAST_WORDS)
    })
    createInterface({ input: this.process.stdout }).on('line', line => this.onLine(line))
    this.ended = this.process.then(result => this.said() || result.shortMessage || `it ended with ${result.exitCode}`)
  }

  write(line: object): void {
    this.process.stdin.write(`${JSON.stringify(line)}\n`)
  }

  /** The first line that is one: what a login shell says before it is passed over. */
  async hello(limitMs: number, stop: AbortSignal): Promise<AgentHello> {
    const { label, command } = this.wanted
    const said = new Promise<AgentHello>(resolve => {
      this.onLine = line => {
        if (line.startsWith('{"hello":')) resolve(JSON.parse(line) as AgentHello)
      }
    })
    const failed = (found: string) =>
      new Unsupported({
        feature: `the agent of ${label}`,
        needs: `an answer of: ${command.join(' ')}`,
        found,
        remedy: 'run that command by hand: it should print one line that begins with {"hello"',
      })
    const ended = this.ended.then(why => Promise.reject(failed(why)))
    return raceWithin(Promise.race([said, ended]), limitMs, stop, () =>
      failed(this.said() || `nothing within ${limitMs / 1000} s`),
    )
  }

  private said(): string {
    return this.lastWords.trim().split('\n').slice(-3).join('; ')
  }

  /** Its input ends, and so should it; what does not is killed. */
  async end(): Promise<void> {
    this.process.stdin.end()
    const timer = setTimeout(() => this.process.kill('SIGTERM'), END_WITHIN_MS)
    await this.ended
    clearTimeout(timer)
  }
}

async function raceWithin<T>(work: Promise<T>, limitMs: number, stop: AbortSignal, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  let onAbort: (() => void) | undefined
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), limitMs)
    onAbort = () => reject(stop.reason)
    stop.addEventListener('abort', onAbort, { once: true })
    if (stop.aborted) reject(stop.reason)
  })
  try {
    return await Promise.race([work, limit])
  } finally {
    clearTimeout(timer)
    if (onAbort) stop.removeEventListener('abort', onAbort)
  }
}
