import { Worker } from 'node:worker_threads'
import { Bell } from '../generators/linux/poll.ts'
import type { Answer, Request, WorkerData } from './control-plane-worker.ts'
import type { Datapath } from './datapath.ts'

/** What keeps the nodes' subscriber tables in step: one agent a node, all in one thread that is not the caller's. */
export interface ControlPlane {
  /** Resolves when every membership change that had happened before the call has reached the other nodes' tables. */
  settled(): Promise<void>
  /** A node's agent dies and starts anew from the node's maps. */
  restart(node: string): Promise<void>
  /** Before the datapaths are closed: the thread uses their file descriptors. */
  close(): Promise<void>
}

/** Starts it for datapaths that are attached; pods and groups may come and go afterwards. */
export async function startControlPlane(datapaths: readonly Datapath[]): Promise<ControlPlane> {
  const bell = new Bell()
  const data: WorkerData = { handles: datapaths.map(datapath => datapath.handle()), bellFd: bell.fd }
  const thread = new ControlPlaneThread(bell, data)
  await thread.started
  return thread
}

class ControlPlaneThread implements ControlPlane {
  readonly started: Promise<void>
  readonly #bell: Bell
  readonly #worker: Worker
  readonly #exit: Promise<void>
  readonly #waiting = new Map<number, { resolve: () => void; reject: (error: Error) => void }>()
  #last = 0
  #failure: Error | undefined
  #closed = false

  constructor(bell: Bell, data: WorkerData) {
    this.#bell = bell
    this.#worker = new Worker(...workerOf(data))
    this.started = this.#answerTo(0)
    this.#worker.on('message', (answer: Answer) => this.#receive(answer))
    this.#worker.on('error', error => this.#fail(error instanceof Error ? error : new Error(String(error))))
    this.#exit = new Promise(resolve => {
      this.#worker.on('exit', () => {
        this.#fail(new Error('the control plane has ended'))
        resolve()
      })
    })
  }

  async settled(): Promise<void> {
    await this.#ask({ id: ++this.#last, do: 'settle' })
  }

  async restart(node: string): Promise<void> {
    await this.#ask({ id: ++this.#last, do: 'restart', node })
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#worker.ref()
    if (!this.#failure) await this.#ask({ id: ++this.#last, do: 'close' })
    await this.#exit
    this.#bell.close()
  }

  async #ask(request: Request): Promise<void> {
    if (this.#failure) throw this.#failure
    const answer = this.#answerTo(request.id)
    this.#worker.ref()
    this.#worker.postMessage(request)
    this.#bell.ring()
    await answer
  }

  #answerTo(id: number): Promise<void> {
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
  }

  #receive(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id)
    this.#waiting.delete(answer.id)
    // An owner that forgets to close it must not keep the process alive.
    if (this.#waiting.size === 0 && !this.#closed) this.#worker.unref()
    if (answer.error === undefined) waiting?.resolve()
    else waiting?.reject(new Error(answer.error))
  }

  #fail(error: Error): void {
    this.#failure ??= error
    for (const { reject } of this.#waiting.values()) reject(this.#failure)
    this.#waiting.clear()
  }
}

/**
 * The TypeScript source needs its loader in the thread too, and `--import tsx` does not reach a worker's entry file; the
 * compiled file needs neither.
 */
function workerOf(workerData: WorkerData): ConstructorParameters<typeof Worker> {
  if (!import.meta.url.endsWith('.ts'))
    return [new URL('./control-plane-worker.js', import.meta.url), { workerData, execArgv: [] }]
  const loader = JSON.stringify(import.meta.resolve('tsx/esm/api'))
  const file = JSON.stringify(new URL('./control-plane-worker.ts', import.meta.url).href)
  const start = `import(${loader}).then(({ register }) => { register(); return import(${file}) })`
  return [start, { workerData, eval: true, execArgv: [] }]
}
