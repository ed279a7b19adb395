import { readSync, writeSync } from 'node:fs'
import { constants, setPriority } from 'node:os'
import { waitReadable } from '../generators/linux/poll.ts'
import type { DatapathHandle } from './datapath.ts'
import { NodeAgent, type Surroundings } from './node-agent.ts'

/** What the owner asks, one JSON object a line on standard input; every request is answered once, in order, on standard output. */
export type Request = { id: number; do: 'settle' | 'close' } | { id: number; do: 'restart'; node: string }

export interface Answer {
  id: number
  error?: string
}

const STDIN = 0
const STDOUT = 1
const WAIT_MS = 1000

/** The agents of all nodes in one process that blocks in poll(2) and never returns to an event loop. */
class Agents {
  readonly #agents = new Map<string, NodeAgent>()
  readonly #timers: { dueMs: number; run: () => void }[] = []
  readonly #surroundings: Surroundings = {
    others: agent => [...this.#agents.values()].filter(other => other !== agent),
    after: (delayMs, run) => this.#after(delayMs, run),
  }
  readonly #input = Buffer.alloc(65_536)
  #pending = ''
  #running = true

  constructor(handles: readonly DatapathHandle[]) {
    for (const handle of handles) this.#agents.set(handle.name, new NodeAgent(handle, this.#surroundings))
    for (const agent of this.#agents.values()) agent.start()
  }

  run(): void {
    while (this.#running) {
      const fds = [STDIN, ...[...this.#agents.values()].flatMap(agent => agent.fds)]
      const ready = waitReadable(fds, this.#untilNextTimerMs())
      for (const agent of this.#agents.values()) agent.drain()
      this.#runTimers()
      if (ready.has(STDIN)) this.#read()
    }
  }

  /** The end of the input is the end of the owner, however it ended. */
  #read(): void {
    const length = readSync(STDIN, this.#input)
    if (length === 0) this.#close()
    const lines = (this.#pending + this.#input.toString('utf8', 0, length)).split('\n')
    this.#pending = lines.pop() ?? ''
    for (const line of lines) this.#answer(JSON.parse(line) as Request)
  }

  #answer(request: Request): void {
    const answer: Answer = { id: request.id }
    try {
      this.#serve(request)
    } catch (error) {
      answer.error = error instanceof Error ? (error.stack ?? error.message) : String(error)
    }
    say(answer)
  }

  #serve(request: Request): void {
    if (request.do === 'settle') this.#settle()
    else if (request.do === 'restart') this.#restart(request.node)
    else this.#close()
  }

  /** Everything that the datapaths had reported before the question is done. */
  #settle(): void {
    let busy = true
    while (busy) {
      busy = false
      for (const agent of this.#agents.values()) busy = agent.drain() || busy
    }
  }

  /** A new agent that knows nothing but what the node's maps say. */
  #restart(node: string): void {
    const old = this.#agents.get(node)
    if (!old) throw new RangeError(`no node ${node}`)
    old.close()
    const agent = new NodeAgent(old.handle, this.#surroundings)
    this.#agents.set(node, agent)
    agent.start()
  }

  #close(): void {
    this.#running = false
    for (const agent of this.#agents.values()) agent.close()
    this.#agents.clear()
  }

  #after(delayMs: number, run: () => void): void {
    if (delayMs <= 0) {
      run()
      return
    }
    const dueMs = performance.now() + delayMs
    const later = this.#timers.findIndex(timer => timer.dueMs > dueMs)
    this.#timers.splice(later < 0 ? this.#timers.length : later, 0, { dueMs, run })
  }

  /** Whole milliseconds, rounded down: the rest is spent in short polls, for a delay of 1 ms is not one of 2. */
  #untilNextTimerMs(): number {
    const next = this.#timers[0]
    if (!next) return WAIT_MS
    return Math.min(WAIT_MS, Math.max(0, Math.floor(next.dueMs - performance.now())))
  }

  #runTimers(): void {
    const nowMs = performance.now()
    while (this.#running) {
      const next = this.#timers[0]
      if (!next || next.dueMs > nowMs) return
      this.#timers.shift()
      next.run()
    }
  }
}

function say(answer: Answer): void {
  writeSync(STDOUT, `${JSON.stringify(answer)}\n`)
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {})

// A join is to be served from other nodes within 5 ms, whatever else this machine does.
setPriority(constants.priority.PRIORITY_HIGHEST)
const agents = new Agents(JSON.parse(process.argv[2] ?? '[]') as DatapathHandle[])
say({ id: 0 })
agents.run()
// The owner decides when it ends: Ctrl-C goes to the whole foreground group.
process.exit()
