import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { Bell, waitReadable } from '../generators/linux/poll.ts'
import type { DatapathHandle } from './datapath.ts'
import { NodeAgent, type Surroundings } from './node-agent.ts'

/** What the main thread asks; every request is answered once, in order. */
export type Request = { id: number; do: 'settle' | 'close' } | { id: number; do: 'restart'; node: string }

export interface Answer {
  id: number
  error?: string
}

export interface WorkerData {
  handles: DatapathHandle[]
  bellFd: number
}

/** Native calls cannot be interrupted: at most this long until `terminate` is heard. */
const WAIT_MS = 50

/** The agents of all nodes in one thread that blocks in poll(2) and never returns to an event loop. */
class Worker {
  readonly #port: MessagePort
  readonly #bell: Bell
  readonly #agents = new Map<string, NodeAgent>()
  readonly #timers: { dueMs: number; run: () => void }[] = []
  readonly #surroundings: Surroundings = {
    others: agent => [...this.#agents.values()].filter(other => other !== agent),
    after: (delayMs, run) => this.#after(delayMs, run),
  }
  #running = true

  constructor(port: MessagePort, data: WorkerData) {
    this.#port = port
    this.#bell = new Bell(data.bellFd)
    for (const handle of data.handles) this.#agents.set(handle.name, new NodeAgent(handle, this.#surroundings))
    for (const agent of this.#agents.values()) agent.start()
  }

  run(): void {
    while (this.#running) {
      const fds = [this.#bell.fd, ...[...this.#agents.values()].flatMap(agent => agent.fds)]
      waitReadable(fds, this.#untilNextTimerMs())
      this.#bell.hush()
      for (const agent of this.#agents.values()) agent.drain()
      this.#runTimers()
      for (let next = receiveMessageOnPort(this.#port); next; next = receiveMessageOnPort(this.#port))
        this.#answer(next.message as Request)
    }
  }

  #answer(request: Request): void {
    const answer: Answer = { id: request.id }
    try {
      this.#serve(request)
    } catch (error) {
      answer.error = error instanceof Error ? (error.stack ?? error.message) : String(error)
    }
    this.#port.postMessage(answer)
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

if (!parentPort) throw new Error('control-plane-worker.ts is the body of a worker thread')
const worker = new Worker(parentPort, workerData as WorkerData)
const ready: Answer = { id: 0 }
parentPort.postMessage(ready)
worker.run()
// Nothing is listened to any more: the thread ends.
parentPort.close()
