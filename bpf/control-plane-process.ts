import { readSync, writeSync } from 'node:fs'
import { constants, setPriority } from 'node:os'
import { waitReadable } from '../generators/linux/poll.ts'
import type { DatapathHandle } from './datapath.ts'
import { NodeAgent, type Peer, type Surroundings } from './node-agent.ts'

/** What the owner asks, one JSON object a line on standard input; every request is answered once, in order, on standard output. */
export type Request =
  | { id: number; do: 'settle' | 'close' }
  | { id: number; do: 'restart'; node: string }
  | { id: number; do: 'peers'; peers: Published[] }
  | { id: number; do: 'published' }

/** What a node has told the others: all its groups with members, and how many pods each. */
export interface Published {
  address: number
  groups: [group: number, pods: number][]
}

export interface Answer {
  id: number
  error?: string
  published?: Published[]
}

/** Without being asked, and once until it is asked: there is something new to tell nodes that are elsewhere. */
export type News = { news: true }

const STDIN = 0
const STDOUT = 1
const WAIT_MS = 1000

/** The agents of all nodes in one process that blocks in poll(2) and never returns to an event loop. */
class Agents {
  readonly #agents = new Map<string, NodeAgent>()
  readonly #timers: { dueMs: number; run: () => void }[] = []
  /** Nodes whose agents run elsewhere, by address. */
  #peers = new Map<number, Peer>()
  #news: 'none' | 'fresh' | 'announced' = 'none'
  readonly #surroundings: Surroundings = {
    others: agent => [...this.#otherAgents(agent), ...this.#peers.values()],
    tell: (agent, group, pods) => {
      for (const other of this.#otherAgents(agent)) other.setNode(group, agent.address, pods)
      this.#renew()
    },
    tellAll: agent => {
      for (const other of this.#otherAgents(agent)) other.forgetUnpublished(agent)
      this.#renew()
    },
    after: (delayMs, run) => this.#after(delayMs, run),
  }
  readonly #input = Buffer.alloc(65_536)
  #pending = ''
  #running = true

  constructor(handles: readonly DatapathHandle[]) {
    for (const handle of handles) this.#agents.set(handle.name, new NodeAgent(handle, this.#surroundings))
    for (const agent of this.#agents.values()) agent.start()
  }

  #otherAgents(agent: NodeAgent): NodeAgent[] {
    return [...this.#agents.values()].filter(other => other !== agent)
  }

  run(): void {
    while (this.#running) {
      this.#announce()
      const fds = [STDIN, ...[...this.#agents.values()].flatMap(agent => agent.fds)]
      const ready = waitReadable(fds, this.#untilNextTimerMs())
      for (const agent of this.#agents.values()) agent.drain()
      this.#runTimers()
      if (ready.has(STDIN)) this.#read()
    }
  }

  #renew(): void {
    if (this.#news === 'none') this.#news = 'fresh'
  }

  /** The owner fetches it: a pipe that nobody reads in time would fill up with lines that are old already. */
  #announce(): void {
    if (this.#news !== 'fresh') return
    this.#news = 'announced'
    say({ news: true })
  }

  #published(): Published[] {
    this.#news = 'none'
    return [...this.#agents.values()].map(({ address, published }) => ({ address, groups: [...published] }))
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
      if (request.do === 'published') answer.published = this.#published()
      else this.#serve(request)
    } catch (error) {
      answer.error = error instanceof Error ? (error.stack ?? error.message) : String(error)
    }
    say(answer)
  }

  #serve(request: Exclude<Request, { do: 'published' }>): void {
    if (request.do === 'settle') this.#settle()
    else if (request.do === 'restart') this.#restart(request.node)
    else if (request.do === 'peers') this.#setPeers(request.peers)
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

  /** All nodes elsewhere, as they are now: what one no longer publishes, or a node that is gone, is nobody's subscriber. */
  #setPeers(published: readonly Published[]): void {
    const before = this.#peers
    this.#peers = new Map(published.map(({ address, groups }) => [address, { address, published: new Map(groups) }]))
    const gone = [...before.values()].filter(peer => !this.#peers.has(peer.address))
    for (const agent of this.#agents.values()) {
      for (const { address } of gone) agent.forgetUnpublished({ address, published: new Map() })
      for (const peer of this.#peers.values()) {
        agent.forgetUnpublished(peer)
        for (const [group, pods] of peer.published) agent.setNode(group, peer.address, pods)
      }
    }
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

function say(line: Answer | News): void {
  writeSync(STDOUT, `${JSON.stringify(line)}\n`)
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {})

// A join is to be served from other nodes within 5 ms, whatever else this machine does.
setPriority(constants.priority.PRIORITY_HIGHEST)
const agents = new Agents(JSON.parse(process.argv[2] ?? '[]') as DatapathHandle[])
say({ id: 0 })
agents.run()
// The owner decides when it ends: Ctrl-C goes to the whole foreground group.
process.exit()
